"""The console's other side: a terminal that is always put back, files, Unix sockets."""

import os
import pty
import select
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host import console_socket
from vestige.host.console import Console, File
from vestige.host.console_socket import Socket
from vestige.host.consoles import open_console
from vestige.terminal import CHARACTERS, guest_keys


def refusal(name: str) -> str:
    with pytest.raises(UsageError) as error:
        open_console(name)
    return str(error.value)


# ---- files -----------------------------------------------------------------------------------


def test_a_file_takes_output_and_gives_no_input(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old")
    with closing(open_console(str(tmp_path / "log"))) as console:
        assert isinstance(console, File)
        assert console.input is None
        os.write(console.output, b"new")
    assert (tmp_path / "log").read_text() == "new"


def test_a_terminal_device_gives_input_too() -> None:
    ours, theirs = pty.openpty()
    with closing(open_console(os.ttyname(theirs))) as console:
        assert console.input == console.output
    os.close(ours)
    os.close(theirs)


def test_a_terminal_that_does_not_control_us_gives_input() -> None:
    ours, theirs = pty.openpty()
    script = "from vestige.host.console import Terminal; print(Terminal().input)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdin=theirs,
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_bad_console_paths_are_refused(tmp_path: Path) -> None:
    assert "Is a directory; give the path of a file that can be written, or unix:PATH" in refusal(
        str(tmp_path)
    )
    assert "No such file or directory" in refusal(str(tmp_path / "none" / "log"))
    assert "embedded null" in refusal("a\0b")


# ---- sockets ---------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "console")


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(path)
    return client


def serve_until_idle(console: Console) -> None:
    """What the host's wait does, until there is nothing to do."""
    while True:
        poll = select.poll()
        for descriptor, events in console.waits_for().items():
            poll.register(descriptor, events)
        ready = dict(poll.poll(20))
        if not ready:
            return
        console.serve(ready)


@pytest.fixture
def console(path: str) -> Iterator[Socket]:
    made = open_console(f"unix:{path}")
    assert isinstance(made, Socket)
    with closing(made):
        yield made


def test_a_client_and_the_guest_talk(console: Socket, path: str) -> None:
    with connect(path) as client:
        os.write(console.output, b"login: ")
        client.send(b"root\n")
        serve_until_idle(console)
        assert client.recv(100) == b"login: "
        assert console.input is not None
        assert os.read(console.input, 100) == b"root\n"


def test_output_waits_for_the_first_client(console: Socket, path: str) -> None:
    os.write(console.output, b"early")
    serve_until_idle(console)
    with connect(path) as client:
        serve_until_idle(console)
        assert client.recv(100) == b"early"


def test_only_the_latest_output_waits(console: Socket, path: str) -> None:
    for number in range(200):
        os.write(console.output, f"{number:04}".encode() * 256)
        serve_until_idle(console)
    with connect(path) as client:
        serve_until_idle(console)
        received = client.recv(1 << 20)
    assert received.endswith(b"0199")
    assert len(received) <= console_socket.BACKLOG


def test_a_client_that_left_makes_room_for_the_next(console: Socket, path: str) -> None:
    connect(path).close()
    serve_until_idle(console)
    with connect(path) as client:
        os.write(console.output, b"again")
        serve_until_idle(console)
        assert client.recv(100) == b"again"


def test_a_client_that_reads_nothing_holds_up_the_guest_not_the_host(
    console: Socket, path: str
) -> None:
    os.set_blocking(console.output, False)
    with connect(path):
        serve_until_idle(console)
        sent = 0
        while sent < 1 << 22 and select.select([], [console.output], [], 0)[1]:
            sent += os.write(console.output, bytes(4096))
            serve_until_idle(console)
        assert sent < 1 << 22


def test_what_is_left_reaches_the_client_at_the_end(path: str) -> None:
    console = open_console(f"unix:{path}")
    with connect(path) as client:
        serve_until_idle(console)
        os.write(console.output, b"Power down")
        console.close()
        assert client.recv(100) == b"Power down"
        assert client.recv(100) == b""
    assert not Path(path).exists()


def test_a_stale_socket_is_taken_over(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)
    assert Path(path).is_socket()
    open_console(f"unix:{path}").close()


def test_a_socket_in_use_is_refused_and_left_alone(console: Socket, path: str) -> None:
    assert "another process listens there" in refusal(f"unix:{path}")
    connect(path).close()


def test_a_file_in_the_sockets_place_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "Address already in use" in refusal(f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "precious"


def test_bad_socket_paths_are_refused(tmp_path: Path) -> None:
    assert "a socket's has 1 to 107" in refusal("unix:")
    assert "200 bytes" in refusal("unix:" + "x" * 200)
    assert "No such file or directory" in refusal(f"unix:{tmp_path}/none/s")


# ---- the terminal ------------------------------------------------------------------------------

KEEPER = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))  # make it this session's
from vestige.host.consoles import open_console
from vestige.signals import Signals
signals = Signals()
console = open_console("stdio")
console.start()
print("raw", flush=True)
sys.stdin.read(1)
if sys.argv[1] == "raise":
    raise RuntimeError("an error of ours")
if sys.argv[1] == "close":
    console.close()
"""


class OnATerminal:
    """KEEPER running on a terminal of its own."""

    def __init__(self, how: str) -> None:
        self.ours, theirs = pty.openpty()
        self.device = theirs
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", KEEPER, how],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        self.output = b""
        self.expect(b"raw")

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + 20
        while text not in self.output:
            assert select.select([self.ours], [], [], deadline - time.monotonic())[0], self.output
            self.output += os.read(self.ours, 4096)

    def now(self) -> list[object]:
        return termios.tcgetattr(self.device)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.device)


def test_a_raw_terminal_gives_every_key_but_one_to_the_guest() -> None:
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    changed = guest_keys(attributes)
    assert changed[CHARACTERS][termios.VINTR] == b"\x1d"
    termios.tcsetattr(theirs, termios.TCSANOW, changed)
    os.write(ours, b"\x03\x1a\x1c\r\x04")
    assert os.read(theirs, 10) == b"\x03\x1a\x1c\r\x04"
    os.close(ours)
    os.close(theirs)


def test_the_way_out_is_announced() -> None:
    with closing(OnATerminal("close")) as terminal:
        assert b"vestige: Ctrl-] ends the guest" in terminal.output
        assert terminal.now() != terminal.before


@pytest.mark.parametrize("how", ["close", "raise", "exit"])
def test_the_terminal_is_put_back(how: str) -> None:
    with closing(OnATerminal(how)) as terminal:
        os.write(terminal.ours, b"x")
        terminal.process.wait(20)
        assert terminal.now() == terminal.before


def test_in_the_background_the_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: True)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    with closing(open_console("stdio")) as console:
        assert console.input is None


def test_without_a_terminal_standard_input_is_the_guests_as_it_is() -> None:
    script = "from vestige.host.console import *; c = Terminal(); c.start(); print(c.input)"
    done = subprocess.run(
        [sys.executable, "-c", script], input=b"", capture_output=True, timeout=20, check=True
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")
