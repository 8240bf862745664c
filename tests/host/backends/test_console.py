"""The console's other side: a terminal that is always put back, files."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from contextlib import closing
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.backends.console import File
from vestige.host.backends.consoles import open_console
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
    script = "from vestige.host.backends.console import Terminal; print(Terminal().input)"
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


# ---- the terminal ------------------------------------------------------------------------------

KEEPER = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))  # make it this session's
from vestige.host.backends.consoles import open_console
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
    script = (
        "from vestige.host.backends.console import *; c = Terminal(); c.start(); print(c.input)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=b"", capture_output=True, timeout=20, check=True
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")
