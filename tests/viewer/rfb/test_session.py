"""A session with one who looks on, byte by byte."""

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.viewer.rfb.client import OPENING, Picture, encodings, key, pointer, request
from vestige.abi import EVENT_SIZE, TABLET_END, EventKind
from vestige.host.viewer.outer import believed
from vestige.viewer.frame import BLANK, Area, Frame, Mode
from vestige.viewer.keyboard import key_record
from vestige.viewer.pointer import pointer_record
from vestige.viewer.rfb import formats
from vestige.viewer.rfb.des import answer
from vestige.viewer.rfb.session import Session, Terms
from vestige.viewer.rfb.spec import MOST_ENCODINGS, VERSION, Encoding

PASSWORD = b"secret"
SMALL = Mode(130, 70, 32)
GREETING = 12 + 2 + 4  # version, security types, result


def lines(mode: Mode, seed: int = 0) -> list[bytes]:
    size = mode.width * mode.bytes_per_dot
    return [bytes((seed + x * y) % 251 for x in range(size)) for y in range(mode.height)]


class Looking:
    """A session without a password, its picture, and what was typed."""

    def __init__(
        self, mode: Mode = SMALL, *, numbers: tuple[int, ...] = (), tablet: bool = False
    ) -> None:
        self.frame = Frame()
        self.frame.show(mode, lines(mode))
        self.said = b""
        terms = Terms("it", None, "us", os.urandom, tablet=tablet)
        self.session = Session(terms, self.frame, self.say)
        self.picture = Picture()
        self.session.feed(OPENING)
        data = bytes(self.session.going)
        assert data[:GREETING] == VERSION + b"\x01\x01" + bytes(4)
        assert self.picture.start(data[GREETING:]) == len(data) - GREETING
        self.session.going.clear()
        if numbers:
            self.session.feed(encodings(*numbers))

    def say(self, records: bytes) -> None:
        self.said += records

    def look(self, *, again: bool = True) -> Picture:
        """Ask, and take what comes."""
        self.session.feed(request(*self.frame.mode.size, again=again))
        self.take()
        return self.picture

    def take(self) -> None:
        while True:
            self.session.fill()
            data = b""
            while self.session.going:
                data += bytes(self.session.going)
                self.session.going.clear()
                self.session.fill()
            if not data:
                return
            assert self.picture.take(data) == len(data)

    def change(self, mode: Mode, seed: int) -> None:
        before = self.frame.mode
        tiles = self.frame.show(mode, lines(mode, seed))
        self.session.is_new(tiles, resized=mode != before)

    def shows(self) -> bool:
        """Whether the viewer sees what there is."""
        own = self.frame.picture(Area(0, 0, *self.frame.mode.size))
        return [_plain(row) for row in self.picture.rows] == [_plain(row) for row in own]


