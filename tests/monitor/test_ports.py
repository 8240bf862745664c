"""The virtio console and the entropy device on the whole monitor: their files take their time."""

import pytest

from tests.monitor.port_guest import CONSOLE_SIZE, MULTIPORT, PortGuest, console_rig, entropy_rig
from tests.monitor.rig import PoweredOff, Rig
from vestige import abi
from vestige.monitor.devices.virtio_console.port import OUTPUT_SIZE
from vestige.monitor.drivers.ring.spec import Errno, Opcode, Submission
from vestige.monitor.streams import PATIENCE, RETRY

EPIPE = 32
NEEDS_RESET = 64


def output(rig: Rig, port: int = 0) -> list[bytes]:
    """What has been written of a port."""
    file = rig.ring.files[2 * port]
    assert isinstance(file, list)
    return file


def give_input(rig: Rig, data: bytes, port: int = 0) -> None:
    """What the next read of a port brings."""
    file = rig.ring.files[2 * port + 1]
    assert isinstance(file, list)
    file.append(data)


def test_the_consoles_output_is_written_by_lines() -> None:
    rig = console_rig()
    guest = PortGuest(rig, 2)
    guest.put(1, b"Linux ver")
    assert output(rig) == []
    assert 0 < rig.timer <= PATIENCE
    guest.put(1, b"sion 6.1\n")
    assert output(rig) == [b"Linux version 6.1\n"]
    guest.put(1, b"login: ")
    assert output(rig)[1:] == []
    rig.now += PATIENCE
    rig.work()
    assert output(rig)[1:] == [b"login: "]
    assert len(guest.queues[1].collect()) == 3
    assert abi.VIRTIO_GSI + 2 in rig.rung


def test_a_ports_output_is_written_at_once() -> None:
    rig = console_rig(ports=2)
    guest = PortGuest(rig, 6, MULTIPORT)
    guest.put(5, b"no line")
    assert output(rig, 1) == [b"no line"]
    assert output(rig) == []


def test_a_file_that_takes_nothing_stops_the_driver_not_the_guest() -> None:
    rig = console_rig()
    rig.ring.inline = False
    guest = PortGuest(rig, 2)
    for _ in range(3):
        guest.put(1, b"x" * OUTPUT_SIZE)
    assert len(guest.queues[1].collect()) == 1
    rig.ring.inline = True
    while rig.ring.taken:
        rig.ring.complete()
        rig.work()
    assert len(guest.queues[1].collect()) == 2
    assert b"".join(output(rig)) == b"x" * 3 * OUTPUT_SIZE


def test_short_writes_and_eagain_lose_nothing() -> None:
    rig = console_rig()
    answers = [3, -Errno.EAGAIN, -Errno.EINTR]

    def answer(submission: Submission) -> int | None:
        if not answers or submission.opcode != Opcode.WRITE_FIXED:
            return None
        result = answers.pop(0)
        if result > 0:
            output(rig).append(b"abc")
        return result

    rig.ring.answer = answer
    guest = PortGuest(rig, 2)
    guest.put(1, b"abcdef\n")
    assert b"".join(output(rig)) == b"abc"
    assert 0 < rig.timer <= RETRY
    rig.now += RETRY
    rig.work()
    assert b"".join(output(rig)) == b"abcdef\n"


def test_output_nobody_takes_any_more_is_dropped() -> None:
    rig = console_rig()
    rig.ring.answer = lambda submission: -EPIPE
    guest = PortGuest(rig, 2)
    guest.put(1, b"x\n" * OUTPUT_SIZE)
    guest.put(1, b"y\n")
    assert len(guest.queues[1].collect()) == 2
    assert rig.machine.ports.idle(rig.machine.virtio.consoles[0], rig.machine.ring_driver)


