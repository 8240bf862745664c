"""A control group for one machine's process, with limits that follow from the machine's size.

Linux's Documentation/admin-guide/cgroup-v2.rst. Who runs the machine names a group that is there;
the machine gets one of its own below it, which is removed when the machine is over.
"""

import errno
import os
import stat
import time
from _collections_abc import Iterable

from vestige.bounds import MIB
from vestige.errors import UsageError
from vestige.host.backends.ring import DISK_WORKERS, STREAM_WORKERS

MOUNTS = "/proc/self/mounts"
KIND = "cgroup2"
CONTROLLERS = ("memory", "pids", "cpu", "io")
# Beside the guest's RAM and the monitor's memory: Python, page tables, what the kernel has for it.
OVERHEAD, OVERHEAD_SHARE = 96 * MIB, 64  # bytes, and a so-manieth of the RAM
OPTIONAL = ("memory.swap.max", "memory.oom.group")  # a kernel may be without
PREFIX = "vestige-"
LEFT_OVER = 60.0  # seconds
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
        memory = f"{self.memory + self.memory // OVERHEAD_SHARE + OVERHEAD}"
        return {
            "memory.max": [memory],
            "memory.swap.max": [memory],
            "memory.oom.group": ["1"],
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
        root = _root(self.option, mounts)
        above = _place(self.option, root, parent)
        # Processes of other namespaces may have the same number.
        self.path = f"{above}/{PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        try:
            self._delegate(above, root)
            _remove_left_over(above)
            os.mkdir(self.path)  # noqa: PTH102 - pathlib is slow to import
        except OSError as error:
            raise UsageError(f"{self.option}: {_reason(error)}") from None
        try:
            self._limit(size)
        except BaseException:
            self.close()
            raise

    def _delegate(self, above: str, root: str) -> None:
        """Have the controllers in the groups below."""
        missing = _missing(above)
        if missing and _missing(root):
            raise UsageError(
                f"{self.option}: this machine has no {', '.join(_missing(root))} in control groups"
                " of version 2; boot Linux with cgroup_no_v1=all, or leave cgroup out"
            )
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
                    if name in OPTIONAL and error.errno == errno.ENOENT:
                        continue
                    reason = error.strerror
                    raise UsageError(f"{self.option}: {name} {line}: {reason}") from None

    def ran_out(self) -> bool:
        """Whether the kernel killed the process for want of memory."""
        try:
            lines = _read(f"{self.path}/memory.events").splitlines()
        except OSError:  # somebody took the controller away, or the group
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def close(self) -> None:
        """Remove the group, unless somebody put a process of their own into it."""
        _remove(self.path)


def enter(option: str, path: str) -> None:
    """Have this process in a group that was made for `option`.

    Raises UsageError where that is refused.
    """
    try:
        _write(f"{path}/cgroup.procs", "0")
    except OSError as error:
        raise UsageError(
            f"{option}: can't be entered: {error.strerror}; who is not root has to be in a group"
            " that was given along with it"
        ) from None


def _root(option: str, mounts: str) -> str:
    """Where the groups are mounted."""
    for line in _read(mounts).splitlines():
        _, place, kind, *_ = line.split()
        if kind == KIND:
            return place
    raise UsageError(
        f"{option}: no control groups of version 2 are mounted; mount them: sudo mount -t cgroup2"
        " none /sys/fs/cgroup"
    )


def _place(option: str, root: str, parent: str) -> str:
    """The folder of a group that is named from the root of all groups, or as a path of a file."""
    name = parent.removeprefix(f"{root}/") if parent.startswith(f"{root}/") else parent
    place = os.path.normpath(f"{root}/{name}")
    if f"{place}/".startswith(f"{root}/") and os.path.isdir(place):  # noqa: PTH112
        return place
    if not f"{place}/".startswith(f"{root}/"):
        raise UsageError(f"{option}: that is above all control groups; name one of them")
    raise UsageError(f"{option}: no such control group; make it: sudo mkdir {place}")


def _missing(group: str) -> list[str]:
    """The controllers that a group has not."""
    there = _read(f"{group}/cgroup.controllers").split()
    return [each for each in CONTROLLERS if each not in there]


def _remove_left_over(above: str) -> None:
    """Remove the groups of runs that were killed, once no run can be about to enter one."""
    latest = time.time() - LEFT_OVER
    for name in os.listdir(above):  # noqa: PTH208
        place = f"{above}/{name}"
        if name.startswith(PREFIX) and os.stat(place).st_mtime < latest:  # noqa: PTH116
            _remove(place)


def _remove(place: str) -> None:
    try:
        os.rmdir(place)  # noqa: PTH106
    except OSError:  # a process is in it
        return


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
