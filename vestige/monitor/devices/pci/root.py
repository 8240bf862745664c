"""Configuration mechanism 1: an address port and a data port. PCI 3.0, 3.2.2.3.2."""

from vestige.abi import Board, Config
from vestige.lang.types import Struct, u8, u32
from vestige.monitor.devices.pci.host_bridge import HostBridgeFunction
from vestige.monitor.devices.pci.spec import Address


class PciRoot(Struct):
    """What belongs to the bus itself: CONFIG_ADDRESS and the host bridge."""

    address: u32
    host_bridge: HostBridgeFunction

    def reset(self) -> None:
        """No function addressed."""
        self.host_bridge.reset()

    def configure(self, config: Config) -> None:
        """After `reset`."""
        if config.board == Board.PC:
            self.host_bridge.be_440fx(after_firmware=config.firmware_items == 0)

    def has_function(self, number: u32) -> bool:
        """Whether there is such a function: there is one, the host bridge."""
        return True

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""
        return self.host_bridge.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes."""
        self.host_bridge.config.write(offset, size, value)

    def write_address(self, value: u32) -> None:
        """CONFIG_ADDRESS: which function and register CONFIG_DATA is."""
        self.address = value & Address.WRITABLE

    def enabled(self) -> bool:
        """Whether CONFIG_DATA is a configuration access and not a port like any other."""
        return self.address & Address.ENABLE != 0

    def function(self) -> u32:
        """Bus, device and function addressed: bits 8 to 15, 3 to 7, 0 to 2."""
        return (self.address >> 8) & 0xFFFF

    def register(self) -> u32:
        """Offset of the 32 bits addressed."""
        return self.address & Address.REGISTER
