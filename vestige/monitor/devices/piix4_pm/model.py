"""The PIIX4's function 3: ACPI's fixed hardware with its timer. Intel 82371AB, 7.1 and 7.2.

There is no system management mode, so nothing makes an SMI, and ACPI mode is the only one.
"""

from vestige.abi import Config as Machine
from vestige.abi import Power
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.clock import SECOND, periods
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.spec import STATUS_PIIX, Command
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix4_pm.spec import (
    APMC_ENABLED,
    BASE_MASK,
    CLASS,
    CONTROL_WRITABLE,
    DEVICE,
    ENABLE_WRITABLE,
    FREQUENCY,
    GENERAL_ENABLE_WRITABLE,
    IS_PORT,
    PORT_PM,
    PORT_PM_UEFI,
    PORTS,
    PORTS_ENABLED,
    REVISION,
    SLEEP_TYPE_SHIFT,
    SMBUS_BASE_MASK,
    SOFT_OFF,
    STATUS_CLEARABLE,
    SUBCLASS,
    TIMER_BITS,
    VENDOR,
    Config,
    Control,
    Event,
    Register,
)
from vestige.monitor.line import NEVER, Line
from vestige.monitor.sized import byte_of
from vestige.place import GOES_ON, NOWHERE

NO_PORT = 0xFFFF_0000  # far from any port
HALF = 1 << TIMER_BITS - 1  # ticks between two changes of the timer's highest bit
LAST_SECOND = NEVER // SECOND - 60  # nothing is foreseen after that


