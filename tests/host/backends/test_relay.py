"""Between the ring's sockets and what the user named: nothing lost, nothing doubled, no waiting."""

import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from vestige.host.backends import relay as module
from vestige.host.backends.console import LOOK, Console
from vestige.host.backends.relay import INPUT_PIECE, LIMIT, Relay
from vestige.host.files import outlet
from vestige.host.files.outlet import Outlet
from vestige.signals import Ended, Signals, Watch

PATIENCE = 20
MUCH = random.Random(1).randbytes(1 << 20)


def serve_once(relay: Relay, milliseconds: float = 5) -> bool:
    """What the host's wait does, once; False: nothing came."""
    poll = select.poll()
    for descriptor, events in relay.waits_for().items():
        poll.register(descriptor, events)
    ready = dict(poll.poll(milliseconds))
    relay.serve(ready)
    return bool(ready)


def serve_until_idle(relay: Relay) -> None:
    """What it does until there is nothing to do; that this ends is that nothing spins."""
    for _ in range(1000):
        if not serve_once(relay):
            return
    raise AssertionError("always something to do")


def write_to(terminal: int, data: bytes, far: int) -> None:
    """Type it, and wait until it has arrived: the kernel hands it on later."""
    os.write(terminal, data)
    assert select.select([far], [], [], PATIENCE)[0]


class Ends:
    """A relay to one end of a stream, the guest's side of it, and the stream's other end."""

    def __init__(self, kind: str) -> None:
        if kind == "pipe":
            self.reader, self.given = os.pipe()
        elif kind == "terminal":
            self.reader, self.given = pty.openpty()
            tty.setraw(self.given)
        else:
            near, far = socket.socketpair()
            self.reader, self.given = near.detach(), far.detach()
        self.relay = Relay(Console(self.given, None, "--console x"))
        self.guest = os.dup(self.relay.output)
        os.set_blocking(self.guest, False)  # the other end's open file: the test's alone

    def take(self, seconds: float = 0) -> bytes:
        """What has come, or comes by then."""
        ready = select.select([self.reader], [], [], seconds)[0]
        return os.read(self.reader, 1 << 16) if ready else b""

    def close(self) -> None:
        self.relay.close()
        for descriptor in (self.reader, self.given, self.guest):
            os.close(descriptor)


