"""What is done at keyboard, mouse and tablet: each event is offered to the devices that take some.

The stream of them is vestige/monitor/events.py's.
"""

from vestige.abi import Config
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u64
from vestige.monitor.core.machine import Machine
from vestige.monitor.events import Taken
from vestige.place import is_present
from vestige.shapes import EventTaker


@cold
def move_events(machine: Machine, config: Config, now: u64) -> None:
    """Give what can be given, ask for more."""
    stream = machine.events
    stream.take_read(machine.ring_driver, now)
    while stream.is_due(now):
        stream.was_offered(offer(machine, config, now))
    stream.read(config, machine.ring_driver, now)


def offer(machine: Machine, config: Config, now: u64) -> u8:
    """Have a device do the next event; a Taken."""
    taken: u8 = Taken.NOT_MINE
    for row, place in enumerate(DEVICES):
        if place.takes_events and taken == Taken.NOT_MINE and is_present(place, row, config):
            device: EventTaker = getattr(machine, place.field)
            taken = device.take_event(machine.events, now)
    if taken == Taken.NOT_MINE:
        taken = machine.virtio.take_event(machine.events)
    return taken
