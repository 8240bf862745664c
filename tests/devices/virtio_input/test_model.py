"""The tablet: what a driver finds, and what reaches it."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.virtio.bench import EVENT_IDX, NEEDS_RESET
from tests.devices.virtio.plain import ROOM
from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.devices.virtio_input.bench import DEVICE, TabletBench, at
from vestige.abi import EVENT_SIZE, TABLET_END, EventKind
from vestige.monitor.events import Taken

KINDS = pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
SYN, KEY, REL, ABS = range(4)
LEFT, RIGHT = 0x110, 0x111
END = (SYN, 0, 0)


@pytest.fixture
def bench() -> TabletBench:
    return TabletBench()


def place(x: int, y: int) -> list[tuple[int, int, int]]:
    return [(ABS, 0, x), (ABS, 1, y)]


def test_what_a_driver_finds(bench: TabletBench) -> None:
    assert bench.read_config(0, 4) == 0x1052_1AF4
    assert bench.read_config(8, 4) >> 16 == 0x0980
    assert bench.offered() & 0xFFFFFF == 0
    assert bench.read(0x12, 2) == 2


def test_what_it_says_of_itself(bench: TabletBench) -> None:
    assert bench.ask(1) == b"Vestige Tablet"
    assert bench.ask(2) == b""
    assert struct.unpack("<4H", bench.ask(3)) == (6, 0x1AF4, 0x12, 1)
    assert bench.ask(0x10) == b""
    keys = int.from_bytes(bench.ask(0x11, KEY), "little")
    assert keys == 0b11111 << LEFT
    assert int.from_bytes(bench.ask(0x11, REL), "little") == 1 << 8
    assert bench.ask(0x11, ABS) == b"\x03"
    for axis in (0, 1):
        assert struct.unpack("<5I", bench.ask(0x12, axis)) == (0, TABLET_END, 0, 0, 0)
    for select, subselect in ((0, 0), (1, 1), (3, 1), (0x11, SYN), (0x11, 4), (0x12, 2), (9, 0)):
        assert bench.ask(select, subselect) == b""


def test_selections_alone_can_be_written_and_both_at_once(bench: TabletBench) -> None:
    bench.write(DEVICE, 2, 0x0112)
    assert bench.read(DEVICE, 4) == 0x0014_0112
    bench.write(DEVICE, 4, 0xFFFF_0001)
    assert bench.read(DEVICE, 4) == 0x000E_0001
    bench.write(DEVICE + 8, 4, 0)
    assert bench.read(DEVICE + 8, 4) == int.from_bytes(b"Vest", "little")
    assert bench.read(DEVICE + 24, 4) == 0, "behind the name"
    bench.begin()
    bench.service()
    assert bench.read(DEVICE, 4) == 0, "a reset forgets it"


@KINDS
@pytest.mark.parametrize("features", [0, EVENT_IDX])
def test_a_place_and_buttons_reach_the_driver(
    bench: TabletBench, kind: type[Driver], features: int
) -> None:
    events, _ = bench.begin(kind, features)
    bench.give(events, 14)
    assert bench.bring(at(1, TABLET_END, 0b01)) == Taken.DONE
    assert bench.device.line.level == 1
    assert bench.got(events) == [*place(1, TABLET_END), (KEY, LEFT, 1), END]
    bench.bring(at(5, 6, 0b10, wheel=2))
    changed = [(KEY, LEFT, 0), (KEY, RIGHT, 1), (REL, 8, -2)]
    assert bench.got(events) == [*place(5, 6), *changed, END]
    bench.bring(at(0xFFFF, 6, 0b10, wheel=-1))
    assert bench.got(events) == [*place(TABLET_END, 6), (REL, 8, 1), END]


def test_a_report_waits_for_buffers_and_the_next_for_its_end(bench: TabletBench) -> None:
    events, _ = bench.begin()
    bench.give(events, 1)
    assert bench.bring(at(1, 2)) == Taken.DONE
    assert bench.bring(at(3, 4)) == Taken.LATER
    assert bench.got(events) == [(ABS, 0, 1)]
    bench.give(events, 2)
    assert bench.got(events) == [(ABS, 1, 2), END]
    bench.give(events, 3)
    assert bench.bring(at(3, 4)) == Taken.DONE
    assert bench.got(events) == [*place(3, 4), END]


def test_other_events_are_not_its(bench: TabletBench) -> None:
    bench.begin()
    for kind in (EventKind.PRESS, EventKind.POINTER, 0):
        assert bench.bring(bytes((kind,)).ljust(EVENT_SIZE, b"\0")) == Taken.NOT_MINE


def test_without_a_driver_nothing_is_done_there(bench: TabletBench) -> None:
    assert bench.bring(at(1, 2, 1)) == Taken.DONE
    events, _ = bench.begin()
    bench.give(events, 3)
    bench.bring(at(3, 4))
    assert bench.got(events) == [*place(3, 4), END]


def test_a_reset_forgets_what_waits(bench: TabletBench) -> None:
    bench.begin()
    bench.bring(at(1, 2, 1))
    events, _ = bench.begin()
    bench.give(events, 3)
    assert bench.got(events) == []
    assert bench.bring(at(3, 4)) == Taken.DONE
    assert bench.got(events) == [*place(3, 4), END]


def test_what_a_driver_says_of_lamps_is_taken(bench: TabletBench) -> None:
    _, status = bench.begin()
    number = status.add([Buffer(ROOM, 8, writable=False)])
    bench.service()
    assert status.collect() == [(number, 0)]


@pytest.mark.parametrize(
    "buffer", [Buffer(ROOM, 8, writable=False), Buffer(ROOM, 7, writable=True)]
)
def test_a_buffer_of_another_kind_breaks_the_device(bench: TabletBench, buffer: Buffer) -> None:
    events, _ = bench.begin()
    events.add([buffer])
    bench.bring(at(1, 2))
    assert bench.status() & NEEDS_RESET
    assert bench.bring(at(1, 2)) == Taken.DONE, "and holds nothing up"
    events, _ = bench.begin()
    bench.give(events, 3)
    bench.bring(at(3, 4))
    assert bench.got(events) == [*place(3, 4), END]


@settings(max_examples=30, deadline=None)
@given(
    records=st.lists(
        st.tuples(
            st.integers(0, TABLET_END), st.integers(0, TABLET_END),
            st.integers(0, 31), st.integers(-127, 127),
        ),
        min_size=1, max_size=8,
    ),
    counts=st.lists(st.integers(1, 8), min_size=1),
)  # fmt: skip
def test_every_report_arrives_whole_and_in_order(
    records: list[tuple[int, int, int, int]], counts: list[int]
) -> None:
    bench = TabletBench()
    events, _ = bench.begin()
    seen: list[tuple[int, int, int, int]] = []
    x = y = buttons = wheel = turn = 0
    waiting = list(records)
    while len(seen) < len(records):
        if len(bench.places) < 8:  # of the queue's 16
            bench.give(events, counts[turn % len(counts)])
            turn += 1
        if waiting and bench.bring(at(*waiting[0])) == Taken.DONE:
            del waiting[0]
        for kind, code, value in bench.got(events):
            match kind, code:
                case 3, 0:
                    x = value
                case 3, 1:
                    y = value
                case 1, _:
                    buttons = buttons & ~(1 << code - LEFT) | value << code - LEFT
                case 2, 8:
                    wheel = -value
                case _:
                    seen.append((x, y, buttons, wheel))
                    wheel = 0
    assert seen == records
