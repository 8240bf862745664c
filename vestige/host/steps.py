"""What the kernel is asked for while a machine is built, so that a fork of the builder has it, too.

A fork has its parent's memory, but what KVM and io_uring keep for one process no other has. So who
has built a machine under a `Steps` notes each call by which the kernel got to know of it; gives up
what it got; and each of its forks makes the calls again: with the same arguments, as addresses and
descriptors are the same, and no object of Python's has to be made again.

Outside of a `Steps` the functions here do what they are named for, and no more.
"""

import errno
import mmap
import os
from _collections_abc import Callable, Sequence
from contextvars import ContextVar

from vestige.errors import GuestError
from vestige.host import limits
from vestige.lang.intrinsics import syscall
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import Token
    from typing import Self

SYS_MMAP, SYS_MUNMAP = 9, 11
OF_RINGS = 425, 427  # io_uring_setup, io_uring_register
MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h; the mmap module has it from Python 3.13
PROT_NONE = 0
ACCESS = mmap.PROT_READ | mmap.PROT_WRITE
NOWHERE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
NO_FILE = (1 << 64) - 1
ARGUMENTS = 6  # of a system call, at most

Step = Callable[[], object]


class Steps:
    """Those of one machine; a context, in which they are noted. Its descriptors are numbers from
    `first` on, which are free in who builds it and in all forks that take the steps again.

    There are two lists: what needs no file of the machine's (`again`), and the rest (`again_late`).
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._steps: list[Step] = []
        self._late: list[Step] = []
        self._list = self._steps  # to which they are added
        self._numbers: list[int] = []  # of its descriptors
        self._kept: list[object] = []  # that the arguments of calls are in
        self._mappings: list[tuple[int, int]] = []  # (address, bytes) of what is the kernel's
        self._elsewhere: list[tuple[int, int]] = []  # the same, of what forks have elsewhere
        self._token: Token[Steps | None] | None = None

    def __enter__(self) -> "Self":
        self._token = _NOTES.set(self)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._token is not None:
            _NOTES.reset(self._token)

    def place(self, descriptor: int) -> int:
        """A number for a file of the machine's, of which each fork has another: see `take`."""
        number = self._take_number()
        os.dup2(descriptor, number, inheritable=False)
        return number

    def _take_number(self) -> int:
        self._numbers.append(self._next)
        self._next += 1
        return self._numbers[-1]

    def give_up(self) -> None:
        """The machine is built: close its descriptors, and unmap what is the kernel's.

        Addresses stay taken. Raises UsageError where that can't be.
        """
        for address, size in self._elsewhere:
            syscall(SYS_MUNMAP, address, size, 0, 0, 0, 0)
        for address, size in self._mappings:
            answer = syscall(SYS_MMAP, address, size, PROT_NONE, NOWHERE, NO_FILE, 0)
            if answer < 0:
                raise limits.refusal("a place in memory", -answer)
        for number in self._numbers:
            os.close(number)

    def again(self) -> None:
        """In a fork: take those that need no file. Raises GuestError where the kernel answers
        otherwise than it did, and as a step did.
        """
        for step in self._steps:
            step()

    def again_late(self) -> None:
        """Behind those, and behind `take`: the others. Raises as `again`."""
        for step in self._late:
            step()

    def put_off(self, *, late: bool) -> None:
        """What follows needs files of the machine's, or not."""
        self._list = self._late if late else self._steps

    def note(self, step: Step) -> None:
        """What is to be done again."""
        self._list.append(step)

    def note_call(self, number: int, arguments: Sequence[int], answer: int) -> None:
        """A system call with all its arguments, and what it answered."""

        def step() -> None:
            now = syscall(number, *arguments)
            if now != answer and now < 0:
                refusal = limits.ring_refusal if number in OF_RINGS else limits.refusal
                raise refusal("a copy of the machine", -now)
            if now != answer:
                raise GuestError(
                    f"the system call {number} of a copy is answered by {now}, and was by {answer}"
                )

        self._list.append(step)

    def note_map(self, address: int, size: int, descriptor: int, offset: int) -> None:
        """Memory of a descriptor's."""
        self._mappings.append((address, size))
        flags = mmap.MAP_SHARED | MAP_FIXED
        self.note_call(SYS_MMAP, (address, size, ACCESS, flags, descriptor, offset), address)

    def note_elsewhere(self, address: int, size: int) -> None:
        """Memory of a descriptor's, which a step maps again."""
        self._elsewhere.append((address, size))

    def make(self, make: Callable[[], int], *, stays: bool) -> int:
        """A descriptor that `make` answers, by its number here; or a negative errno.

        It `stays` where it is: that is no number of other descriptors.
        """
        with Aside():
            descriptor = make()
        if descriptor < 0:
            return descriptor
        if stays:
            number = descriptor
            self._numbers.append(number)
        else:
            number = self._take_number()
            _move(descriptor, number)
        self._list.append(lambda: _move(make(), number))
        return number

    def keep(self, kept: object) -> None:
        """As long as these steps may be taken."""
        self._kept.append(kept)


