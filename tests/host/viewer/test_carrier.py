"""Those who look on at a machine in the software host, through one stream."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.host.viewer import carrier
from vestige.host.viewer.carrier import (
    HEADER,
    MOST_CLIENTS,
    MOST_WAITING,
    PIECE,
    Carrier,
    Inside,
    Outside,
)

PATIENCE = 20.0
PASSWORD = b"word"


class Both:
    """Both sides, served meanwhile; `taken`: what the viewer's process was given in there."""

    def __init__(self, *, begins: bool = True) -> None:
        self.outside = Outside(PASSWORD)
        self.inside = Inside(os.dup(self.outside.output), None)
        self.taken: list[socket.socket] = []
        if begins:
            self.inside.begin(self.take)
        self.until(lambda: self.inside.password is not None)

    def take(self, descriptor: int) -> None:
        self.taken.append(socket.socket(fileno=os.dup(descriptor)))

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline
            for side in (self.outside.carrier, self.inside.carrier):
                poll = select.poll()
                for descriptor, events in side.waits_for().items():
                    poll.register(descriptor, events)
                side.serve(dict(poll.poll(0)))

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """A client out here, and its socket in there."""
        ours, its = socket.socketpair()
        self.outside.take(its.fileno())
        its.close()
        before = len(self.taken)
        self.until(lambda: len(self.taken) > before)
        ours.setblocking(False)
        return ours, self.taken[-1]

    def read(self, end: socket.socket, size: int) -> bytes:
        data = bytearray()

        def more() -> bool:
            with suppress(BlockingIOError):
                data.extend(end.recv(1 << 20))
            return len(data) >= size

        self.until(more)
        return bytes(data)

    def is_closed(self, end: socket.socket) -> bool:
        try:
            return end.recv(1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.inside.close()
        self.outside.close()
        for each in self.taken:
            each.close()


@pytest.fixture
def both() -> Iterator[Both]:
    with closing(Both()) as made:
        yield made


def test_the_password_comes_first(both: Both) -> None:
    assert both.inside.password == PASSWORD


def test_one_that_comes_before_there_is_a_viewer_is_taken_by_it() -> None:
    with closing(Both(begins=False)) as both:
        ours, its = socket.socketpair()
        both.outside.take(its.fileno())
        its.close()
        ours.sendall(b"early")
        both.until(lambda: len(both.inside.carrier.waits_for()) > 1)
        both.inside.begin(both.take)
        assert both.read(both.taken[0], 5) == b"early"
        ours.close()


def test_of_too_many_the_last_is_let_go(both: Both) -> None:
    clients = [both.connect()[0] for _ in range(MOST_CLIENTS)]
    ours, its = socket.socketpair()
    both.outside.take(its.fileno())
    its.close()
    assert both.is_closed(ours)
    for each in (*clients, ours):
        each.close()


def test_each_is_carried_by_itself(both: Both) -> None:
    (first, there), (second, too) = both.connect(), both.connect()
    first.sendall(b"one")
    second.sendall(b"two")
    assert both.read(there, 3) == b"one"
    assert both.read(too, 3) == b"two"
    data = os.urandom(3 << 20)
    too.setblocking(False)
    sent = 0

    def send() -> bool:
        nonlocal sent
        with suppress(BlockingIOError):
            sent += too.send(data[sent : sent + (1 << 20)])
        return sent == len(data)

    both.until(send)
    assert both.read(second, len(data)) == data


def test_one_that_goes_is_gone_on_the_other_side(both: Both) -> None:
    (first, there), (second, too) = both.connect(), both.connect()
    first.close()
    both.until(lambda: both.is_closed(there))
    too.sendall(b"last words")
    both.taken.remove(too)
    too.close()
    assert both.read(second, 10) == b"last words"
    both.until(lambda: both.is_closed(second))


def test_both_may_end_one_at_once(both: Both) -> None:
    ours, there = both.connect()
    ours.close()
    both.taken.remove(there)
    there.close()
    both.until(lambda: len(both.outside.carrier.waits_for()) == 1)
    both.until(lambda: len(both.inside.carrier.waits_for()) == 1)
    assert not both.taken
    both.connect()


def test_one_that_takes_nothing_is_let_go_and_others_go_on(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "MOST_WAITING", 1 << 20)
    assert MOST_WAITING > 1 << 25
    (_, there), (second, too) = both.connect(), both.connect()

    def flood() -> bool:
        try:
            there.send(bytes(PIECE))
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    both.until(flood)
    too.sendall(b"on")
    assert both.read(second, 2) == b"on"


@given(st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=50)), max_size=30), st.binary())
@settings(max_examples=100, deadline=None)
def test_whatever_the_stream_says_ends_clients_or_the_carrier(
    pieces: list[tuple[int, bytes]], rest: bytes
) -> None:
    near, far = socket.socketpair()
    with closing(Carrier(near.detach())) as side, far:
        ours, its = socket.socketpair()
        side.add(its.detach())
        data = b"".join(HEADER.pack(number, len(piece)) + piece for number, piece in pieces) + rest
        far.sendall(data)
        for _ in range(5):
            poll = select.poll()
            for descriptor, events in side.waits_for().items():
                poll.register(descriptor, events)
            side.serve(dict(poll.poll(0)))
        ours.setblocking(False)
        expected = b""
        for number, piece in pieces:
            if number == 1 and not piece:
                break
            expected += piece if number == 1 else b""
        came = b""
        with suppress(BlockingIOError, ConnectionResetError):
            came = ours.recv(1 << 16)
        assert expected.startswith(came)
        ours.close()
