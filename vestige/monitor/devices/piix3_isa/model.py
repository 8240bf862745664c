"""The bridge to ISA, resets, where PCI's interrupts lead; what is behind has places of its own."""

from vestige.abi import PIN_PCI_INTA, Config, Power
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import STATUS_PIIX
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix3_isa.spec import (
    CLASS,
    COMMAND,
    DEVICE,
    FIRMWARE_ROUTES,
    MULTIPLE_FUNCTIONS,
    NOT_ROUTED,
    PIRQS,
    RESET_CHIP_SELECT,
    RESET_RECOVERY,
    RESET_TOP,
    ROUTABLE,
    ROUTE,
    ROUTE_WRITABLE,
    STATUS_CLEARABLE,
    SUBCLASS,
    VENDOR,
    Register,
    ResetControl,
)
from vestige.place import GOES_ON, PROCESSORS_RESET

PCI_PINS = (1 << PIRQS) - 1 << PIN_PCI_INTA  # where the core has INTA to INTD


class IsaBridge(Struct):
    """Its registers are kept, and change nothing but the routes."""

    config: ConfigSpace
    reset_control: u8
    wish: u8  # output: abi.Power.RESET, PROCESSORS_RESET, or GOES_ON

    def reset(self) -> None:
        """The registers' values after a hard reset, 2.2."""
        self.reset_control = 0
        self.wish = GOES_ON
        config = self.config
        config.identify(VENDOR, DEVICE, CLASS, SUBCLASS)
        config.set16(PciRegister.COMMAND, COMMAND)
        config.set16(PciRegister.STATUS, STATUS_PIIX)
        config.clearable[PciRegister.STATUS + 1] = STATUS_CLEARABLE
        config.values[PciRegister.HEADER_TYPE] = MULTIPLE_FUNCTIONS
        config.values[Register.IO_RECOVERY] = RESET_RECOVERY
        config.writable[Register.IO_RECOVERY] = 0xFF
        config.set16(Register.CHIP_SELECT, RESET_CHIP_SELECT)
        config.allow16(Register.CHIP_SELECT, 0x01FF)
        for pirq in range(PIRQS):
            config.values[Register.PIRQ_ROUTE + pirq] = NOT_ROUTED
            config.writable[Register.PIRQ_ROUTE + pirq] = ROUTE_WRITABLE
        config.values[Register.TOP_OF_MEMORY] = RESET_TOP
        config.writable[Register.TOP_OF_MEMORY] = 0xFE
        config.allow16(Register.MISCELLANEOUS, 0x8084)

    def configure(self, machine: Config) -> None:
        """After `reset`: as a firmware leaves it, unless that is about to begin."""
        if machine.firmware_items == 0:
            for pirq in range(PIRQS):
                self.config.values[Register.PIRQ_ROUTE + pirq] = FIRMWARE_ROUTES[pirq]

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """The reset control register; `offset` 0, `size` 1."""
        return self.reset_control

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """The same: a reset begins where its bit becomes 1."""
        if value & ~self.reset_control & ResetControl.RESET:
            self.wish = Power.RESET if value & ResetControl.HARD else PROCESSORS_RESET
        self.reset_control = value & (ResetControl.HARD | ResetControl.RESET)

    def has_function(self, number: u32) -> bool:
        """There is one."""
        return True

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""
        return self.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes."""
        self.config.write(offset, size, value)

    # ---- the core -------------------------------------------------------------------------

    def ending(self) -> u8:
        """Which reset the guest has begun, or GOES_ON."""
        return self.wish

    def processors_reset(self) -> None:
        """They have been: the reset is over."""
        self.wish = GOES_ON
        self.reset_control &= ~ResetControl.RESET

    def steer(self, pins: u32) -> u32:
        """A bit for each line: PIRQA to PIRQD, at pins 16 to 19, become the IRQs they lead to."""
        steered = pins & ~PCI_PINS
        if steered != pins:
            for pirq in range(PIRQS):
                route = self.config.values[Register.PIRQ_ROUTE + pirq]
                asks = pins >> PIN_PCI_INTA + pirq & 1
                irq = route & ROUTE
                if asks and not route & NOT_ROUTED and ROUTABLE >> irq & 1:
                    steered |= 1 << irq
        return steered
