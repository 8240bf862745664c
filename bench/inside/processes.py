"""What Linux knows of a process: proc(5)."""

from pathlib import Path


class NoMemoryError(Exception):
    """The process has ended, and has no memory any more."""


def beyond_guest_memory(pid: int, guest_memory: int) -> int:
    """The most bytes process `pid` had resident, less the guest RAM it has resident now.

    Where it has a child, as a run has the machine's process, that of the child, and what of `pid`
    now is not the child's too. Guest RAM is what is mapped in pieces of half of `guest_memory`
    bytes or more.
    """
    children = children_of(pid)
    if not children:
        return _of_one(pid, guest_memory)
    return _of_one(children[0], guest_memory) + _alone(pid)


def children_of(pid: int) -> list[int]:
    """Processes that it has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alone(pid: int) -> int:
    """Bytes that no other process has, too."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


def _of_one(pid: int, guest_memory: int) -> int:
    guest, mapping = 0, 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *words = line.split()
        if name == "Size:":
            mapping = int(words[0]) << 10
        elif name == "Rss:" and mapping >= guest_memory // 2:
            guest += int(words[0]) << 10
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return (int(line.split()[1]) << 10) - guest
    raise NoMemoryError(f"process {pid} has no memory")
