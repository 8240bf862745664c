"""What Linux knows of a process: proc(5)."""

from pathlib import Path


class NoMemoryError(Exception):
    """The process has ended, and has no memory any more."""


def beyond_guest_memory(pid: int, guest_memory: int) -> int:
    """The most bytes process `pid` had resident, less the guest RAM it has resident now.

    Guest RAM is what is mapped in pieces of half of `guest_memory` bytes or more.
    """
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
