"""Work in a process of its own: its result, its failures, its end."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lang import working
from vestige.errors import UsageError
from vestige.lang import apart
from vestige.lang.apart import Apart, RefusedError

WORKING = working.__name__
LIMIT = 30.0  # seconds


def test_it_gives_what_the_module_makes_of_what_it_is_given() -> None:
    data = os.urandom(1 << 20)
    with Apart(WORKING, b"reverse" + data) as process:
        assert process.result() == data[::-1]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (b"raise", "a process of the compiler failed: ValueError: of no use; try again"),
        (b"exit", "a process of the compiler failed: status 3; try again"),
        (
            b"die",
            "a process of the compiler was ended by SIGKILL; see that it has 1 GiB of memory,"
            " and try again",
        ),
    ],
)
def test_its_failure_is_one_line(what: bytes, line: str) -> None:
    with Apart(WORKING, what) as process, pytest.raises(UsageError) as told:
        process.result()
    assert (str(told.value), told.value.has_lines) == (line, False)


def test_what_it_refuses_it_says_in_its_own_words() -> None:
    with Apart(WORKING, b"refuse") as process, pytest.raises(RefusedError) as told:
        process.result()
    assert (str(told.value), told.value.has_lines) == ("a line\nanother", True)


def test_one_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UsageError, match=r"can't start a process of its own: No such file.*limit"):
        Apart(WORKING)


def test_it_is_ended_where_its_result_is_not_waited_for() -> None:
    with Apart(WORKING, b"wait"):
        (number,) = (Path("/proc/self/task") / str(os.getpid()) / "children").read_text().split()
        child = os.pidfd_open(int(number))
    with os.fdopen(child):
        assert select.select([child], [], [], 0)[0], "it goes on"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_process_that_wants_its_result(number: int, tmp_path: Path) -> None:
    at = tmp_path / "pid"
    os.mkfifo(at)
    program = (
        "import os, sys\n"
        "from vestige.lang.apart import Apart\n"
        f"with Apart({WORKING!r}, b'tell' + os.fsencode(sys.argv[1])) as process:\n"
        "    process.result()\n"
    )
    root = Path(apart.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, at], cwd=root, stderr=subprocess.DEVNULL
    ) as parent:
        child = os.pidfd_open(int(at.read_text()))
        parent.send_signal(number)
    with os.fdopen(child):
        assert select.select([child], [], [], LIMIT)[0], "it goes on"