def _plain(row: bytes | bytearray) -> bytes:
    """Without the byte of each dot that means nothing."""
    line = bytearray(row)
    line[3::4] = bytes(len(line) // 4)
    return bytes(line)


@pytest.mark.parametrize("encoding", [Encoding.RAW, Encoding.ZLIB, Encoding.ZRLE])
@pytest.mark.parametrize("depth", [8, 15, 16, 24, 32])
def test_a_picture_is_shown_whole_and_then_what_has_changed(encoding: int, depth: int) -> None:
    mode = Mode(200, 150, depth, 2, 1, tuple(range(0, 1024, 4)) if depth == 8 else ())
    looking = Looking(mode, numbers=(encoding,))
    assert looking.look(again=False).updates == 1
    assert looking.shows()
    assert looking.look().updates == 1  # nothing is new
    changed = list(looking.frame.lines)
    changed[100] = bytes(len(changed[100]))
    looking.session.is_new(looking.frame.show(mode, changed), resized=False)
    looking.take()
    assert looking.picture.updates == 2
    assert looking.shows()
    assert set(looking.picture.encodings) == {encoding}


def test_only_the_tiles_that_changed_are_sent() -> None:
    looking = Looking(numbers=(Encoding.RAW,))
    looking.look(again=False)
    changed = list(looking.frame.lines)
    changed[65] = changed[65][:-4] + b"\1\2\3\0"
    looking.session.is_new(looking.frame.show(SMALL, changed), resized=False)
    looking.session.feed(request(130, 70))
    looking.session.fill()
    assert struct.unpack_from(">BxHHHHH", looking.session.going) == (0, 1, 128, 64, 2, 6)


def test_who_asks_for_news_first_is_shown_all() -> None:
    assert Looking(numbers=(Encoding.ZRLE,)).look().updates == 1


def test_a_part_that_was_asked_for_is_all_that_is_sent() -> None:
    looking = Looking(numbers=(Encoding.RAW,))
    looking.session.feed(request(10, 10, again=False))
    looking.session.fill()
    assert struct.unpack_from(">BxHHHHH", looking.session.going) == (0, 1, 0, 0, 64, 64)


def test_a_new_mode_is_told_to_those_who_can_be_told() -> None:
    looking = Looking(numbers=(Encoding.ZRLE, Encoding.DESKTOP_SIZE))
    looking.look(again=False)
    looking.change(Mode(300, 20, 32), 7)
    assert (looking.look().width, looking.picture.height) == (300, 20)
    assert looking.shows()


def test_who_can_not_be_told_of_a_new_mode_sees_what_fits_and_black() -> None:
    looking = Looking(numbers=(Encoding.ZRLE,))
    looking.look(again=False)
    looking.change(Mode(300, 20, 32), 7)
    picture = looking.look()
    assert (picture.width, picture.height) == (130, 70)
    assert _plain(picture.rows[19]) == _plain(looking.frame.lines[19][: 130 * 4])
    assert not any(b"".join(map(_plain, picture.rows[20:])))


def test_a_mode_that_changes_within_an_update_is_black_where_it_is_smaller() -> None:
    looking = Looking(Mode(1024, 300, 32), numbers=(Encoding.RAW, Encoding.DESKTOP_SIZE))
    looking.session.feed(request(1024, 300, again=False))
    looking.session.fill()
    data = bytes(looking.session.going)
    looking.change(Mode(100, 10, 32), 3)
    while looking.session.going:
        looking.session.going.clear()
        looking.session.fill()
        data += bytes(looking.session.going)
    assert looking.picture.take(data) == len(data)
    assert not any(b"".join(map(_plain, looking.picture.rows[256:])))
    looking.look()
    assert looking.shows()


def test_a_password_opens_and_a_wrong_one_does_not() -> None:
    for word, opens in ((PASSWORD, True), (b"Secret", False), (b"", False)):
        session = Session(Terms("it", PASSWORD, "us", os.urandom), Frame(), lambda _: None)
        session.feed(VERSION)
        assert bytes(session.going[12:14]) == b"\x01\x02"
        session.going.clear()
        session.feed(b"\x02")
        challenge = bytes(session.going)
        session.going.clear()
        session.feed(answer(word, challenge) + b"\x01")
        assert session.is_open is opens
        assert session.is_over is not opens
        if opens:
            assert session.going[:4] == bytes(4)
        else:
            assert bytes(session.going) == struct.pack(">II", 1, 14) + b"wrong password"


def test_nothing_is_done_without_the_password() -> None:
    said: list[bytes] = []
    session = Session(Terms("it", PASSWORD, "us", os.urandom), Frame(), said.append)
    session.feed(VERSION + b"\x01\x01" + key(0x61, down=True))
    assert session.is_over
    assert not said


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        (b"RFB 003.003\n", b"\0\0\0\1"),
        (b"RFB 003.005\n", b"\0\0\0\1"),
        (b"RFB 003.007\n", b"\1\1"),
        (VERSION, b"\1\1"),
        (b"RFB 004.001\n", b"\0\0\0\1"),
    ],
)
def test_older_viewers_are_spoken_to_in_their_way(version: bytes, sent: bytes) -> None:
    session = Session(Terms("it", None, "us", os.urandom), Frame(), lambda _: None)
    session.feed(version)
    assert bytes(session.going[12:]) == sent
    session.going.clear()
    session.feed(b"\1\1" if len(sent) == 2 else b"\1")
    first = 4 if version == VERSION else 0
    assert session.going[first : first + 4] == struct.pack(">HH", *BLANK.size)


