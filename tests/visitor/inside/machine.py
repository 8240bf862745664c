"""What the interval timer's tests share."""

from typing import Any

from tests.monitor.rig import Rig
from tests.visitor.interval_timer.place import INTERVAL_TIMER
from vestige.devices import DEVICES
from vestige.place import options_for

VECTOR = 0x50
US = 1000  # nanoseconds


def ask_for(rig: Rig) -> None:
    """What the host does where the user gave its option."""
    rig.shared.config.options = options_for(DEVICES, [INTERVAL_TIMER.field])


def timer_of(rig: Rig) -> Any:
    """The model."""
    return getattr(rig.machine, INTERVAL_TIMER.field)
