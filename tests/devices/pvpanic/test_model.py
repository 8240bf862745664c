"""The pvpanic device: QEMU's docs/specs/pvpanic.rst."""

import pytest

from vestige.monitor.devices.pvpanic.model import Pvpanic
from vestige.monitor.devices.pvpanic.spec import Event


def test_a_read_tells_the_events_it_knows_and_changes_nothing() -> None:
    pvpanic = Pvpanic()
    assert pvpanic.read(0, 1, 0) == Event.PANICKED | Event.CRASH_LOADED
    assert pvpanic.events == 0


@pytest.mark.parametrize("event", Event)
def test_an_event_is_told_and_stays(event: Event) -> None:
    pvpanic = Pvpanic()
    pvpanic.write(0, 1, event, 0)
    pvpanic.write(0, 1, 0, 0)
    assert pvpanic.events == event


def test_events_it_does_not_know_do_nothing() -> None:
    pvpanic = Pvpanic()
    pvpanic.write(0, 1, 0xFF & ~(Event.PANICKED | Event.CRASH_LOADED), 0)
    assert pvpanic.events == 0
