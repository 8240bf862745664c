"""A guest's run in the foreground, with a fake QEMU and a command that stands for the run."""

import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.softhost.test_cli import read_until
from vestige.signals import TIMED_OUT
from vestige.terminal import IN_ORDER

pytestmark = pytest.mark.usefixtures("fake_qemu")

TIMEOUT = 60.0
ATTEND = """
import os, sys
if os.isatty(0):
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # make it this session's
from vestige.host.backends.console import Terminal
from vestige.signals import Ended, Signals, Watch
from vestige.softhost import SoftHost, foreground
with Signals() as signals:
    console = Terminal()
    try:
        command = ["sh", "-c", sys.argv[1]]
        watch = Watch(signals, float(sys.argv[2]) if sys.argv[2:] else None)
        watch.hold()
        boot = SoftHost()
        started, boot.start = boot.start, lambda *more: (started(*more), watch.begin())
        sys.exit(foreground.attend(boot, command, console, watch, guest=True))
    except Ended as ended:
        sys.exit(ended.status)
    finally:
        console.close()
"""


def attend(script: str, *timeout: str) -> list[str]:
    """`timeout`: in seconds, from when the software host has booted."""
    return [sys.executable, "-c", ATTEND, script, *timeout]


@pytest.mark.parametrize(
    ("script", "status", "output"),
    [
        ("trap 'echo orderly; exit 143' TERM; sleep 60 & wait", TIMED_OUT, b"orderly\n"),
        ("trap 'exit 0' TERM; sleep 60 & wait", 0, b""),  # the guest was faster
        ("exit 7", 7, b""),
    ],
)
def test_the_timeout_ends_a_run_in_order(script: str, status: int, output: bytes) -> None:
    done = subprocess.run(
        attend(script, "0.5"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, output)


def test_a_run_that_does_not_end_at_its_timeout_is_ended() -> None:
    script = ATTEND.replace("with Signals()", "foreground._GRACE = 0.2\nwith Signals()")
    done = subprocess.run(
        [sys.executable, "-c", script, "trap '' TERM; exec sleep 60", "0.5"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT / 2,
        check=False,
    )
    assert done.returncode == TIMED_OUT


def test_when_nobody_reads_the_run_is_told_to_end_and_the_status_is_that_of_a_closed_pipe(
    tmp_path: Path,
) -> None:
    script = f"trap 'echo orderly > {tmp_path}/end; exit 3' TERM; echo begun; sleep 60 & wait"
    shell = '"$@" | head -1; exit ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *attend(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGPIPE, b"begun\n")
    assert done.stderr.count(b"nobody reads the guest's console any more") == 1
    assert (tmp_path / "end").read_text() == "orderly\n"


def test_a_runs_terminal_changes_no_byte_and_its_errors_stay_apart(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 99))
    before = termios.tcgetattr(theirs)
    script = "stty size; echo apart >&2; head -c 4 | od -An -tx1; exec cat"
    with (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(
            attend(script), stdin=theirs, stdout=theirs, stderr=errors, start_new_session=True
        )
    read_until(ours, b"33 99\r\n")
    os.write(ours, b"\x03\r\n\x1a")
    read_until(ours, b" 03 0d 0a 1a\r\n")
    os.write(ours, b"\x1d")  # Ctrl-] is a signal out here
    try:
        assert process.wait(TIMEOUT) == 128 + signal.SIGINT
    finally:
        process.kill()
    assert termios.tcgetattr(theirs) == before
    assert b"apart\n" in (tmp_path / "errors").read_bytes()
    os.close(ours)
    os.close(theirs)


def test_a_runs_terminal_is_put_in_order_and_its_errors_are_lines_of_their_own() -> None:
    ours, theirs = pty.openpty()
    script = r"printf '\033[?7llogin: '; head -c 1 >/dev/null; echo over >&2"
    process = subprocess.Popen(
        attend(script), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    try:
        read_until(ours, b"\x1b[?7llogin: ")
        os.write(ours, b"x")
        shown = read_until(ours, IN_ORDER).replace(b"\r", b"")
        assert shown.endswith(b"\nover\n" + IN_ORDER)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
    os.close(ours)
    os.close(theirs)


def test_a_run_that_is_over_does_not_wait_for_ever_for_who_reads() -> None:
    script = ATTEND.replace("with Signals()", "foreground._GRACE = 0.2\nwith Signals()")
    with subprocess.Popen(
        [sys.executable, "-c", script, "head -c 200000 /dev/zero; exit 7"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.wait(TIMEOUT) == 7