def test_input_is_read_for_who_has_the_port_open() -> None:
    rig = console_rig(ports=2)
    rig.ring.answer = lambda submission: None if rig.ring.files[submission.file] else -Errno.EAGAIN
    guest = PortGuest(rig, 6, MULTIPORT)
    give_input(rig, b"hello", 1)
    guest.room(4)
    assert guest.got(4) == []
    assert not any(opcode == Opcode.READ_FIXED for opcode, *_ in rig.ring.log)
    guest.open(1)
    assert guest.got(4) == [b"hello"]
    give_input(rig, b"more", 1)
    guest.room(4)
    rig.now += RETRY
    rig.work()
    assert guest.got(4) == [b"more"]
    assert abi.VIRTIO_GSI + 5 in rig.rung


def test_no_more_is_read_than_a_driver_has_room_for() -> None:
    rig = console_rig()
    for _ in range(3):
        give_input(rig, b"12345678")
    guest = PortGuest(rig, 2)
    assert len(rig.ring.log) == 1
    guest.room(0, 3)
    assert guest.got(0) == [b"123"]
    assert len(rig.ring.log) == 1
    guest.room(0, 64)
    assert guest.got(0) == [b"45678"]
    assert len(rig.ring.log) == 2


def test_the_end_of_the_input_is_looked_at_once() -> None:
    rig = console_rig()
    guest = PortGuest(rig, 2)
    for _ in range(5):
        guest.room(0)
    assert len(rig.ring.log) == 1
    assert guest.got(0) == []


def test_a_port_without_input_is_never_read() -> None:
    rig = console_rig(input_=False)
    PortGuest(rig, 2).room(0)
    assert rig.ring.log == []


def test_what_waits_is_written_before_the_machine_ends() -> None:
    rig = console_rig()
    guest = PortGuest(rig, 2)
    guest.put(1, b"no end of line")
    assert output(rig) == []
    with pytest.raises(PoweredOff):
        rig.out(abi.PORT_SLEEP_CONTROL, abi.SLEEP_TYPE_S5 << 2 | 1 << 5)
    assert output(rig) == [b"no end of line"]


def test_a_terminals_new_size_interrupts_the_driver() -> None:
    rig = console_rig(columns=80, rows=24)
    guest = PortGuest(rig, 2, CONSOLE_SIZE)
    rig.write(guest.bar + 0x10, 0, 2)  # the configuration's vector
    assert rig.read(guest.bar + 0x2000) == 80 | 24 << 16
    rig.rung.clear()
    rig.work()
    assert rig.rung == []
    rig.shared.config.columns, rig.shared.config.rows = 132, 50
    rig.work()
    assert rig.rung == [abi.VIRTIO_GSI]
    assert rig.read(guest.bar + 0x2000) == 132 | 50 << 16
    rig.work()
    assert rig.rung == [abi.VIRTIO_GSI]


def test_random_bytes() -> None:
    rig = entropy_rig(bytes(range(1, 101)), b"second")
    guest = PortGuest(rig, 1)
    guest.room(0, 60)
    assert guest.got(0) == [bytes(range(41, 101))]
    guest.room(0, 60)
    assert guest.got(0) == [bytes(range(1, 41))]
    guest.room(0, 60)
    assert guest.got(0) == [b"second"]
    assert rig.ring.log[0][:2] == (Opcode.READ_FIXED, 0)
    assert abi.VIRTIO_GSI + 1 in rig.rung


def test_no_random_bytes_break_the_device() -> None:
    rig = entropy_rig()
    rig.ring.answer = lambda submission: -Errno.EIO
    guest = PortGuest(rig, 1)
    guest.room(0, 60)
    assert rig.read(guest.bar + 0x14, 1) & NEEDS_RESET
    assert guest.got(0) == []
    assert rig.shared.statistics.virtio[0].failures == 1


def test_without_a_ring_there_are_no_functions() -> None:
    rig = Rig(console=False)
    rig.shared.config.virtio[0].kind = abi.VirtioKind.ENTROPY
    rig.shared.config.ring.present = 0
    rig.start()
    assert rig.read(abi.ECAM + (abi.VIRTIO_SLOT << 15)) == 0xFFFF_FFFF
