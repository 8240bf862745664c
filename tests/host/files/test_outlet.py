"""Writing to who may not read: never waiting, losing nothing, ending with the reader."""

import errno
import os
import pty
import select
import socket
import tty
from collections.abc import Iterator
from contextlib import closing

import pytest

from vestige.host.files.outlet import Outlet
from vestige.terminal import IN_ORDER

PATIENCE = 20  # seconds
MUCH = bytes(range(256)) * 4096


class Far:
    """Both ends of something that is written and read."""

    def __init__(self, kind: str) -> None:
        if kind == "pipe":
            self.reader, self.writer = os.pipe()
        elif kind == "terminal":
            self.reader, self.writer = pty.openpty()
            tty.setraw(self.writer)
        else:
            near, far = socket.socketpair()
            self.reader, self.writer = near.detach(), far.detach()

    def read(self, size: int = 1) -> bytes:
        """So many bytes at least: a terminal hands on in parts what was written in parts."""
        data = b""
        while len(data) < size and select.select([self.reader], [], [], PATIENCE)[0]:
            data += os.read(self.reader, 65536)
        return data


@pytest.fixture(params=["pipe", "terminal", "socket"])
def far(request: pytest.FixtureRequest) -> Iterator[Far]:
    ends = Far(request.param)
    yield ends
    for descriptor in (ends.reader, ends.writer):
        os.close(descriptor)


def test_a_reader_that_stalls_holds_up_nobody_and_loses_nothing(far: Far) -> None:
    with closing(Outlet(far.writer)) as outlet:
        gone = outlet.put(MUCH)
        assert 0 < gone < len(MUCH)
        assert outlet.waiting == len(MUCH) - gone
        received = b""
        while len(received) < len(MUCH):
            received += far.read()
            gone += outlet.flush()
        assert (received, gone, outlet.waiting) == (MUCH, len(MUCH), 0)
        assert outlet.events() == {}


def test_the_callers_own_open_file_stays_as_it_was(far: Far) -> None:
    with closing(Outlet(far.writer)) as outlet:
        outlet.put(MUCH)
        assert os.get_blocking(far.writer)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_without_a_reader_it_fails_and_what_comes_is_dropped(kind: str) -> None:
    far = Far(kind)
    os.close(far.reader)
    with closing(Outlet(far.writer)) as outlet:
        assert outlet.put(b"lost") == 4
        assert isinstance(outlet.failure, BrokenPipeError)
        assert outlet.put(b"too") == 3
    os.close(far.writer)


def test_no_room_is_a_failure() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with closing(Outlet(descriptor)) as outlet:
        outlet.put(b"x")
        assert outlet.failure is not None
        assert outlet.failure.errno == errno.ENOSPC
    os.close(descriptor)


@pytest.mark.parametrize(
    ("parts", "ending"),
    [
        ([], b""),
        ([b"Power down\n"], b""),
        ([b"Power down"], b"\r\n"),
        ([b"\x1bc\x1b[?7lSeaBIOS\r\n"], IN_ORDER),
        ([b"\x1b", b"[?7lSea", b"BIOS"], IN_ORDER + b"\r\n"),
        ([b"\x1b[?7l\n", IN_ORDER], IN_ORDER),
        ([b"\x1b[?7l\n" + IN_ORDER], IN_ORDER),
    ],
)
def test_a_terminal_is_put_in_order_as_far_as_the_guest_left_it_out_of_it(
    monkeypatch: pytest.MonkeyPatch, parts: list[bytes], ending: bytes
) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: True)
    far = Far("terminal")
    with closing(Outlet(far.writer)) as outlet:
        for part in parts:
            outlet.put(part)
        outlet.put_in_order()
        outlet.put(b".")
    expected = b"".join(parts) + ending + b"."
    assert far.read(len(expected)) == expected
    os.close(far.reader)
    os.close(far.writer)


def test_who_reads_standard_error_elsewhere_gets_no_line_break() -> None:
    far = Far("terminal")
    with closing(Outlet(far.writer)) as outlet, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "isatty", lambda descriptor: descriptor != 2)
        outlet.put(b"\x1b[1mlogin: ")
        outlet.end_line()
        outlet.put_in_order()
    expected = b"\x1b[1mlogin: " + IN_ORDER
    assert far.read(len(expected)) == expected
    os.close(far.reader)
    os.close(far.writer)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_terminal_gets_what_the_guest_writes_alone(kind: str) -> None:
    far = Far(kind)
    with closing(Outlet(far.writer)) as outlet:
        outlet.put(b"\x1b[1mlogin: ")
        outlet.end_line()
        outlet.put_in_order()
    assert far.read(len(b"\x1b[1mlogin: ")) == b"\x1b[1mlogin: "
    os.close(far.reader)
    os.close(far.writer)


def test_a_pipe_that_can_not_be_opened_once_more_is_written_by_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_words: object) -> int:
        raise PermissionError

    far = Far("pipe")
    monkeypatch.setattr(os, "open", refuse)
    with closing(Outlet(far.writer)) as outlet:
        gone = outlet.put(MUCH)
        assert 0 < gone < len(MUCH)
    os.close(far.reader)
    os.close(far.writer)
