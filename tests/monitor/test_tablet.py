"""The tablet on the whole monitor: what is done there comes by the stream of events."""

import struct

from tests.devices.virtio_input.bench import SIZE, at
from tests.monitor.port_guest import PortGuest
from tests.monitor.rig import Rig
from vestige import abi
from vestige.abi import EVENT_SIZE, EventKind

ROOM = 0x14000  # for events
EVENTS = 16
SECOND = 10**9
WAIT = struct.pack("<BBH", EventKind.WAIT, 0, 900).ljust(EVENT_SIZE, b"\0")  # for the driver


def tablet_rig(*reads: bytes) -> Rig:
    """A machine with a tablet, and what is done there."""
    rig = Rig(console=False)
    config = rig.shared.config
    function = config.virtio[0]
    function.kind, function.queues, function.shares = abi.VirtioKind.INPUT, 2, 1
    config.events.present, config.events.file = 1, 0
    rig.ring.files[:] = [list(reads)]
    return rig.start()


def give(guest: PortGuest, count: int) -> None:
    for number in range(count):
        guest.room(0, SIZE, ROOM + SIZE * number)


def got(guest: PortGuest) -> list[tuple[int, int, int]]:
    count = len(guest.queues[0].collect())
    return [struct.unpack("<HHi", guest.ram.get(ROOM + SIZE * n, SIZE)) for n in range(count)]


def test_what_is_done_interrupts_the_guest() -> None:
    rig = tablet_rig(WAIT + at(3, 4, 1))
    guest = PortGuest(rig, 2)
    give(guest, EVENTS)
    rig.rung.clear()
    rig.now += SECOND
    rig.work()
    assert got(guest) == [(3, 0, 3), (3, 1, 4), (1, 0x110, 1), (0, 0, 0)]
    assert abi.VIRTIO_GSI + 1 in rig.rung


def test_the_next_waits_for_buffers_and_keys_are_nobodys() -> None:
    key = bytes((EventKind.PRESS,)).ljust(EVENT_SIZE, b"\0")
    rig = tablet_rig(WAIT + key + at(3, 4) + at(5, 6))
    guest = PortGuest(rig, 2)
    give(guest, 3)
    rig.now += SECOND
    rig.work()
    assert got(guest) == [(3, 0, 3), (3, 1, 4), (0, 0, 0)]
    give(guest, 3)
    assert got(guest) == [(3, 0, 5), (3, 1, 6), (0, 0, 0)]


def test_without_a_driver_what_is_done_goes_by() -> None:
    rig = tablet_rig(at(1, 2))
    rig.work()
    guest = PortGuest(rig, 2)
    give(guest, 3)
    assert got(guest) == []
    assert rig.machine.events.count == rig.machine.events.used
