"""The UART's other side: files of the ring that take and give when they like."""

import pytest

from tests.monitor.rig import Rig
from vestige import abi
from vestige.monitor.devices.uart16550.model import INPUT_SIZE, OUTPUT_SIZE
from vestige.monitor.drivers.ring.spec import Errno, Opcode, Submission
from vestige.monitor.streams import PATIENCE, RETRY

UART = abi.PORT_UART
LINE_STATUS = UART + 5


@pytest.fixture
def rig() -> Rig:
    """A machine without disks: its console's files are 0 and 1."""
    return Rig().start()


@pytest.fixture
def typed() -> Rig:
    """A machine whose console has an input."""
    return Rig(reads_input=True).start()


def send(rig: Rig, text: bytes) -> None:
    """What a guest prints."""
    for character in text:
        rig.out(UART, character)


def listen(rig: Rig) -> None:
    """The guest is interrupted for what it receives: FIFOs on, trigger level 8."""
    rig.out(UART + 2, 0x81)
    rig.out(UART + 1, 1)


def receive(rig: Rig) -> bytes:
    """What a guest reads until the line status shows nothing more."""
    received = b""
    while rig.inp(LINE_STATUS) & 1:
        received += bytes([rig.inp(UART)])
    return received


def test_a_line_is_one_write_made_when_it_ends(rig: Rig) -> None:
    send(rig, b"a line\nand")
    assert rig.output == [b"a line\n"]


def test_what_has_no_end_of_line_is_written_after_a_little_while(rig: Rig) -> None:
    send(rig, b"login: ")
    assert rig.output == []
    rig.work()
    assert rig.output == []
    assert rig.timer <= PATIENCE
    rig.now += PATIENCE
    rig.work()
    assert rig.output == [b"login: "]


def test_a_file_that_takes_nothing_does_not_hold_up_the_guest(rig: Rig) -> None:
    rig.ring.inline = False
    send(rig, b"one\n")
    send(rig, b"two\nthree\n")
    assert len(rig.ring.taken) == 1
    rig.ring.complete()
    rig.work()
    rig.ring.complete()
    rig.work()
    assert rig.output == [b"one\n", b"two\nthree\n"]


def test_a_file_that_never_takes_anything_leaves_the_transmitter_full(rig: Rig) -> None:
    rig.ring.inline = False
    rig.out(UART + 2, 1)
    sent = b"x" * OUTPUT_SIZE
    rig.port(UART, 1, sent, write=True)
    assert rig.inp(LINE_STATUS) & 0x20
    send(rig, b"y")
    assert not rig.inp(LINE_STATUS) & 0x20
    rig.ring.inline = True
    rig.ring.complete()
    rig.work()
    assert rig.inp(LINE_STATUS) & 0x20
    rig.now += PATIENCE
    rig.work()
    assert b"".join(rig.output) == sent + b"y"


def test_a_full_output_drained_interrupts_the_guest(rig: Rig) -> None:
    rig.enable_pin(abi.PIN_UART, 0x41)
    rig.ring.inline = False
    rig.port(UART, 1, b"x" * (OUTPUT_SIZE + 1), write=True)
    rig.out(UART + 1, 2)
    assert rig.rung == []
    rig.ring.complete()
    rig.work()
    assert rig.rung == [abi.PIN_UART]


def test_a_short_write_goes_on(rig: Rig) -> None:
    def short(submission: Submission) -> int | None:
        submission.length = min(submission.length, 3)
        return None

    rig.ring.answer = short
    send(rig, b"longer\n")
    assert b"".join(rig.output) == b"longer\n"


def test_eagain_is_tried_again_later(rig: Rig) -> None:
    rig.ring.answer = lambda submission: -Errno.EAGAIN
    send(rig, b"x\n")
    rig.ring.answer = lambda submission: None
    rig.work()
    assert rig.output == []
    rig.now += RETRY
    rig.work()
    assert rig.output == [b"x\n"]


def test_output_nobody_can_take_any_more_is_dropped(rig: Rig) -> None:
    rig.ring.answer = lambda submission: -32  # EPIPE
    send(rig, b"x\n")
    rig.port(UART, 1, b"y" * OUTPUT_SIZE, write=True)
    rig.port(UART, 1, b"y" * OUTPUT_SIZE, write=True)
    assert rig.inp(LINE_STATUS) & 0x20
    assert rig.output == []


def test_input_waits_until_the_guest_can_receive(typed: Rig) -> None:
    typed.input.append(b"ls\n")
    assert receive(typed) == b""
    assert typed.input == [b"ls\n"], "it was read too early"
    listen(typed)
    assert receive(typed) == b"ls\n"


def test_input_comes_to_a_guest_that_polls(typed: Rig) -> None:
    typed.input.append(b"ls\n")
    assert [receive(typed) for _ in range(3)] == [b"", b"", b"ls\n"]


@pytest.mark.parametrize("polling", [False, True])
def test_input_comes_in_order_and_none_is_lost(typed: Rig, polling: bool) -> None:
    text = bytes(range(256)) * 2
    typed.input += [text[i : i + INPUT_SIZE] for i in range(0, len(text), INPUT_SIZE)]
    if polling:
        assert receive(typed) + receive(typed) == b""
    else:
        listen(typed)
    assert receive(typed) == text
    assert not typed.inp(LINE_STATUS) & 2


def test_input_interrupts_at_the_trigger_level_or_after_a_while(typed: Rig) -> None:
    rig = typed
    rig.ring.inline = False
    rig.enable_pin(abi.PIN_UART, 0x41)
    listen(rig)
    rig.input += [b"x", b"12345678"]
    rig.ring.complete()
    rig.work()
    assert rig.rung == []
    assert rig.timer > 0
    rig.now += rig.timer
    rig.work()
    assert rig.rung == [abi.PIN_UART]
    assert receive(rig) == b"x"
    rig.ring.complete()
    rig.work()
    assert rig.rung == [abi.PIN_UART] * 2


def test_the_end_of_the_input_is_looked_at_once(typed: Rig) -> None:
    listen(typed)
    for _ in range(10):
        typed.inp(LINE_STATUS)
    assert len([opcode for opcode, *_ in typed.ring.log if opcode == Opcode.READ_FIXED]) == 1


def test_no_input_file_is_never_read() -> None:
    rig = Rig().start()
    listen(rig)
    assert rig.ring.log == []


def test_without_a_ring_output_is_dropped() -> None:
    rig = Rig()
    rig.shared.config.ring.present = 0
    rig.start()
    for _ in range(2):
        rig.port(UART, 1, b"x" * OUTPUT_SIZE, write=True)
    assert rig.inp(LINE_STATUS) & 0x60 == 0x60
