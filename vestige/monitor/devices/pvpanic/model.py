"""The pvpanic device: one register, two events. QEMU, docs/specs/pvpanic.rst."""

from vestige.lang.types import Struct, u8
from vestige.monitor.devices.pvpanic.spec import KNOWN


class Pvpanic(Struct):
    """What the guest's kernel has told of its own end."""

    events: u8  # output: every Event that was written since power-on

    def read(self) -> u8:
        """The events that this device knows."""
        return KNOWN

    def write(self, value: u8) -> None:
        """Something happened. Unknown events do nothing."""
        self.events |= value & KNOWN
