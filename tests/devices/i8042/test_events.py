"""Events on their way to the keyboard and the mouse: each when the guest can take it, none lost."""

import ctypes
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitor.rig import Rig
from vestige import abi
from vestige.abi import EVENT_SIZE, EventKind
from vestige.monitor.devices.i8042.scan_codes import SET_2
from vestige.monitor.devices.i8042.spec import Command, MouseCommand, Status
from vestige.monitor.drivers.ring.spec import Errno, Submission
from vestige.monitor.events import PACE, ROOM
from vestige.monitor.line import NEVER

DATA, COMMAND = 0x60, 0x64
MS = 1_000_000
A, B, UP = 0x1E, 0x30, 0xE048
DISABLE, ENABLE = 0xF5, 0xF4


def record(
    kind: int, code: int = 0, x: int = 0, y: int = 0, wheel: int = 0, buttons: int = 0
) -> bytes:
    signed = (number.to_bytes(2, "little", signed=True) for number in (x, y, wheel))
    return bytes((kind, buttons)) + code.to_bytes(2, "little") + b"".join(signed)


def stroke(code: int) -> bytes:
    return record(EventKind.PRESS, code) + record(EventKind.RELEASE, code)


def codes_of(keys: Sequence[int]) -> bytes:
    """What a keyboard in set 2 sends for strokes."""
    sent = b""
    for code in keys:
        extended = b"\xe0" if code >> 8 else b""
        make = bytes((SET_2[code & 0x7F],))
        sent += extended + make + extended + b"\xf0" + make
    return sent


class Guest:
    """A PC whose guest reads what the controller has, as soon as it has it."""

    def __init__(
        self, *data: bytes, board: abi.Board = abi.Board.PC, firmware: bool = False
    ) -> None:
        self.rig = Rig()
        self.items = (ctypes.c_uint8 * abi.FIRMWARE_ITEMS_SIZE)()
        self.stream = list(data)
        config = self.rig.shared.config
        config.board = board
        config.firmware_items = ctypes.addressof(self.items) if firmware else 0
        config.events.present, config.events.file = 1, len(self.rig.ring.files)
        self.rig.ring.files.append(self.stream)
        self.rig.start()
        self.rig.machine.keyboard_controller.ram[0] &= ~0x40  # no translation
        self.keys, self.moves = bytearray(), bytearray()

    def take(self) -> None:
        """All that there is to read."""
        while (status := self.rig.inp(COMMAND)) & Status.OUTPUT_FULL:
            where = self.moves if status & Status.AUXILIARY else self.keys
            where.append(self.rig.inp(DATA))

    def pass_time(self, milliseconds: int) -> None:
        for _ in range(milliseconds):
            self.rig.now += MS
            self.rig.work()

    def live(self, milliseconds: int) -> None:
        """Read for so long."""
        for _ in range(milliseconds):
            self.pass_time(1)
            self.take()

    def tell_keyboard(self, value: int) -> None:
        self.rig.out(DATA, value)
        assert self.rig.inp(DATA) == 0xFA

    def tell_mouse(self, value: int) -> None:
        self.rig.out(COMMAND, Command.WRITE_MOUSE)
        self.rig.out(DATA, value)
        assert self.rig.inp(DATA) == 0xFA


def test_a_stroke_reaches_the_guest() -> None:
    guest = Guest(stroke(A) + stroke(UP))
    guest.live(100)
    assert guest.keys == bytes.fromhex("1c f0 1c e0 75 e0 f0 75")


def test_five_hundred_characters_arrive_whole() -> None:
    keys = [(A, B, UP)[number % 3] for number in range(500)]
    data = b"".join(map(stroke, keys))
    pieces = [data[at : at + ROOM] for at in range(0, len(data), ROOM)]
    guest = Guest(*pieces)
    guest.live(2 * 500 * PACE // MS + 1000)
    assert guest.keys == codes_of(keys)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, ROOM - EVENT_SIZE), min_size=1, max_size=30), st.integers(0, 25))
def test_records_come_in_pieces_of_any_size(sizes: list[int], pause: int) -> None:
    keys = [(A, B)[number % 2] for number in range(12)]
    data = b"".join(map(stroke, keys))
    pieces: list[bytes] = []
    while data:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[:size])
        data = data[size:]
    guest = Guest(*pieces)
    for _ in range(60):
        guest.pass_time(pause)
        guest.live(10)
    assert guest.keys == codes_of(keys)


