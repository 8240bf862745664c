"""What Linux knows of a process: proc(5)."""

from pathlib import Path
from typing import NamedTuple


class NoMemoryError(Exception):
    """The process has ended, and has no memory any more."""


class _Mapping(NamedTuple):
    """A line of smaps: `name` is of a file or what the kernel calls it, `resident` is in bytes."""

    start: int
    end: int
    name: str
    resident: int


def beyond_guest_memory(pid: int, guest_memory: int) -> int:
    """The most bytes process `pid` had resident, less the guest RAM it has resident now.

    Where it has a child, as a run has the machine's process, that of the child, and what of `pid`
    now is not the child's too. Guest RAM is what is mapped in pieces of half of `guest_memory`
    bytes or more, and what lies right below one without a name, as a PC's first 2 MiB do.
    """
    children = children_of(pid)
    if not children:
        return _of_one(pid, guest_memory)
    return _of_one(children[0], guest_memory) + _alone(pid)


def children_of(pid: int) -> list[int]:
    """Processes that it has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def parent_of(pid: int) -> int:
    """The process whose child it is."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def tree(pid: int) -> list[int]:
    """A process and all that it has started, and these."""
    return [pid, *(each for child in children_of(pid) for each in tree(child))]


def _alone(pid: int) -> int:
    """Bytes that no other process has, too."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


def _of_one(pid: int, guest_memory: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            mappings = _mappings(Path(f"/proc/{pid}/smaps").read_text())
            return (int(line.split()[1]) << 10) - _guest_memory(mappings, guest_memory)
    raise NoMemoryError(f"process {pid} has no memory")


def _guest_memory(mappings: list[_Mapping], size: int) -> int:
    """Bytes of guest RAM that are resident, where all of it has `size`."""
    resident, last = 0, 0
    for each in reversed(mappings):
        if each.end - each.start >= size // 2 or (each.end == last and not each.name):
            resident += each.resident
            last = each.start
    return resident


def _mappings(smaps: str) -> list[_Mapping]:
    """In the order of their addresses."""
    found: list[_Mapping] = []
    for line in smaps.splitlines():
        first, *words = line.split()
        if first == "Rss:":
            found[-1] = found[-1]._replace(resident=int(words[0]) << 10)
        elif not first.endswith(":"):
            start, end = (int(each, 16) for each in first.split("-"))
            found.append(_Mapping(start, end, " ".join(words[4:]), 0))
    return found
