"""The viewer, in this process: who is let go and when, and when the screen is looked at."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.host.viewer.test_look import LINE, TEXT, Machine, set_graphics, set_text
from tests.viewer.rfb.client import OPENING, request
from vestige.host.process.link import Kind, Link, pair
from vestige.host.viewer import inner
from vestige.host.viewer.inner import MOST_CLIENTS, MOST_STRANGERS, NEVER, SHARE, Viewer
from vestige.host.viewer.look import Look
from vestige.viewer.rfb.session import Terms
from vestige.viewer.rfb.spec import VERSION

PATIENCE = 20.0
PASSWORD = b"word"
INIT_SIZE = 12 + 2 + 4 + 24 + 2  # of what a session without a password begins with


class Watched:
    """A viewer with a machine; `looks`: how often it has looked at the screen."""

    def __init__(self, password: bytes | None = None) -> None:
        self._near, self._far = pair()
        os.set_blocking(self._far.fileno(), False)
        self.machine = Machine(sees=self._near)
        self.viewer = Viewer(self._far, Terms("it", password, "us", os.urandom))
        self.clients: list[socket.socket] = []
        self.looks = 0

    def connect(self, said: bytes = b"") -> socket.socket:
        """One who looks on."""
        ours, its = socket.socketpair()
        its.setblocking(False)
        ours.setblocking(False)
        self._near.send_along(Kind.CLIENT, b"", its.fileno())
        its.close()
        ours.send(said)
        self.clients.append(ours)
        return ours

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline
            assert self.viewer.turn(0.01)

    def reads(self, client: socket.socket, size: int) -> bytes:
        """So many bytes that come."""
        data = bytearray()

        def enough() -> bool:
            if len(data) < size:
                try:
                    data.extend(client.recv(size - len(data)))
                except BlockingIOError:
                    return False
            return len(data) == size

        self.until(enough)
        return bytes(data)

    def close(self) -> None:
        for each in self.clients:
            each.close()
        self.machine.close()
        self._near.close()
        self._far.close()


def is_let_go(client: socket.socket) -> bool:
    """Whether nothing comes from there any more."""
    try:
        while client.recv(1 << 20):
            continue
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with closing(Watched()) as made:
        take = Look.take

        def counted(look: Look) -> object:
            made.looks += 1
            return take(look)

        monkeypatch.setattr(Look, "take", counted)
        yield made


@pytest.fixture
def guarded() -> Iterator[Watched]:
    with closing(Watched(PASSWORD)) as made:
        yield made


def test_the_screen_is_looked_at_while_somebody_waits_for_it_and_not_otherwise(
    watched: Watched,
) -> None:
    set_text(watched.machine)
    client = watched.connect(OPENING)
    watched.reads(client, INIT_SIZE)
    looks = watched.looks  # for the size that it is told
    for _ in range(20):
        watched.viewer.turn(0.01)
    assert watched.looks == looks
    assert watched.viewer.patience == NEVER
    client.send(request(720, 400, again=False))
    watched.reads(client, 4 + 12 * 7 + 720 * 400 * 4)
    looks = watched.looks
    for _ in range(20):
        watched.viewer.turn(0.01)
    assert watched.looks == looks
    client.send(request(720, 400))
    watched.until(lambda: watched.looks > looks + 2)  # nothing is new
    watched.machine.ram.region.view[TEXT + LINE : TEXT + LINE + 2] = b"\x55\x07"
    watched.reads(client, 4)


def test_a_look_that_takes_long_is_taken_seldom(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_text(watched.machine)
    client = watched.connect(OPENING)
    watched.reads(client, INIT_SIZE)
    monkeypatch.setattr(inner, "LIVELY_FOR", 0.0)
    take = Look.take

    def slow(look: Look) -> object:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            continue
        return take(look)

    monkeypatch.setattr(Look, "take", slow)
    time.sleep(0.5)  # until what was lively is quiet
    looks = watched.looks
    client.send(request(720, 400))
    watched.until(lambda: watched.looks > looks)
    assert watched.viewer.patience > 0.5 * 0.02 / SHARE


def test_who_takes_nothing_is_let_go(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner, "STALL", 0.2)
    set_graphics(watched.machine, width=1024, height=768, pitch=4096)
    stalls = watched.connect(OPENING + request(1024, 768, again=False))
    reads = watched.connect(OPENING + request(1024, 768, again=False))
    watched.reads(reads, INIT_SIZE + 4 + 12 * 12 + 768 * 4096)
    assert not is_let_go(reads)
    began = time.monotonic()
    watched.until(lambda: watched.viewer.waits == 0)
    assert time.monotonic() - began >= 0.1
    watched.until(lambda: is_let_go(stalls))
    assert not is_let_go(reads)


def test_who_gives_no_password_is_let_go(guarded: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner, "HANDSHAKE", 0.2)
    client = guarded.connect(VERSION)
    guarded.reads(client, 14)
    guarded.until(lambda: is_let_go(client))


def test_of_many_strangers_the_first_is_let_go(guarded: Watched) -> None:
    strangers = [guarded.connect() for _ in range(MOST_STRANGERS + 1)]
    guarded.until(lambda: is_let_go(strangers[0]))
    assert not any(map(is_let_go, strangers[1:]))


@pytest.mark.parametrize("said", [b"", VERSION, VERSION + b"\x01"])
def test_who_does_not_finish_the_handshake_keeps_nobody_out(watched: Watched, said: bytes) -> None:
    silent = []
    for _ in range(MOST_CLIENTS):
        silent.append(watched.connect(said))
        watched.reads(silent[-1], len(VERSION))
    looks_on = []
    for _ in range(MOST_CLIENTS):
        looks_on.append(watched.connect(OPENING))
        watched.reads(looks_on[-1], INIT_SIZE)
    assert not any(map(is_let_go, looks_on))
    assert all(map(is_let_go, silent))


def test_who_does_not_finish_the_handshake_is_let_go(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner, "HANDSHAKE", 0.2)
    client = watched.connect(VERSION + b"\x01")
    watched.reads(client, 12 + 2 + 4)
    watched.until(lambda: is_let_go(client))


def test_so_many_look_on_and_no_more(watched: Watched) -> None:
    clients = []
    for _ in range(MOST_CLIENTS):
        clients.append(watched.connect(OPENING))
        watched.reads(clients[-1], INIT_SIZE)
    one_more = watched.connect(OPENING)
    watched.until(lambda: is_let_go(one_more))
    assert not any(map(is_let_go, clients))


def test_after_a_wrong_password_no_other_is_looked_at_for_a_while(
    guarded: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner, "PENALTY", 0.5)
    client = guarded.connect(VERSION + b"\x02" + bytes(16))
    guarded.until(lambda: is_let_go(client))
    began = time.monotonic()
    other = guarded.connect(VERSION)
    guarded.reads(other, 14)
    assert time.monotonic() - began >= 0.4


def test_where_the_runs_process_goes_the_viewer_ends() -> None:
    near, far = pair()
    with closing(far):
        viewer = Viewer(far, Terms("it", None, "us", os.urandom))
        near.close()
        assert not viewer.turn(PATIENCE)


def test_what_is_typed_goes_to_the_runs_process() -> None:
    near, far = pair()
    with closing(far), closing(near):
        said(near, far)


def said(near: Link, far: Link) -> None:
    viewer = Viewer(far, Terms("it", None, "us", os.urandom))
    ours, its = socket.socketpair()
    its.setblocking(False)
    near.send_along(Kind.CLIENT, b"", its.fileno())
    its.close()
    ours.send(OPENING + b"\x04\x01\0\0\0\0\0\x61")
    for _ in range(10):
        viewer.turn(0.01)
    kinds = [message[0] for message in near.waiting() if message is not None]
    ours.close()
    viewer.turn(0.01)
    kinds += [message[0] for message in near.waiting() if message is not None]
    assert kinds == [Kind.EVENTS, Kind.EVENTS]  # down, and up as it goes
