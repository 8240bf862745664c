"""The host bridge, 00:00.0: the function every PCI bus 0 begins with. PCI 3.0, 6.2.1.

8086:0d57 is the identity other virtual machine monitors' root bridges bear. No kernel attaches
a quirk to it, as Linux does to the 440FX (8086:1237: "Limiting direct PCI/PCI transfers") and
to most real chipsets, and it has no memory controller whose registers a guest would look for.
A PC has the 440FX: Intel 82441FX data sheet (290549), chapter 3.
"""

from vestige.lang.types import Struct
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import STATUS_PIIX, Command, HostBridge, Register


class HostBridgeFunction(Struct):
    """Configuration space and nothing behind it."""

    config: ConfigSpace

    def reset(self) -> None:
        """As firmware leaves it: it decodes memory and ports, and masters the bus, always."""
        config = self.config
        config.identify(HostBridge.VENDOR, HostBridge.DEVICE, HostBridge.CLASS, 0)
        config.set16(Register.COMMAND, Command.IO | Command.MEMORY | Command.BUS_MASTER)

    def be_440fx(self, after_firmware: bool) -> None:
        """A PC's, 3.2. Its registers change nothing: there is RAM everywhere. Firmware says so."""
        config = self.config
        config.set16(Register.DEVICE, HostBridge.DEVICE_440FX)
        config.values[Register.REVISION] = HostBridge.REVISION_440FX
        config.set16(Register.COMMAND, Command.MEMORY | Command.BUS_MASTER)
        config.set16(Register.STATUS, STATUS_PIIX)
        for register in range(HostBridge.PAM, HostBridge.PAM + HostBridge.PAMS):
            config.writable[register] = 0x33 if register > HostBridge.PAM else 0x30
            if after_firmware:
                config.values[register] = config.writable[register]
        config.values[HostBridge.SMRAM] = 0x02
        config.writable[HostBridge.SMRAM] = 0x78