class PowerManagement(Struct):
    """`read` and `write` are the guest's, the rest is the core's. Times are in nanoseconds."""

    config: ConfigSpace
    base: u32  # the first of its ports, or NO_PORT
    status: u16  # PMSTS
    enable: u16  # PMEN
    control: u16  # PMCNTRL, what can be written of it
    general_enable: u16  # GPEN
    overflow: u64  # when the timer's highest bit changes next that has not set its status
    line: Line  # SCI
    wish: u8  # output: the abi.Power asked for, or GOES_ON

    def reset(self) -> None:
        """The registers' values after a hard reset, 7.1, but for what a firmware sets of them.

        The ports are where it puts them and enabled, for one that doesn't; SMI is set up, as there
        is none to set up: SeaBIOS would wait for one.
        """
        config = self.config
        config.identify(VENDOR, DEVICE, CLASS, SUBCLASS)
        config.values[PciRegister.REVISION] = REVISION
        config.set16(PciRegister.STATUS, STATUS_PIIX)
        config.clearable[PciRegister.STATUS + 1] = STATUS_CLEARABLE
        config.allow16(PciRegister.COMMAND, Command.IO)
        config.writable[PciRegister.INTERRUPT_LINE] = 0xFF
        config.values[PciRegister.INTERRUPT_PIN] = 1
        config.set32(Config.BASE, PORT_PM | IS_PORT)
        config.allow32(Config.BASE, BASE_MASK)
        for register in range(Config.KEPT, Config.MISCELLANEOUS):
            config.writable[register] = 0xFF
        config.values[Config.SMI_ENABLE] = APMC_ENABLED
        config.values[Config.MISCELLANEOUS] = PORTS_ENABLED
        config.writable[Config.MISCELLANEOUS] = PORTS_ENABLED
        config.set32(Config.SMBUS_BASE, IS_PORT)
        config.allow32(Config.SMBUS_BASE, SMBUS_BASE_MASK)
        for register in range(Config.SMBUS_KEPT):
            config.writable[Config.SMBUS_CONFIGURATION + register] = 0xFF
        self.overflow = time_of(HALF)
        self.wish = GOES_ON
        self.decode()

    def configure(self, config: Machine) -> None:
        """After `reset`: with a UEFI firmware the ports are where that looks for them."""
        if config.flash.size != 0:
            self.config.set32(Config.BASE, PORT_PM_UEFI | IS_PORT)
            self.decode()

    # ---- configuration space --------------------------------------------------------------

    def has_function(self, number: u32) -> bool:
        """There is one."""
        return True

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""
        return self.config.read(offset, size)

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes; it may move the ports."""
        self.config.write(offset, size, value)
        self.decode()

    def decode(self) -> None:
        """Where the ports are: PMBA, 0 being nowhere, and PMIOSE; PCI's command has no say."""
        base = self.config.get32(Config.BASE) & BASE_MASK
        enabled = self.config.values[Config.MISCELLANEOUS] & PORTS_ENABLED
        self.base = base if enabled and base else NO_PORT

    def port_offset(self, port: u16) -> u32:
        """The offset of the register at a port, or NOWHERE."""
        offset = u32(port - self.base)
        return offset if offset < PORTS else NOWHERE

    # ---- ports ----------------------------------------------------------------------------

    def read(self, offset: u32, size: u8, now: u64) -> u8:
        """A read of one byte; `size` 1."""
        self.expire(now)
        first = offset & ~1
        match first:
            case Register.STATUS:
                return byte_of(self.status, offset & 1)
            case Register.ENABLE:
                return byte_of(self.enable, offset & 1)
            case Register.CONTROL:
                return byte_of(self.control | Control.SCI, offset & 1)
            case Register.GENERAL_ENABLE:
                return byte_of(self.general_enable, offset & 1)
            case _:
                if Register.TIMER <= offset < Register.TIMER + 4:
                    return byte_of(timer(now), offset - Register.TIMER)
                return 0

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A write of one byte; `size` 1."""
        self.expire(now)
        shift = 8 * (offset & 1)
        bits = u16((value & 0xFF) << shift)
        mask = u16(0xFF << shift)
        first = offset & ~1
        match first:
            case Register.STATUS:
                self.clear_status(bits, now)
            case Register.ENABLE:
                self.enable = (self.enable & ~mask) | (bits & ENABLE_WRITABLE)
            case Register.CONTROL:
                self.control = (self.control & ~mask) | (bits & CONTROL_WRITABLE)
                if bits & Control.SLEEP:
                    self.sleep()
            case Register.GENERAL_ENABLE:
                self.general_enable = (self.general_enable & ~mask) | (
                    bits & GENERAL_ENABLE_WRITABLE
                )
            case _:
                pass
        self.update_line()

    def clear_status(self, bits: u16, now: u64) -> None:
        """Clear these. From now on the timer may set its own again."""
        if self.status & bits & Event.TIMER_OVERFLOW:
            self.overflow = next_overflow(now)
        self.status &= ~bits

    def sleep(self) -> None:
        """Go to the state that SUS_TYP names. There is one."""
        if (self.control & Control.SLEEP_TYPE) >> SLEEP_TYPE_SHIFT == SOFT_OFF:
            self.wish = Power.OFF

    # ---- the core -------------------------------------------------------------------------

    def next_deadline(self) -> u64:
        """When the timer interrupts; NEVER where the guest doesn't wait for that."""
        if self.enable & Event.TIMER_OVERFLOW and not self.status & Event.TIMER_OVERFLOW:
            return self.overflow
        return NEVER

    def expire(self, now: u64) -> None:
        """Time has passed."""
        if now >= self.overflow and not self.status & Event.TIMER_OVERFLOW:
            self.status |= Event.TIMER_OVERFLOW
            self.update_line()

    def ending(self) -> u8:
        """How the guest wants its machine to end, or GOES_ON."""
        return self.wish

    def update_line(self) -> None:
        """SCI: an event that is enabled has happened."""
        self.line.set(self.status & self.enable != 0)


def ticks(now: u64) -> u64:
    """How often the timer has counted."""
    return periods(now, FREQUENCY)


def timer(now: u64) -> u32:
    """What the timer shows."""
    return u32(ticks(now) & (1 << TIMER_BITS) - 1)


def time_of(tick: u64) -> u64:
    """The first nanosecond at which the timer has counted so often."""
    seconds = tick // FREQUENCY
    rest = tick % FREQUENCY
    return u64(seconds * SECOND + (rest * SECOND + FREQUENCY - 1) // FREQUENCY)


def next_overflow(now: u64) -> u64:
    """When the timer's highest bit changes next."""
    if now // SECOND > LAST_SECOND:
        return NEVER
    return time_of(u64((ticks(now) // HALF + 1) * HALF))
