"""Frames survive being cut anywhere; what is not a frame is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.softhost import wire

WORDS = st.integers(0, 2**32 - 1)
FRAMES = st.lists(st.tuples(st.integers(0, 255), WORDS, st.binary(max_size=100)), max_size=10)
TEXT = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b""))
NAMES = TEXT.map(lambda data: data.replace(b"=", b""))


@given(FRAMES, st.integers(1, 50))
def test_frames_come_back_however_they_are_cut(
    frames: list[tuple[int, int, bytes]], piece: int
) -> None:
    stream = b"".join(wire.encode(*frame) for frame in frames)
    decoder = wire.Decoder()
    found = []
    for at in range(0, len(stream), piece):
        found += decoder.feed(stream[at : at + piece])
    assert [(frame.kind, frame.command, frame.payload) for frame in found] == frames


@given(WORDS, WORDS)
def test_pairs_come_back(first: int, second: int) -> None:
    (frame,) = wire.Decoder().feed(wire.encode_pair(wire.CREDIT, 7, first, second))
    assert wire.decode_pair(frame.payload) == (first, second)


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    TEXT,
    st.dictionaries(NAMES, TEXT, max_size=5),
    st.lists(WORDS, max_size=4),
    WORDS,
)
def test_what_to_run_comes_back(
    argv: list[bytes], cwd: bytes, environment: dict[bytes, bytes], groups: list[int], user: int
) -> None:
    start = wire.Start(argv, cwd, environment, (user, 5, groups), 0o022, (24, 80))
    again = wire.decode_start(wire.encode_start(start))
    assert again.argv == argv
    assert again.cwd == cwd
    assert again.environment == environment
    assert again.groups == (user, 5, groups)
    assert (again.umask, again.terminal) == (0o022, (24, 80))


def test_an_impossible_length_is_refused() -> None:
    with pytest.raises(wire.FrameError, match="4294967295 bytes"):
        wire.Decoder().feed(b"\x01" + b"\0\0\0\0" + b"\xff\xff\xff\xff")


@pytest.mark.parametrize("payload", [b"", b"1 2 3", b"a b c d e f", b"0 0 0 0 0 2\0/\0one"])
def test_a_damaged_start_is_refused(payload: bytes) -> None:
    with pytest.raises(wire.FrameError):
        wire.decode_start(payload)


@pytest.mark.parametrize("payload", [b"", b"123", b"12345"])
def test_a_damaged_number_is_refused(payload: bytes) -> None:
    with pytest.raises(wire.FrameError):
        wire.decode_word(payload)
    with pytest.raises(wire.FrameError):
        wire.decode_pair(payload)
