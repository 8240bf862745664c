"""A process that is held back, and what of a control group's files says so."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.common import speed
from bench.common.guests import Heard
from bench.common.speed import Brake, Controller
from vestige.errors import UsageError

SPINS = "print(flush=True)\nwhile True: pass"


@pytest.fixture
def spinning() -> Iterator["subprocess.Popen[str]"]:
    """A process that takes all it gets."""
    words = [sys.executable, "-S", "-c", SPINS]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_the_first_versions_controller_is_found_by_its_name() -> None:
    mounts = "cgroup /c/memory cgroup rw,memory 0 0\ncgroup /c/cpu cgroup rw,cpuacct,cpu 0 0\n"
    assert speed.controller(mounts) == Controller(Path("/c/cpu"), is_second=False)


def test_the_second_versions_where_it_has_it(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io\n")
    mounts = f"cgroup2 {tmp_path} cgroup2 rw 0 0\n"
    assert speed.controller(mounts) == Controller(tmp_path, is_second=True)


def test_none_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    with pytest.raises(UsageError, match="--speed full"):
        speed.controller(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")


@pytest.mark.parametrize(
    ("share", "file", "says"),
    [
        (0.25, "cpu.max", "2500 10000"),
        (1, "cpu.max", "max 10000"),
    ],
)
def test_the_second_version_has_one_file(
    share: float, file: str, says: str, tmp_path: Path
) -> None:
    Brake(tmp_path, is_second=True).hold(share)
    assert (tmp_path / file).read_text() == says


@pytest.mark.parametrize(("share", "says"), [(0.5, "5000"), (1, "-1")])
def test_the_first_version_has_two(share: float, says: str, tmp_path: Path) -> None:
    Brake(tmp_path, is_second=False).hold(share)
    assert (tmp_path / "cpu.cfs_quota_us").read_text() == says
    assert (tmp_path / "cpu.cfs_period_us").read_text() == "10000"


def test_a_process_is_held_back_and_goes_back(spinning: "subprocess.Popen[str]") -> None:
    pid = spinning.pid
    before = Path(f"/proc/{pid}/cgroup").read_text()
    try:
        with speed.brake(pid) as brake:
            brake.hold(0.25)
            assert Path(f"/proc/{pid}/cgroup").read_text() != before
    except UsageError as error:
        pytest.skip(str(error))
    assert Path(f"/proc/{pid}/cgroup").read_text() == before


def test_a_group_is_gone_behind_a_process_that_has_ended(
    spinning: "subprocess.Popen[str]",
) -> None:
    try:
        with speed.brake(spinning.pid) as brake:
            brake.hold(0.5)
            group = brake.group
            spinning.kill()
            spinning.wait()
    except UsageError as error:
        pytest.skip(str(error))
    assert not group.exists()


def test_a_process_has_had_time() -> None:
    assert 0 < speed.used(os.getpid()) < 1e6


def test_what_the_software_host_took_is_noted_at_each_mark() -> None:
    times = iter([1.0, 3.5, 10.0, 10.5])
    marks: list[bool] = []
    heard = Heard(lambda: next(times), marks.append)
    for piece in (b"mark: be", b"gin send\nmark: end send\nmark: begin", b" receive\nno\n"):
        heard.write(piece)
    heard.write(b"mark: end receive\n")
    assert heard.own == {"send": 2.5, "receive": 0.5}
    assert marks == [True, False] * 2
    assert b"no\n" in heard.getvalue()