_NOTES: ContextVar[Steps | None] = ContextVar("steps", default=None)


class Aside:
    """A context: what is asked for meanwhile is for the moment, and not noted."""

    def __enter__(self) -> None:
        self._token = _NOTES.set(None)

    def __exit__(self, *_error: object) -> None:
        _NOTES.reset(self._token)


class Late:
    """A context: what is asked for meanwhile needs files of the machine's."""

    def __enter__(self) -> None:
        _put_off(late=True)

    def __exit__(self, *_error: object) -> None:
        _put_off(late=False)


def _put_off(*, late: bool) -> None:
    if (steps := _NOTES.get()) is not None:
        steps.put_off(late=late)


def take(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """In a fork: have its files have the numbers that `Steps.place` gave. Raises OSError."""
    for descriptor, number in zip(descriptors, numbers, strict=True):
        _move(descriptor, number)


def _move(descriptor: int, number: int) -> None:
    if descriptor < 0:
        raise OSError(-descriptor, os.strerror(-descriptor))
    if descriptor != number:
        os.dup2(descriptor, number, inheritable=False)
        os.close(descriptor)


def are_noted() -> bool:
    """Whether forks of this process will have what is built now."""
    return _NOTES.get() is not None


def call(number: int, *arguments: int, kept: object = None) -> int:
    """A system call, again as long as a signal interrupts it; its answer, or a negative errno.

    `kept`: what its arguments point to.
    """
    whole = (*arguments, *[0] * (ARGUMENTS - len(arguments)))
    answer = -errno.EINTR
    while answer == -errno.EINTR:
        answer = syscall(number, *whole)
    if (steps := _NOTES.get()) is not None:
        steps.keep(kept)
        steps.note_call(number, whole, answer)
    return answer


def map_shared(descriptor: int, size: int, offset: int = 0, place: int = 0) -> int:
    """Have memory of a descriptor's, at `place` instead of what is there, or where the kernel
    likes; its address, or a negative errno.
    """
    flags = mmap.MAP_SHARED | (MAP_FIXED if place else 0)
    address = syscall(SYS_MMAP, place, size, ACCESS, flags, descriptor, offset)
    if address >= 0 and (steps := _NOTES.get()) is not None:
        steps.note_map(address, size, descriptor, offset)
    return address


def make(descriptor: Callable[[], int], *, stays: bool = False) -> int:
    """A descriptor, as this answers it, or a negative errno. Raises as it does.

    Where it is noted it has another number then, unless it `stays`.
    """
    steps = _NOTES.get()
    return descriptor() if steps is None else steps.make(descriptor, stays=stays)


def eventfd(flags: int = os.EFD_NONBLOCK) -> int:
    """One whose count is 0. Raises OSError."""
    return make(lambda: os.eventfd(0, flags | os.EFD_CLOEXEC))


def do(step: Step) -> None:
    """What has to be done in each fork as well, other than calls."""
    with Aside():
        step()
    if (steps := _NOTES.get()) is not None:
        steps.note(step)


def is_mapped_anew(address: int, size: int) -> None:
    """Memory of a descriptor's, which no fork can have at that address: a `do` maps it."""
    if (steps := _NOTES.get()) is not None:
        steps.note_elsewhere(address, size)


def keep(kept: object) -> None:
    """Have what a call's argument points to stay as long as that call may be made again."""
    if (steps := _NOTES.get()) is not None:
        steps.keep(kept)