def test_a_tablets_pointer_is_where_the_viewers_is_also_one_that_could_say_how_far() -> None:
    looking = Looking(numbers=(Encoding.POINTER_MOTION,), tablet=True)
    width, height = looking.frame.mode.size
    looking.session.feed(pointer(0, 0, 0) + pointer(1, width - 1, height - 1))
    looking.session.feed(pointer(17, 0xFFFF, height // 2))
    looking.session.leave()
    told = [
        (kind, buttons, x, y, wheel)
        for kind, buttons, _, x, y, wheel in struct.iter_unpack("<BBHHHh", looking.said)
    ]
    middle = height // 2 * TABLET_END // (height - 1)
    assert told == [
        (EventKind.TABLET, 0, 0, 0, 0),
        (EventKind.TABLET, 1, TABLET_END, TABLET_END, 0),
        (EventKind.TABLET, 1, TABLET_END, middle, 1),
        (EventKind.TABLET, 0, TABLET_END, middle, 0),
    ]
    assert believed(looking.said) == looking.said
    beyond = struct.pack("<BBHHHh", EventKind.TABLET, 0, 0, TABLET_END + 1, 0, 0)
    assert believed(beyond) == b""


def test_keys_and_the_pointer_become_records() -> None:
    looking = Looking()
    looking.session.feed(key(0x61, down=True) + key(0x61, down=False))
    looking.session.feed(pointer(0, 10, 10) + pointer(4, 13, 8) + pointer(20, 13, 8))
    assert looking.said == (
        key_record(EventKind.PRESS, 0x1E)
        + key_record(EventKind.RELEASE, 0x1E)
        + pointer_record(0, 3, 2)
        + pointer_record(2)
        + pointer_record(2, wheel=1)
    )


def test_what_is_held_is_let_go_with_the_viewer() -> None:
    looking = Looking()
    looking.session.feed(key(0xFFE3, down=True) + pointer(1, 5, 5))
    looking.said = b""
    looking.session.leave()
    assert looking.said == key_record(EventKind.RELEASE, 0x1D) + pointer_record(0)


def test_codes_of_keys_and_relative_movements_where_a_viewer_has_them() -> None:
    looking = Looking(numbers=(Encoding.EXTENDED_KEY, Encoding.POINTER_MOTION))
    looking.look(again=False)
    assert {Encoding.EXTENDED_KEY, Encoding.POINTER_MOTION} < set(looking.picture.encodings)
    looking.session.feed(struct.pack(">BBHII", 255, 0, 1, 0xFF51, 0xCB))
    looking.session.feed(pointer(0, 0x7FFF + 4, 0x7FFF - 3))
    assert looking.said == key_record(EventKind.PRESS, 0xE04B) + pointer_record(0, 4, 3)


@pytest.mark.parametrize(
    "message",
    [
        b"\x09",
        struct.pack(">BxH", 2, MOST_ENCODINGS + 1),
        b"\0\0\0\0" + formats.OWN._replace(bits=24).packed(),
        b"\0\0\0\0" + formats.OWN._replace(red_most=0).packed(),
        b"\0\0\0\0" + formats.OWN._replace(red_shift=25).packed(),
        b"\0\0\0\0" + formats.OWN._replace(true_colour=False).packed(),
        struct.pack(">BBHII", 255, 0, 1, 0, 0),  # a code of a key, though nobody offered
    ],
)
def test_what_means_nothing_ends_the_session(message: bytes) -> None:
    looking = Looking()
    looking.session.feed(message)
    assert looking.session.is_over


def test_text_that_was_cut_is_passed_over_however_long() -> None:
    looking = Looking()
    looking.session.feed(struct.pack(">B3xI", 6, 1 << 20))
    for _ in range(16):
        looking.session.feed(bytes(1 << 16))
    looking.session.feed(key(0x61, down=True))
    assert looking.said == key_record(EventKind.PRESS, 0x1E)


@pytest.mark.parametrize(
    "form",
    [
        formats.Format(32, 24, True, True, 255, 255, 255, 16, 8, 0),
        formats.Format(32, 24, False, True, 255, 255, 255, 0, 8, 16),
        formats.Format(16, 16, False, True, 31, 63, 31, 11, 5, 0),
        formats.Format(16, 15, True, True, 31, 31, 31, 10, 5, 0),
        formats.Format(8, 8, False, True, 7, 7, 3, 0, 3, 6),
    ],
)
def test_pixels_are_as_a_viewer_wants_them(form: formats.Format) -> None:
    looking = Looking(numbers=(Encoding.RAW,))
    looking.session.feed(b"\0\0\0\0" + form.packed())
    looking.picture = Picture(form)
    looking.picture.resize(130, 70)
    looking.look(again=False)
    byte_order = "big" if form.big_endian else "little"
    for y in (0, 33, 69):
        for x in (0, 64, 129):
            blue, green, red, _ = looking.frame.lines[y][x * 4 : x * 4 + 4]
            place = slice(x * form.size, (x + 1) * form.size)
            pixel = int.from_bytes(looking.picture.rows[y][place], byte_order)  # type: ignore[arg-type]
            for part, most, shift in (
                (red, form.red_most, form.red_shift),
                (green, form.green_most, form.green_shift),
                (blue, form.blue_most, form.blue_shift),
            ):
                assert abs((pixel >> shift & most) - part * most / 255) <= 0.5


def test_a_viewer_of_few_colours_gets_a_map_of_them() -> None:
    looking = Looking(numbers=(Encoding.RAW,))
    looking.session.feed(b"\0\0\0\0" + formats.MAPPED._replace(true_colour=False).packed())
    looking.session.feed(request(130, 70, again=False))
    looking.session.fill()
    assert struct.unpack_from(">BxHH", looking.session.going) == (1, 0, 256)
    assert looking.session.going[6 + 1536] == 0  # the update follows


@given(st.lists(st.binary(max_size=40), max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_bytes_make_records_alone(pieces: list[bytes]) -> None:
    looking = Looking()
    for piece in pieces:
        looking.session.feed(piece)
        looking.session.fill()
        looking.session.going.clear()
    looking.session.leave()
    kinds = looking.said[::EVENT_SIZE]
    assert len(looking.said) % EVENT_SIZE == 0
    assert set(kinds) <= {EventKind.PRESS, EventKind.RELEASE, EventKind.POINTER}
