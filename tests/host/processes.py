"""The two processes of a run as the kernel shows them: the run's own, and its child, the machine's.

See proc(5).
"""

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 30.0  # seconds, for anything
LOOK = 0.01  # seconds between two looks at what the kernel tells nobody
# The machine's process shows its files and its memory to root alone.
JAIL = "on" if os.geteuid() == 0 else "off"


def machine_of(run: int) -> int:
    """The machine's process, once it is there, of a run that has no other child."""
    deadline = time.monotonic() + PATIENCE
    while not (children := Path(f"/proc/{run}/task/{run}/children").read_text().split()):
        assert time.monotonic() < deadline, "there is none"
        select.select([], [], [], LOOK)
    (child,) = children
    return int(child)


def parent_of(process: int) -> int:
    """Whose child it is."""
    return int(word_of(process, "PPid"))


def word_of(process: int, name: str, thread: int | None = None) -> str:
    """The first word of a line of /proc/PID/status, or of one of its threads."""
    path = f"/proc/{process}/task/{thread or process}/status"
    lines = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return lines[name].split()[0]


def threads_of(process: int) -> dict[str, int]:
    """Its threads, by their names."""
    numbers = [int(each.name) for each in Path(f"/proc/{process}/task").iterdir()]
    return {
        Path(f"/proc/{process}/task/{number}/comm").read_text().strip(): number
        for number in numbers
    }


def wait_for_state(process: int, states: str) -> None:
    """Wait until each of its threads is in one of the `states`, as ps(1) has them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [word_of(process, "State", each) for each in threads_of(process).values()]
        if all(state in states for state in found):
            return
        assert time.monotonic() < deadline, f"{found}, and never {states}"
        select.select([], [], [], LOOK)


def over(process: int) -> bool:
    """Wait until a process, whoever's child it is, is no more."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


def living(group: int) -> set[int]:
    """The processes of a group, without those that nobody has asked for their status."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, group_of = each.read_text().rpartition(")")[2].split()[:3]
            if int(group_of) == group and state not in "ZX":
                found.add(int(each.parent.name))
    return found


def open_files(process: int) -> list[str]:
    """What a process has open."""
    names = []
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # what this process looks with
            names.append(str(each.readlink()))
    return names


def shared_mappings(process: int) -> list[str]:
    """Those that a fork has in common with its parent for good; none is a file that is read."""
    lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    fields = [line.split(maxsplit=5) for line in lines]
    return [each[5] for each in fields if each[1].endswith("s") and not Path(each[5]).exists()]


def killed_behind(process: "subprocess.Popen[bytes]", count: int) -> bytes:
    """All that a run prints, which is killed once it has printed so many bytes."""
    assert process.stdout is not None
    said = b""
    while len(said) < count:
        said += os.read(process.stdout.fileno(), 4096)
    process.send_signal(signal.SIGKILL)
    return said + process.stdout.read()