def test_a_guest_that_reads_nothing_loses_nothing() -> None:
    keys = [A, B] * 20
    data = b"".join(map(stroke, keys))
    guest = Guest(*(data[at : at + ROOM] for at in range(0, len(data), ROOM)))
    guest.pass_time(5000)
    assert guest.stream, "what was not asked for stays in the file"
    guest.live(2 * 40 * PACE // MS + 200)
    assert guest.keys == codes_of(keys)


def test_a_keyboard_that_looks_at_no_keys_is_waited_for() -> None:
    guest = Guest(stroke(A))
    guest.tell_keyboard(DISABLE)
    guest.live(200)
    assert not guest.keys
    guest.tell_keyboard(ENABLE)
    guest.live(200)
    assert guest.keys == codes_of([A])


def test_a_firmware_that_has_not_enabled_the_keyboard_is_waited_for() -> None:
    guest = Guest(stroke(A), firmware=True)
    guest.live(200)
    guest.rig.out(DATA, 0xFF)
    guest.live(200)
    assert guest.keys == b"\xfa\xaa", "reset: no key is lost by that"
    guest.rig.out(DATA, ENABLE)
    guest.live(200)
    assert guest.keys == b"\xfa\xaa\xfa" + codes_of([A])


def test_a_controller_that_holds_the_keyboard_is_waited_for() -> None:
    guest = Guest(stroke(A))
    guest.rig.out(COMMAND, Command.DISABLE_KEYBOARD)
    guest.live(200)
    assert not guest.keys
    guest.rig.out(COMMAND, Command.ENABLE_KEYBOARD)
    guest.live(200)
    assert guest.keys == codes_of([A])


def test_keys_come_no_faster_than_a_quick_typist_makes_them() -> None:
    guest = Guest(stroke(A) * 8)
    guest.live(8 * PACE // MS)
    assert 0 < len(guest.keys) <= 3 * 5


def test_a_worker_that_is_late_repeats_no_key() -> None:
    """The release is there, though nobody has looked."""
    guest = Guest(stroke(A))
    guest.live(2)
    guest.rig.now += 5000 * MS
    guest.live(200)
    assert guest.keys == codes_of([A])


def test_a_key_that_is_held_repeats() -> None:
    guest = Guest(record(EventKind.PRESS, A))
    guest.live(1500)
    assert guest.keys[:3] == b"\x1c\x1c\x1c"


def test_a_wait_holds_up_what_follows() -> None:
    guest = Guest(record(EventKind.WAIT, 300) + stroke(A))
    guest.live(290)
    assert not guest.keys
    guest.live(50)
    assert guest.keys == codes_of([A])


def test_the_pointers_way_reaches_the_guest() -> None:
    guest = Guest(
        record(EventKind.WAIT, 50)
        + record(EventKind.POINTER, x=10, y=-5)
        + record(EventKind.POINTER, x=-300)
        + record(EventKind.POINTER, buttons=1)
        + record(EventKind.POINTER, buttons=0)
    )
    guest.tell_mouse(MouseCommand.ENABLE)
    guest.live(200)
    reports = [bytes(guest.moves[at : at + 3]) for at in range(0, len(guest.moves), 3)]
    assert reports[0] == bytes((0x28, 10, 0xFB))
    assert reports[1][0] & 0x50 == 0x50, "farther than a report can say"
    assert [each[0] & 1 for each in reports[-2:]] == [1, 0]


def test_a_mouse_that_reports_nothing_holds_up_no_key() -> None:
    guest = Guest(record(EventKind.POINTER, x=10) * 3 + stroke(A))
    guest.live(100)
    assert guest.keys == codes_of([A])


@pytest.mark.parametrize("kind", [0, 5, 255])
def test_a_kind_that_there_is_not_is_passed_over(kind: int) -> None:
    guest = Guest(record(kind, 0xFFFF, -1, -1, -1, 255) + stroke(A))
    guest.live(100)
    assert guest.keys == codes_of([A])


@pytest.mark.parametrize("code", [0, 0x80, 0xFF, 0x1234, 0xE000, 0xE080, 0xFFFF])
def test_a_code_that_is_no_key_sends_nothing(code: int) -> None:
    guest = Guest(stroke(code) + stroke(A))
    guest.live(100)
    assert guest.keys == codes_of([A])


@pytest.mark.parametrize("error", [Errno.EAGAIN, Errno.EINTR])
def test_what_can_not_be_read_now_is_read_later(error: int) -> None:
    guest = Guest(stroke(A))
    failures = [-error, -error]

    def answer(entry: Submission) -> int | None:
        is_ours = entry.file == len(guest.rig.ring.files) - 1
        return failures.pop() if failures and is_ours else None

    guest.rig.ring.answer = answer
    guest.live(200)
    assert not failures
    assert guest.keys == codes_of([A])


def test_a_file_that_fails_is_read_no_more() -> None:
    guest = Guest()
    reads: list[int] = []

    def answer(entry: Submission) -> int | None:
        if entry.file != len(guest.rig.ring.files) - 1:
            return None
        reads.append(1)
        return -Errno.EIO

    guest.rig.ring.answer = answer
    guest.live(200)
    assert len(reads) <= 1
    assert guest.rig.machine.events.next_deadline() == NEVER


def test_what_nobody_takes_is_dropped() -> None:
    guest = Guest(stroke(A), board=abi.Board.MODERN)
    guest.pass_time(1)
    assert not guest.stream
    assert guest.rig.expiry == NEVER, "and has no use for the worker"


def test_an_event_has_the_size_that_is_told() -> None:
    assert len(record(EventKind.POINTER)) == EVENT_SIZE
    assert ROOM % EVENT_SIZE == 0
