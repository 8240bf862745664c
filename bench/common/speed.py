"""A process held back to a part of a processor, by a control group of its own.

Either version has the bound: cpu.cfs_quota_us and cpu.cfs_period_us of the first (Linux,
Documentation/scheduler/sched-bwc.rst), cpu.max of the second (admin-guide/cgroup-v2.rst).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from vestige.errors import UsageError

PERIOD = 10_000  # µs
MOUNTS = Path("/proc/self/mounts")
CURE = "measure at full speed alone: --speed full"
_TICKS = (11, 12)  # utime and stime, of the fields of /proc/PID/stat behind the name: proc(5)


class Controller(NamedTuple):
    """Where groups are made that bound processors, and which version that is."""

    root: Path
    is_second: bool

    def group_of(self, pid: int) -> Path:
        """Which one a process is in."""
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if not names if self.is_second else "cpu" in names.split(","):
                return self.root / path.lstrip("/")
        raise UsageError(f"process {pid} is in no control group of {self.root}; {CURE}")


def controller(mounts: str) -> Controller:
    """By the lines of /proc/mounts. Raises UsageError where there is none."""
    for line in mounts.splitlines():
        _, place, kind, options, *_ = line.split()
        root = Path(place)
        if kind == "cgroup" and "cpu" in options.split(","):
            return Controller(root, is_second=False)
        if kind == "cgroup2":
            names = root / "cgroup.controllers"
            if names.exists() and "cpu" in names.read_text().split():
                return Controller(root, is_second=True)
    raise UsageError(f"no control group here bounds processors; {CURE}")


class Brake:
    """Of one process: how much of a processor it may have."""

    def __init__(self, group: Path, is_second: bool) -> None:
        self.group, self._is_second = group, is_second

    def hold(self, share: float) -> None:
        """So much of one from now on; 1: as much as it wants, of as many as there are."""
        quota = round(share * PERIOD)
        if self._is_second:
            bound = "max" if share == 1 else f"{quota}"
            (self.group / "cpu.max").write_text(f"{bound} {PERIOD}")
        else:
            (self.group / "cpu.cfs_period_us").write_text(f"{PERIOD}")
            (self.group / "cpu.cfs_quota_us").write_text("-1" if share == 1 else f"{quota}")


@contextmanager
def brake(pid: int) -> Iterator[Brake]:
    """One for this process, which goes back to its group in the end. Raises UsageError where that
    can't be.
    """
    found = controller(MOUNTS.read_text())
    before = found.group_of(pid)
    try:
        if found.is_second:
            (found.root / "cgroup.subtree_control").write_text("+cpu")
        group = Path(tempfile.mkdtemp(dir=found.root))
    except OSError as error:
        raise UsageError(f"no control group can be made: {error}; {CURE}") from None
    try:
        (group / "cgroup.procs").write_text(f"{pid}")
        yield Brake(group, found.is_second)
    finally:
        with suppress(ProcessLookupError):  # it has ended
            (before / "cgroup.procs").write_text(f"{pid}")
        group.rmdir()


def used(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(int(fields[index]) for index in _TICKS) / os.sysconf("SC_CLK_TCK")
