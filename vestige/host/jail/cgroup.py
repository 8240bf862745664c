"""A control group for one machine's process, with limits that follow from the machine's size.

Linux's Documentation/admin-guide/cgroup-v2.rst. Who runs the machine names a group that is there;
the machine gets one of its own below it, which is removed when the machine is over.
"""

import errno
import os
import stat
from _collections_abc import Iterable

from vestige.bounds import MIB
from vestige.errors import UsageError
from vestige.host.backends.ring import DISK_WORKERS, STREAM_WORKERS

MOUNTS = "/proc/self/mounts"
KIND = "cgroup2"
CONTROLLERS = ("memory", "pids", "cpu", "io")
# Beside the guest's RAM and the monitor's memory: Python, page tables, what the kernel has for it.
OVERHEAD, OVERHEAD_SHARE = 96 * MIB, 64  # bytes, and a so-manieth of the RAM
SPARE_THREADS = 8  # KVM's own, and a ring's
PERIOD = 100_000  # µs
OPERATIONS, BANDWIDTH = 100_000, 1 << 30  # a second, for each CPU: of reads, and of writes


class Size:
    """Of a machine: `memory` bytes, `threads` of its process, `cpus`, device numbers of disks."""

    __slots__ = ("cpus", "disks", "memory", "threads")

    def __init__(self, memory: int, threads: int, cpus: int, disks: Iterable[str]) -> None:
        self.memory, self.threads, self.cpus, self.disks = memory, threads, cpus, disks

    def limits(self) -> dict[str, list[str]]:
        """What is written into the group's files."""
        operations, bandwidth = OPERATIONS * self.cpus, BANDWIDTH * self.cpus
        io = f"riops={operations} wiops={operations} rbps={bandwidth} wbps={bandwidth}"
        workers = DISK_WORKERS + STREAM_WORKERS
        return {
            "memory.max": [f"{self.memory + self.memory // OVERHEAD_SHARE + OVERHEAD}"],
            "pids.max": [f"{self.threads * (1 + workers) + SPARE_THREADS}"],
            "cpu.max": [f"{self.threads * PERIOD} {PERIOD}"],
            "io.max": [f"{disk} {io}" for disk in self.disks],
        }


class Group:
    """The control group of a machine. Whoever is root may make one."""

    def __init__(self, parent: str, size: Size, mounts: str = MOUNTS) -> None:
        """Make it below `parent`, a path from the root of all groups.

        Raises UsageError where that is not there, or can't have such a group.
        """
        self.option = f"--jail cgroup={parent}"
        above = os.path.normpath(f"{_root(self.option, mounts)}/{parent}")
        if not os.path.isdir(above):  # noqa: PTH112 - pathlib is slow to import
            raise UsageError(f"{self.option}: no such control group; make it: sudo mkdir {above}")
        self.path = f"{above}/vestige-{os.getpid()}"
        try:
            self._delegate(above)
            os.mkdir(self.path)  # noqa: PTH102
        except OSError as error:
            raise UsageError(f"{self.option}: {_reason(error)}") from None
        try:
            self._limit(size)
        except BaseException:
            self.close()
            raise

    def _delegate(self, above: str) -> None:
        """Have the controllers in the groups below."""
        there = _read(f"{above}/cgroup.controllers").split()
        missing = [each for each in CONTROLLERS if each not in there]
        if missing:
            raise UsageError(
                f"{self.option}: it has no {', '.join(missing)}; add them above it: echo"
                f" {' '.join(f'+{each}' for each in missing)} | sudo tee"
                f" {os.path.dirname(above)}/cgroup.subtree_control"  # noqa: PTH120
            )
        _write(f"{above}/cgroup.subtree_control", " ".join(f"+{each}" for each in CONTROLLERS))

    def _limit(self, size: Size) -> None:
        for name, lines in size.limits().items():
            for line in lines:
                try:
                    _write(f"{self.path}/{name}", line)
                except OSError as error:
                    reason = error.strerror
                    raise UsageError(f"{self.option}: {name} {line}: {reason}") from None

    def enter(self) -> None:
        """Have this process in the group. Raises UsageError where that is refused."""
        try:
            _write(f"{self.path}/cgroup.procs", "0")
        except OSError as error:
            raise UsageError(f"{self.option}: can't be entered: {error.strerror}") from None

    def ran_out(self) -> bool:
        """Whether the kernel killed the process for want of memory."""
        lines = _read(f"{self.path}/memory.events").splitlines()
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def close(self) -> None:
        """Remove the group, once no process is in it."""
        try:
            os.rmdir(self.path)  # noqa: PTH106
        except OSError:  # somebody put a process of their own into it
            return


def _root(option: str, mounts: str) -> str:
    """Where the groups are mounted."""
    for line in _read(mounts).splitlines():
        _, place, kind, *_ = line.split()
        if kind == KIND:
            return place
    raise UsageError(f"{option}: no control groups of version 2 are mounted; mount -t cgroup2")


def device_of(descriptor: int) -> str | None:
    """The numbers of the disk that a file, or a block device, is on; None: it is on none.

    Of a partition it is the whole disk, which alone can be limited.
    """
    status = os.fstat(descriptor)
    device = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    place = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    try:
        if os.path.exists(f"{place}/partition"):  # noqa: PTH110
            return _read(f"{place}/../dev").strip()
        return _read(f"{place}/dev").strip()
    except OSError:
        return None


def _reason(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror}; only root, or who was given the group, may make one below it"
    if error.errno == errno.EBUSY:
        return "processes are in it; name a group that has none"
    return error.strerror or str(error)


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123
        return file.read()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
