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
from _contextvars import ContextVar

from vestige.errors import GuestError
from vestige.host import limits
from vestige.host.replay import ARGUMENTS, Call, move, replay
from vestige.lang.foreign import addressof, create_string_buffer
from vestige.lang.intrinsics import syscall
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import Token
    from typing import Self

SYS_OPEN, SYS_MMAP, SYS_MUNMAP, SYS_EVENTFD2 = 2, 9, 11, 290
OF_RINGS = 425, 427  # io_uring_setup, io_uring_register
MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h; the mmap module has it from Python 3.13
PROT_NONE = 0
ACCESS = mmap.PROT_READ | mmap.PROT_WRITE
NOWHERE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
NO_FILE = (1 << 64) - 1

Step = Callable[[], object]
Replayer = Callable[[int, int], int]  # replay, or that as it is compiled


class Steps:
    """Those of one machine; a context, in which they are noted. Its descriptors are numbers from
    `first` on, which are free in who builds it and in all forks that take the steps again.

    There are two lists: what needs no file of the machine's (`again`), and the rest (`again_late`).
    """

    def __init__(self, first: int, replayer: Replayer = replay) -> None:
        """`replayer`: what makes calls again."""
        self._next, self._replayer = first, replayer
        self._steps: list[Step | Call] = []
        self._late: list[Step | Call] = []
        self._joined: tuple[list[Step], list[Step]] = [], []  # what forks take, of the two
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
        self._joined = self._join(self._steps), self._join(self._late)

    def _join(self, steps: "Sequence[Step | Call]") -> list[Step]:
        """The same, with one for calls that follow each other."""
        joined: list[Step] = []
        calls: list[Call] = []
        for step in (*steps, None):
            if isinstance(step, Call):
                calls.append(step)
                continue
            if calls:
                joined.append(Calls(calls, self._replayer).make)
                calls = []
            if step is not None:
                joined.append(step)
        return joined

    def again(self) -> None:
        """In a fork: take those that need no file. Raises GuestError where the kernel answers
        otherwise than it did, and as a step did.
        """
        for step in self._joined[0]:
            step()

    def again_late(self) -> None:
        """Behind those, and behind `take`: the others. Raises as `again`."""
        for step in self._joined[1]:
            step()

    def put_off(self, *, late: bool) -> None:
        """What follows needs files of the machine's, or not."""
        self._list = self._late if late else self._steps

    def note(self, step: Step) -> None:
        """What is to be done again."""
        self._list.append(step)

    def note_call(self, number: int, arguments: Sequence[int], answer: int) -> None:
        """A system call with all its arguments, and what it answered."""
        self._note(Call(number=number, expected=answer), arguments)

    def _note(self, call: Call, arguments: Sequence[int]) -> None:
        for at, argument in enumerate(arguments):
            call.arguments[at] = argument
        self._list.append(call)

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
        number = self._kept_number(descriptor, stays=stays)
        self._list.append(lambda: _move(make(), number))
        return number

    def make_call(self, number: int, arguments: Sequence[int], *, stays: bool) -> int:
        """The same that a system call answers."""
        descriptor = _answer(number, arguments)
        if descriptor < 0:
            return descriptor
        place = self._kept_number(descriptor, stays=stays)
        self._note(Call(number=number, place=place), arguments)
        return place

    def _kept_number(self, descriptor: int, *, stays: bool) -> int:
        if stays:
            self._numbers.append(descriptor)
            return descriptor
        number = self._take_number()
        _move(descriptor, number)
        return number

    def keep(self, kept: object) -> None:
        """As long as these steps may be taken."""
        self._kept.append(kept)


_NOTES: ContextVar[Steps | None] = ContextVar("steps", default=None)


class Calls:
    """System calls that follow each other, as `replayer` makes them again."""

    def __init__(self, calls: "Sequence[Call]", replayer: Replayer) -> None:
        self._calls = (Call * len(calls))(*calls)
        self._place, self._replayer = addressof(self._calls), replayer

    def make(self) -> None:
        """Make them. Raises GuestError, or UsageError for a limit, where one is answered otherwise
        than it was.
        """
        count = len(self._calls)
        done = self._replayer(self._place, count)
        if done == count:
            return
        call = self._calls[done]
        if call.answer < 0:
            refusal = limits.ring_refusal if call.number in OF_RINGS else limits.refusal
            raise refusal("a copy of the machine", -call.answer)
        raise GuestError(
            f"the system call {call.number} of a copy is answered by {call.answer}, and was by"
            f" {call.expected}"
        )


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
    move(descriptor, number)


def are_noted() -> bool:
    """Whether forks of this process will have what is built now."""
    return _NOTES.get() is not None


def call(number: int, *arguments: int, kept: object = None) -> int:
    """A system call, again as long as a signal interrupts it; its answer, or a negative errno.

    `kept`: what its arguments point to.
    """
    whole = _whole(arguments)
    answer = _answer(number, whole)
    if (steps := _NOTES.get()) is not None:
        steps.keep(kept)
        steps.note_call(number, whole, answer)
    return answer


def _answer(number: int, arguments: "Sequence[int]") -> int:
    answer = -errno.EINTR
    while answer == -errno.EINTR:
        answer = syscall(number, *arguments)
    return answer


def _whole(arguments: "Sequence[int]") -> "Sequence[int]":
    return (*arguments, *[0] * (ARGUMENTS - len(arguments)))


def make_call(number: int, *arguments: int, stays: bool = False, kept: object = None) -> int:
    """The descriptor that a system call answers, again as long as a signal interrupts it, or a
    negative errno; as of `make`.

    `kept`: what its arguments point to.
    """
    steps, whole = _NOTES.get(), _whole(arguments)
    if steps is None:
        return _answer(number, whole)
    steps.keep(kept)
    return steps.make_call(number, whole, stays=stays)


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


def open_file(path: str, flags: int) -> int:
    """The file's descriptor, or a negative errno; as of `make`."""
    name = create_string_buffer(os.fsencode(path))
    return make_call(SYS_OPEN, addressof(name), flags | os.O_CLOEXEC, kept=name)


def eventfd(flags: int = os.EFD_NONBLOCK) -> int:
    """One whose count is 0. Raises OSError."""
    descriptor = make_call(SYS_EVENTFD2, 0, flags | os.EFD_CLOEXEC)
    if descriptor < 0:
        raise OSError(-descriptor, os.strerror(-descriptor))
    return descriptor


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
