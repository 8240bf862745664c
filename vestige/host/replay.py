"""System calls that are made again, one after the other: typed Python, compiled for this process.

Once for each copy of a machine: in Python, each call would have the copy write to the pages of what
it is made of, and so have them to itself.
"""

from vestige.lang.intrinsics import syscall
from vestige.lang.types import Struct, i64, u64

EINTR = 4
SYS_CLOSE, SYS_DUP3 = 3, 292
O_CLOEXEC = 0o2000000
ARGUMENTS = 6  # of a system call, at most


class Call(Struct):
    """One of them. `place`: of a call that answers a descriptor the number that this is to have, of
    others 0: they are to answer `expected`. `answer`: what it has answered.
    """

    number: u64
    arguments: u64[ARGUMENTS]
    expected: i64
    place: u64
    answer: i64


CALL_SIZE = 8 * (ARGUMENTS + 4)  # bytes of a Call


def replay(first: u64, count: u64) -> u64:
    """Make so many, a Call each from the address `first` on; how many have been answered as they
    are to be: behind the first that is not, none is made.
    """
    for index in range(count):
        call = Call.at(u64(first + index * CALL_SIZE))
        call.answer = -EINTR
        while call.answer == -EINTR:
            call.answer = syscall(
                call.number,
                call.arguments[0],
                call.arguments[1],
                call.arguments[2],
                call.arguments[3],
                call.arguments[4],
                call.arguments[5],
            )
        if call.place == 0:
            if call.answer != call.expected:
                return index
        elif call.answer < 0:
            return index
        else:
            move(u64(call.answer), call.place)
    return count


def move(descriptor: u64, place: u64) -> None:
    """Have a descriptor the number `place`."""
    if descriptor != place:
        syscall(SYS_DUP3, descriptor, place, O_CLOEXEC, 0, 0, 0)
        syscall(SYS_CLOSE, descriptor, 0, 0, 0, 0, 0)
