"""The pvpanic device: one register, two events. QEMU, docs/specs/pvpanic.rst."""

from vestige.lang.types import Struct, u8, u64
from vestige.monitor.devices.pvpanic.spec import KNOWN


class Pvpanic(Struct):
    """What the guest's kernel has told of its own end."""

    events: u8  # output: every Event that was written since power-on

    def reset(self) -> None:
        """Nothing has happened."""
        self.events = 0

    def read(self, offset: u8, size: u8, now: u64) -> u8:
        """The events that this device knows; `offset` 0, `size` 1."""
        return KNOWN

    def write(self, offset: u8, size: u8, value: u8, now: u64) -> None:
        """Something happened. Unknown events do nothing."""
        self.events |= value & KNOWN
