"""Threads' names in the kernel, as `top -H` shows them. prctl(2)."""

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u8

SYS_PRCTL = 157
SET_NAME = 15


class ThreadName(Struct):
    """What the kernel calls a thread: 15 characters and a NUL."""

    text: u8[16]


# The first one's of a process that has several runs, by which others know it.
STEWARD = "the steward"


def set_thread_name(name: str) -> None:
    """Have `top -H` and the like show the calling thread by this name."""
    shown = ThreadName()
    for index, byte in enumerate(name.encode("ascii")[:15]):
        shown.text[index] = byte
    syscall(SYS_PRCTL, SET_NAME, address_of(shown), 0, 0, 0, 0)
