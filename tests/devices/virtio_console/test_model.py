"""The console: what a driver is told, bytes both ways, and drivers that are wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.virtio.bench import EVENT_IDX, NEEDS_RESET
from tests.devices.virtio.plain import ROOM
from tests.devices.virtio.reference import Buffer, Driver, PackedDriver, SplitDriver
from tests.devices.virtio_console.bench import (
    ADD,
    CONSOLE,
    CONTROL_IN,
    CONTROL_OUT,
    MULTIPORT,
    NAME,
    OPEN,
    PORT_READY,
    READY,
    RESIZE,
    SIZE,
    ConsoleBench,
    Message,
)
from vestige.monitor.devices.virtio_console.model import VirtioConsole
from vestige.monitor.devices.virtio_console.port import INPUT_SIZE, OUTPUT_SIZE, VirtioPort

KINDS = pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
PACKET = 300  # bytes


@pytest.fixture
def bench() -> ConsoleBench:
    return ConsoleBench()


@pytest.fixture
def named() -> ConsoleBench:
    """A console and two ports."""
    return ConsoleBench(b"org.example.agent", b"log", columns=120, rows=40)


def put(bench: ConsoleBench, driver: Driver, data: bytes, place: int = ROOM) -> None:
    """A driver sends."""
    bench.ram.put(place, data)
    assert driver.add([Buffer(place, len(data), writable=False)]) is not None
    bench.service()


def room(bench: ConsoleBench, driver: Driver, size: int = PACKET, place: int = ROOM) -> None:
    """A driver makes room for input."""
    assert driver.add([Buffer(place, size, writable=True)]) is not None
    bench.service()


# ---- set-up --------------------------------------------------------------------------------


def test_what_a_driver_finds(named: ConsoleBench) -> None:
    assert named.read_config(0, 4) == 0x1043_1AF4
    assert named.read_config(8, 4) >> 16 == 0x0780
    assert named.offered() & 0xFFFFFF == SIZE | MULTIPORT
    assert named.read(0x12, 2) == 8
    assert (named.read(0x2000, 2), named.read(0x2002, 2), named.read(0x2004, 4)) == (120, 40, 3)
    named.write(0x2008, 4, ord("x"))
    assert named.read(0x2008, 4) == 0


def test_a_console_without_a_terminal_has_no_size(bench: ConsoleBench) -> None:
    assert bench.offered() & 0xFFFFFF == MULTIPORT
    assert bench.read(0x2000, 4) == 0


@KINDS
def test_what_a_driver_is_told(named: ConsoleBench, kind: type[Driver]) -> None:
    drivers = named.start(kind, MULTIPORT | SIZE)
    named.service()
    assert named.heard(drivers) == []
    named.say(drivers, 0xFFFF_FFFF, READY)
    assert named.heard(drivers) == [Message(port, ADD, 1) for port in range(3)]
    named.say(drivers, 0, PORT_READY)
    assert named.heard(drivers) == [
        Message(0, CONSOLE, 1),
        Message(0, OPEN, 1),
        Message(0, RESIZE, 0, b"\x78\x00\x28\x00"),
    ]
    named.say(drivers, 1, PORT_READY)
    assert named.heard(drivers) == [
        Message(1, NAME, 1, b"org.example.agent"),
        Message(1, OPEN, 1),
    ]


@KINDS
def test_a_new_size_is_told_to_a_driver_that_is_ready(
    named: ConsoleBench, kind: type[Driver]
) -> None:
    drivers = named.start(kind, MULTIPORT | SIZE)
    generation = named.read(0x15, 1)
    named.core(VirtioConsole.resize, named.console, named.device, 100, 30)
    named.service()
    assert named.heard(drivers) == []
    named.say(drivers, 0, PORT_READY)
    assert named.heard(drivers)[-1] == Message(0, RESIZE, 0, b"\x64\x00\x1e\x00")
    named.core(VirtioConsole.resize, named.console, named.device, 90, 20)
    named.service()
    assert named.heard(drivers) == [Message(0, RESIZE, 0, b"\x5a\x00\x14\x00")]
    assert named.read(0x2000, 4) == 90 | 20 << 16
    assert named.read(0x15, 1) == generation + 2


def test_a_driver_without_size_is_told_none(named: ConsoleBench) -> None:
    drivers = named.start()
    named.say(drivers, 0, PORT_READY)
    assert [message.event for message in named.heard(drivers)] == [CONSOLE, OPEN]


def test_ports_without_a_console() -> None:
    bench = ConsoleBench(b"one", console=False)
    drivers = bench.start()
    bench.say(drivers, 0, READY)
    assert bench.heard(drivers) == [Message(1, ADD, 1)]
    bench.say(drivers, 0, PORT_READY)
    assert bench.heard(drivers) == []


def test_messages_wait_for_buffers(named: ConsoleBench) -> None:
    drivers = named.start(size=0)
    named.say(drivers, 0, READY)
    told = []
    for _ in range(3):
        named.ram.put(ROOM, bytes(8))
        drivers[CONTROL_IN].add([Buffer(ROOM, 8, writable=True)])
        named.service()
        assert [written for _, written in drivers[CONTROL_IN].collect()] == [8]
        told.append((named.ram.peek(ROOM, "I"), named.ram.peek(ROOM + 4, "H")))
    assert told == [(port, ADD) for port in range(3)]


# ---- bytes -----------------------------------------------------------------------------------


@KINDS
def test_output(bench: ConsoleBench, kind: type[Driver]) -> None:
    drivers = bench.start(kind)
    put(bench, drivers[1], b"Linux version 6.1\r\n")
    assert [written for _, written in drivers[1].collect()] == [0]
    assert bench.written(0) == b"Linux version 6.1\r\n"
    assert bench.written(0) == b""


@KINDS
def test_input_comes_to_an_open_port(bench: ConsoleBench, kind: type[Driver]) -> None:
    drivers = bench.start(kind)
    room(bench, drivers[0])
    bench.come(0, b"ls\n")
    assert drivers[0].collect() == []
    bench.open(drivers, 0)
    assert [written for _, written in drivers[0].collect()] == [3]
    assert bench.ram.get(ROOM, 3) == b"ls\n"


def test_input_waits_for_room(bench: ConsoleBench) -> None:
    drivers = bench.start()
    bench.open(drivers, 0)
    bench.come(0, b"abcdef")
    assert bench.console.ports[0].input_count == 6
    got = b""
    for size in (1, 3, 100):
        room(bench, drivers[0], size)
        ((_, written),) = drivers[0].collect()
        got += bench.ram.get(ROOM, written)
    assert got == b"abcdef"
    assert bench.console.ports[0].input_count == 0


def test_a_closed_port_keeps_its_input(named: ConsoleBench) -> None:
    drivers = named.start()
    named.open(drivers, 1)
    named.say(drivers, 1, OPEN, 0)
    room(named, drivers[4])
    named.come(1, b"later")
    assert drivers[4].collect() == []
    named.say(drivers, 1, OPEN)
    assert [written for _, written in drivers[4].collect()] == [5]


def test_each_port_has_its_own_queues(named: ConsoleBench) -> None:
    drivers = named.start()
    named.open(drivers, 0, 1, 2)
    for port, queue in ((0, 1), (1, 5), (2, 7)):
        put(named, drivers[queue], b"from %d" % port)
        assert named.written(port) == b"from %d" % port
        room(named, drivers[queue - 1])
        named.come(port, b"to it")
        assert [written for _, written in drivers[queue - 1].collect()] == [5]


def test_a_driver_of_one_port(named: ConsoleBench) -> None:
    drivers = named.start(features=SIZE)
    put(named, drivers[1], b"x")
    assert named.written(0) == b"x"
    room(named, drivers[0])
    named.come(0, b"y")
    assert [written for _, written in drivers[0].collect()] == [1]
    assert named.console.ports[1].open == 0


def test_much_output_waits_in_the_drivers_buffer(bench: ConsoleBench) -> None:
    drivers = bench.start()
    data = bytes(range(256)) * (OUTPUT_SIZE // 128)
    put(bench, drivers[1], data)
    assert drivers[1].collect() == []
    got = b""
    while part := bench.written(0, 1000):
        got += part
    assert got == data
    assert len(drivers[1].collect()) == 1


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=10),
    cuts=st.integers(1, 700),
    most=st.integers(1, 5000),
    kind=st.sampled_from([SplitDriver, PackedDriver]),
    indirect=st.booleans(),
    event_index=st.booleans(),
)
def test_output_is_complete_and_in_order_however_it_is_cut(
    sizes: list[int], cuts: int, most: int, kind: type[Driver], indirect: bool, event_index: bool
) -> None:
    bench = ConsoleBench()
    drivers = bench.start(kind, MULTIPORT | (EVENT_IDX if event_index else 0))
    sent = got = b""
    for number, size in enumerate(sizes):
        data = bytes((number * 37 + i) % 251 for i in range(size))
        bench.ram.put(ROOM, data)
        parts = [
            Buffer(ROOM + place, min(cuts, size - place), writable=False)
            for place in range(0, size, cuts)
        ]
        if len(parts) > 16:
            parts = [Buffer(ROOM, size, writable=False)]
        assert drivers[1].add(parts, indirect=indirect) is not None
        bench.service()
        sent += data
        while not drivers[1].collect():
            part = bench.written(0, most)
            assert part
            got += part
    while part := bench.written(0, most):
        got += part
    assert got == sent


@settings(max_examples=40, deadline=None)
@given(
    packets=st.lists(st.integers(1, INPUT_SIZE), min_size=1, max_size=6),
    rooms=st.lists(st.integers(1, 1500), min_size=1, max_size=5),
    kind=st.sampled_from([SplitDriver, PackedDriver]),
)
def test_input_is_complete_and_in_order(
    packets: list[int], rooms: list[int], kind: type[Driver]
) -> None:
    bench = ConsoleBench()
    drivers = bench.start(kind)
    bench.open(drivers, 0)
    sent = got = b""
    turn = 0
    for number, size in enumerate(packets):
        data = bytes((number * 41 + i) % 253 for i in range(size))
        sent += data
        bench.come(0, data)
        while bench.console.ports[0].input_count:
            room(bench, drivers[0], rooms[turn % len(rooms)])
            turn += 1
            ((_, written),) = drivers[0].collect()
            got += bench.ram.get(ROOM, written)
    assert got == sent


# ---- the other side gone, resets -------------------------------------------------------------


def test_output_nobody_takes_is_dropped(bench: ConsoleBench) -> None:
    drivers = bench.start()
    put(bench, drivers[1], bytes(OUTPUT_SIZE + 1))
    put(bench, drivers[1], b"more")
    bench.core(VirtioPort.hang_up, bench.console.ports[0])
    bench.service()
    assert len(drivers[1].collect()) == 2
    put(bench, drivers[1], b"more")
    assert len(drivers[1].collect()) == 1
    assert bench.written(0) == b""


def test_a_reset_waits_for_no_file(bench: ConsoleBench) -> None:
    drivers = bench.start()
    bench.open(drivers, 0)
    put(bench, drivers[1], b"a" * OUTPUT_SIZE + b"lost")
    assert bench.device.queues[1].in_flight == 1
    bench.write(0x14, 1, 0)
    bench.service()
    assert bench.status() == 0
    bench.service()
    assert bench.console.ports[0].open == 0
    drivers = bench.start()
    assert bench.written(0) == b"a" * OUTPUT_SIZE
    put(bench, drivers[1], b"again")
    assert bench.written(0) == b"again"


def test_a_queues_reset_lets_its_buffer_go(bench: ConsoleBench) -> None:
    drivers = bench.start()
    put(bench, drivers[1], bytes(OUTPUT_SIZE + 1))
    bench.write(0x16, 2, 1)
    bench.write(0x3A, 2, 1)
    bench.service()
    assert bench.read(0x3A, 2) == 0
    assert bench.read(0x1C, 2) == 0
    assert bench.device.queues[1].in_flight == 0


def test_a_driver_without_bus_mastering_loses_nothing(bench: ConsoleBench) -> None:
    drivers = bench.start()
    put(bench, drivers[1], b"x" * (OUTPUT_SIZE + 5))
    bench.write_config(4, 2, 2)
    assert len(bench.written(0)) == OUTPUT_SIZE
    assert bench.written(0) == b""
    bench.write_config(4, 2, 6)
    bench.service()
    assert bench.written(0) == b"x" * 5
    assert len(drivers[1].collect()) == 1


# ---- drivers that are wrong ------------------------------------------------------------------


def test_messages_that_mean_nothing_are_ignored(named: ConsoleBench) -> None:
    drivers = named.start()
    for port, event in ((7, PORT_READY), (3, OPEN), (0xFFFF_FFFF, OPEN), (1, 99), (1, ADD)):
        named.say(drivers, port, event)
    named.say(drivers, 0, READY, 0)
    drivers[CONTROL_OUT].add([Buffer(ROOM, 7, writable=False)])
    named.ram.put(ROOM, bytes(7))
    named.service()
    assert len(drivers[CONTROL_OUT].collect()) == 1
    assert named.heard(drivers) == []
    assert not named.status() & NEEDS_RESET


def test_a_buffer_too_short_for_a_message_breaks_the_device(named: ConsoleBench) -> None:
    drivers = named.start(size=0)
    named.listen(drivers, ROOM, 7)
    named.say(drivers, 0, READY)
    assert named.status() & NEEDS_RESET
    assert named.device.queues[CONTROL_IN].in_flight == 0


def test_a_buffer_without_room_for_input_breaks_the_device(bench: ConsoleBench) -> None:
    drivers = bench.start()
    bench.open(drivers, 0)
    drivers[0].add([Buffer(ROOM, 8, writable=False)])
    bench.come(0, b"x")
    assert bench.status() & NEEDS_RESET
    drivers = bench.start()
    bench.open(drivers, 0)
    room(bench, drivers[0])
    assert [written for _, written in drivers[0].collect()] == [1]


def test_output_without_bytes_is_nothing(bench: ConsoleBench) -> None:
    drivers = bench.start()
    drivers[1].add([Buffer(ROOM, 8, writable=True)])
    bench.service()
    assert [written for _, written in drivers[1].collect()] == [0]
    assert bench.written(0) == b""