@pytest.fixture(params=["pipe", "terminal", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with closing(Ends(request.param)) as made:
        yield made


def test_a_slow_reader_gets_all_in_order_and_holds_up_the_guest_alone(ends: Ends) -> None:
    sent, received = 0, b""
    while len(received) < len(MUCH):
        with suppress(BlockingIOError):
            while sent < len(MUCH):
                sent += os.write(ends.guest, MUCH[sent : sent + 4096])
        serve_until_idle(ends.relay)
        assert ends.relay._outlet.waiting < LIMIT + module.PIECE
        received += ends.take()
    assert received == MUCH


def test_nobody_who_reads_is_waited_for_no_longer_than_asked(ends: Ends) -> None:
    with suppress(BlockingIOError):
        while True:
            os.write(ends.guest, MUCH[:4096])
            serve_until_idle(ends.relay)
    started = time.monotonic()
    with Signals() as signals:
        ends.relay.finish(Watch(signals), 0.3)
        assert 0.2 < time.monotonic() - started < PATIENCE
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Ended):
            ends.relay.finish(Watch(signals), 1000)


def test_what_the_guest_left_is_written_at_the_end(ends: Ends) -> None:
    os.write(ends.guest, b"Power down")
    with Signals() as signals:
        ends.relay.finish(Watch(signals), 0)
    assert ends.take(PATIENCE) == b"Power down"


@pytest.mark.parametrize("said", [b"", b"Power down", b"Power down\n"])
@pytest.mark.parametrize("is_shared", [False, True])
def test_our_own_lines_begin_one_where_they_go_where_the_output_does(
    said: bytes, is_shared: bool, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_shared:
        monkeypatch.setattr(outlet, "STANDARD_ERROR", ends.given)
    os.write(ends.guest, said)
    with Signals() as signals:
        ends.relay.finish(Watch(signals), 0)
    os.write(ends.given, b"vestige: ")
    received = b""
    while not received.endswith(b": "):
        received += ends.take(PATIENCE)
    begun = said == b"Power down" and is_shared and not os.isatty(ends.given)
    assert received == said + (b"\nvestige: " if begun else b"vestige: ")


def test_the_users_own_open_file_is_as_it_was(ends: Ends) -> None:
    assert os.get_blocking(ends.given)


def test_a_file_gets_all_that_is_written(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    with closing(Relay(Console(log, None))) as relay, Signals() as signals:
        for start in range(0, len(MUCH), 4096):
            os.write(relay.output, MUCH[start : start + 4096])
            serve_once(relay)
        relay.finish(Watch(signals), 0)
    os.close(log)
    assert (tmp_path / "log").read_bytes() == MUCH


# ---- what fails ------------------------------------------------------------------------------


def test_a_file_that_takes_no_more_is_told_once_and_holds_up_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with closing(Relay(Console(full, None, "--port p=/dev/full"))) as relay:
        for _ in range(20):
            os.write(relay.output, bytes(4096))
            serve_until_idle(relay)
    os.close(full)
    assert capsys.readouterr().err == (
        "vestige: --port p=/dev/full: No space left on device; what else is written there is lost\n"
    )


def test_the_end_of_who_reads_standard_output_is_the_runs_end_and_no_loss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = Ends("pipe")
    with closing(ends):
        monkeypatch.setattr(module, "STANDARD_OUTPUT", ends.given)
        relay = Relay(Console(ends.given, None, "--console stdio"))
        os.close(ends.reader)
        ends.reader = os.open(os.devnull, os.O_RDONLY)
        os.write(relay.output, b"lost")
        serve_until_idle(relay)
        assert relay.deserted
        relay.close()
    assert capsys.readouterr().err == ""


def test_who_is_not_there_and_does_not_fail_is_looked_for_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a virtio port whose other side nobody has open."""
    ends = Ends("pipe")

    def nobody_takes(_outlet: object) -> int:
        raise BlockingIOError

    with closing(ends):
        with suppress(BlockingIOError):
            while not ends.relay._outlet.waiting:
                os.write(ends.guest, bytes(4096))
                serve_until_idle(ends.relay)
        monkeypatch.setattr(Outlet, "_write", nobody_takes)
        serve_until_idle(ends.relay)
        assert ends.relay.look is None
        os.close(ends.reader)  # from now on poll(2) tells of it at any time
        ends.reader = os.open(os.devnull, os.O_RDONLY)
        assert serve_once(ends.relay)
        assert ends.relay.look == LOOK
        assert not serve_once(ends.relay)


# ---- input -----------------------------------------------------------------------------------


def test_input_arrives_whole_and_no_more_is_taken_than_the_guest_wants() -> None:
    reader, writer = os.pipe()
    with closing(Relay(Console(1, reader))) as relay:
        assert relay.input is not None
        os.set_blocking(relay.input, False)
        data = MUCH[: 16 * 1024]
        os.write(writer, data)
        serve_until_idle(relay)
        left = os.read(reader, 1 << 16)
        assert len(data) - 2 * INPUT_PIECE <= len(left) < len(data)
        os.write(writer, left)
        received = b""
        while len(received) < len(data):
            serve_until_idle(relay)
            received += os.read(relay.input, 700)
        assert received == data
        os.close(writer)
        serve_until_idle(relay)
        assert reader not in relay.waits_for()
    os.close(reader)


def test_each_key_arrives_at_once() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with closing(Relay(Console(theirs, theirs))) as relay:
        assert relay.input is not None
        for key in (b"a", b"\x03", b"\x04", b"\r"):
            write_to(ours, key, theirs)
            serve_until_idle(relay)
            assert os.read(relay.input, 10) == key
        os.write(relay.output, b"shown")
        serve_until_idle(relay)
        assert os.read(ours, 10) == b"shown"
    os.close(ours)
    os.close(theirs)


def test_a_terminal_that_has_gone_is_the_end_of_the_input() -> None:
    ours, theirs = pty.openpty()
    with closing(Relay(Console(theirs, theirs))) as relay:
        os.close(ours)
        serve_until_idle(relay)
        assert theirs not in relay.waits_for()
    os.close(theirs)


def test_nothing_is_read_from_a_terminal_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    others = True
    monkeypatch.setattr("vestige.host.files.inlet.in_background", lambda _: others)
    with closing(Relay(Console(theirs, theirs))) as relay:
        write_to(ours, b"for the shell", theirs)
        serve_until_idle(relay)
        assert relay.look == LOOK
        os.write(relay.output, b"goes on")
        serve_until_idle(relay)
        assert os.read(ours, 100) == b"goes on"
        assert relay.look == LOOK
        assert os.read(theirs, 100) == b"for the shell"
        others = False
        relay.serve({})
        assert relay.look is None
        write_to(ours, b"for the guest", theirs)
        serve_until_idle(relay)
        assert relay.input is not None
        assert os.read(relay.input, 100) == b"for the guest"
    os.close(ours)
    os.close(theirs)


# ---- another user's terminal -----------------------------------------------------------------

FOREIGN = """
import os, sys
controlling = sys.argv[1] == "controlling"
os.setsid()
if controlling:
    os.close(os.open(os.ttyname(0), os.O_RDWR))
real = os.open
def refuse(name, *rest):
    if str(name).startswith("/proc/thread-self/fd/"):
        raise PermissionError(13, "another user's")
    return real(name, *rest)
os.open = refuse
from vestige.host.files.outlet import Outlet
outlet = Outlet(0)
gone = outlet.put(bytes(1 << 20))
assert 0 < gone < 1 << 20, gone
assert os.get_blocking(0) == controlling
outlet.close()
assert os.get_blocking(0)
"""


@pytest.mark.parametrize("kind", ["controlling", "other"])
def test_another_users_terminal_is_not_waited_for_either(kind: str) -> None:
    ours, theirs = pty.openpty()
    termios.tcflush(theirs, termios.TCIOFLUSH)
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN, kind],
        stdin=theirs,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")
