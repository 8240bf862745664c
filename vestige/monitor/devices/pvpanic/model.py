"""The pvpanic device: one register, two events. QEMU, docs/specs/pvpanic.rst."""

from vestige.abi import Power
from vestige.lang.types import Struct, u8, u64
from vestige.monitor.devices.pvpanic.spec import KNOWN, Event
from vestige.place import GOES_ON


class Pvpanic(Struct):
    """What the guest's kernel has told of its own end."""

    events: u8  # every Event that was written since power-on
    told: u8  # 1: the user has been told that a crash kernel takes over

    def reset(self) -> None:
        """Nothing has happened."""
        self.events = 0
        self.told = 0

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """The events that this device knows; `offset` 0, `size` 1."""
        return KNOWN

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """Something happened. Unknown events do nothing."""
        self.events |= value & KNOWN

    # ---- the core -------------------------------------------------------------------------

    def ending(self) -> u8:
        """A panic ends the machine where no crash kernel takes over."""
        return Power.PANICKED if self.events & Event.PANICKED else GOES_ON

    def take_notice(self) -> bool:
        """A panic that a crash kernel takes care of is told once."""
        if self.events & Event.CRASH_LOADED and not self.told:
            self.told = 1
            return True
        return False
