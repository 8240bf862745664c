"""Files that commands make: whole or not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vestige.cli.output import Output
from vestige.errors import UsageError

KIND = Output("letter", b"Dear")


def test_a_file_is_made_or_takes_the_place_of_its_like(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    for text in (b"Dear Ann, ...", b"Dear Bob, ..."):
        KIND.write(str(path), text)
        assert path.read_bytes() == text
    assert [each.name for each in tmp_path.iterdir()] == ["letter"]


def test_a_name_may_be_as_long_as_names_are(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    KIND.write(str(path), b"Dear")
    assert path.read_bytes() == b"Dear"


@pytest.mark.parametrize("end", ["none/letter", "none/", "file/letter", "n" * 256])
def test_what_can_not_be_made_leaves_nothing(tmp_path: Path, end: str) -> None:
    (tmp_path / "file").write_bytes(b"Dear")
    with pytest.raises(UsageError, match="give a file that can be written"):
        KIND.write(f"{tmp_path}/{end}", b"Dear")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("end", ["none/letter", "none/", "file/letter", "n" * 256])
def test_that_is_told_before_there_is_anything_to_write(tmp_path: Path, end: str) -> None:
    (tmp_path / "file").write_bytes(b"Dear")
    with pytest.raises(UsageError, match="give a file that can be written"):
        KIND.check(f"{tmp_path}/{end}")


def test_without_room_the_older_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_bytes(b"Dear Ann")
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from tests.cli.test_output import KIND\n"
        f"KIND.write({str(path)!r}, b'Dear' * 1000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert b"UsageError: -o" in done.stderr
    assert path.read_bytes() == b"Dear Ann"
    assert [each.name for each in tmp_path.iterdir()] == ["letter"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_ended_while_it_writes_leaves_no_half_of_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    code = (
        "import os, signal\n"
        "from tests.cli.test_output import KIND\n"
        f"signal.signal({int(number)}, signal.SIG_DFL)\n"
        "replace = os.replace\n"
        "def late(*names):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    replace(*names)\n"
        "os.replace = late\n"
        f"KIND.write({str(tmp_path / 'letter')!r}, b'Dear')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -number
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("letter", b"Dear")]
