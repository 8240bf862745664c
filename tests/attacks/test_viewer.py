"""What who has taken over the viewer's process can do: see, type, and nothing else."""

import errno
import mmap
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest

from vestige import abi
from vestige.abi import EVENT_SIZE, EventKind
from vestige.host import images
from vestige.host.backends.events import Events
from vestige.host.process.link import Kind, Link
from vestige.host.viewer import memory
from vestige.host.viewer.inner import Locked
from vestige.host.viewer.outer import ViewerProcess, believed
from vestige.lang.intrinsics import syscall
from vestige.viewer.keyboard import key_record
from vestige.viewer.pointer import pointer_record

PATIENCE = 30.0
PROT_WRITE, FIXED_SIZE = 2, memory.LOW.size
Attack = Callable[[Sequence[int]], object]


def call(number: int, *arguments: int) -> int:
    return syscall(number, *arguments, *[0] * (6 - len(arguments)))


def files_of(link: Link) -> list[int]:
    """Wait for those of the screen's memory."""
    files: list[int] = []
    while len(files) < len(memory.PARTS):
        poll = select.poll()
        poll.register(link, select.POLLIN)
        poll.poll()
        message = link.receive()
        assert message is not None
        files.append(message[2])
    return files


def attacked(attack: Attack, *, is_on: bool) -> str:
    """What the run's process tells of a viewer that does this with the files that it has."""
    told: list[str] = []

    def body(link: Link) -> None:
        found = attack(files_of(link))
        link.send_text(Kind.LINES, f"found {found}\n")

    locked = Locked(images.viewer_call_filter(), is_on=is_on, is_required=False, user=None)
    with pytest.MonkeyPatch.context() as patch, closing(Events()) as events:
        patch.setattr("vestige.host.viewer.outer.tell", told.append)
        patch.setattr("vestige.host.process.outer.pass_on", told.append)
        files = memory.make()
        with closing(ViewerProcess(events, locked, body)) as viewer:
            viewer.sees(files)
            memory.close(files)
            deadline = time.monotonic() + PATIENCE
            while wanted := viewer.waits_for():
                assert time.monotonic() < deadline
                poll = select.poll()
                for descriptor, kinds in wanted.items():
                    poll.register(descriptor, kinds)
                viewer.serve(dict(poll.poll(100)))
    return "\n".join(told)


def sees(files: Sequence[int]) -> list[int]:
    """What it is to see, and no byte is other than zero."""
    seen = memory.Seen(files)
    return [len(seen.window), *map(len, seen.regions), any(bytes(seen.window))]


def test_it_sees_the_screen() -> None:
    told = attacked(sees, is_on=True)
    sizes = [abi.SCREEN_MEMORY_SIZE, *(size for _, size in abi.REGIONS), False]
    assert told.startswith(f"found {sizes}")


ATTACKS: dict[str, tuple[str, Attack]] = {
    "writes the screen": (
        "mmap",
        lambda files: call(9, 0, memory.LOW.shown, 3, 1, files[0], memory.LOW.first),
    ),
    "reads the RAM beside it": ("mmap", lambda files: call(9, 0, memory.LOW.shown, 1, 1, files[0])),
    "reads all of the file": ("mmap", lambda files: call(9, 0, FIXED_SIZE, 1, 1, files[0])),
    "reads it as a file": ("read", lambda files: call(0, files[0], 0, 0)),
    "reads it at a place": ("pread64", lambda files: call(17, files[0], 0, 0)),
    "sends it away": ("sendfile", lambda files: call(40, 3, files[0], 0, 100)),
    "opens a file": ("openat", lambda _: os.open("/etc/passwd", os.O_RDONLY)),
    "connects": ("socket", lambda _: call(41, 2, 1)),
    "forks": ("clone", lambda _: call(56, 17)),
    "signals": ("kill", lambda _: os.kill(1, 0)),
    "looks into others": ("ptrace", lambda _: call(101, 16, 1)),
    "changes a file's length": ("ftruncate", lambda files: os.ftruncate(files[0], 0)),
    "takes seals": ("fcntl", lambda files: call(72, files[0], 1033, 1)),
    "asks a device": ("ioctl 0x5413", lambda files: call(16, files[0], 0x5413)),
    "makes code": ("mprotect", lambda _: call(10, 0, 4096, 7)),
    "runs a program": ("execve", lambda _: call(59)),
}


@pytest.mark.parametrize(("name", "attack"), ATTACKS.values(), ids=list(ATTACKS))
def test_it_can_do_nothing_else(name: str, attack: Attack) -> None:
    assert attacked(attack, is_on=True) == (
        f"the viewer made the system call {name}, which its jail does not allow; the guest goes on"
        " without --display"
    )


def test_a_mapping_does_not_grow() -> None:
    def grows(files: Sequence[int]) -> int:
        place = call(9, 0, memory.LOW.shown, 1, 1, files[0], memory.LOW.first)
        return call(25, place, memory.LOW.shown, 2 * memory.LOW.shown, 1)

    assert f"found {-errno.ENOMEM}" in attacked(grows, is_on=True)


def test_without_a_jail_the_seals_keep_the_screen_as_it_is() -> None:
    def writes(files: Sequence[int]) -> list[int]:
        shown = call(9, 0, FIXED_SIZE, 1, 1, files[0])
        path = f"/proc/self/fd/{files[0]}"
        again = os.open(path, os.O_RDWR)
        return [
            call(9, 0, FIXED_SIZE, 3, 1, files[0]),
            call(9, 0, FIXED_SIZE, 3, 1, again),
            call(10, shown, mmap.PAGESIZE, PROT_WRITE | 1),
            call(77, files[0], 0),  # ftruncate
            call(18, files[0], shown, 1, 0),  # pwrite64
            call(72, files[0], 1033, 8),  # F_ADD_SEALS
        ]

    refused = [-errno.EPERM, -errno.EPERM, -errno.EACCES, *[-errno.EPERM] * 3]
    assert f"found {refused}" in attacked(writes, is_on=False)


def test_it_types_what_a_keyboard_and_a_mouse_can() -> None:
    good = key_record(EventKind.PRESS, 0x1E) + pointer_record(1, 3, -4, 1)
    bad = (
        key_record(EventKind.PRESS, 0x7F),
        key_record(EventKind.PRESS, 0xFFFF),
        key_record(EventKind.WAIT, 0xFFFF),
        bytes([9]).ljust(EVENT_SIZE, b"\0"),
        pointer_record(32),
        pointer_record(0, 30_000),
        pointer_record(0, wheel=-300),
        b"\1",
    )
    assert believed(good) == good
    for record in bad:
        assert believed(good + record) == good
        assert record == b"\1" or believed(record + good) == good


def test_what_it_types_too_much_of_is_lost() -> None:
    with closing(Events()) as events:
        for _ in range(10_000):
            events.put(key_record(EventKind.PRESS, 0x1E) * 8)
        waits, _, _ = events.waits()
        assert waits < 10_000
        events.put(key_record(EventKind.RELEASE, 0x1E))
        assert events.waits()[0] == waits + 1
