"""How many instructions compiled code takes: a child runs it and is stepped (ptrace).

Where the code leaves its virtual CPU (OUT of a byte, INT3) a process would be ended: who counts can
say what happens there, and the child goes on behind it.
"""

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vestige.lang.native import Value

TRACE_ME, PEEK_TEXT, PEEK_USER, POKE_TEXT, POKE_USER, CONTINUE, SINGLE_STEP = 0, 1, 3, 4, 6, 7, 9
RAX, RDX, RIP, RSP = 10 * 8, 12 * 8, 16 * 8, 19 * 8  # in Linux's struct user
BREAKPOINT, SYSCALL = b"\xcc", b"\x0f\x05"  # the first is INT3
OUT, OUT_TO_DX = 0xE6, 0xEE  # of AL
LIMIT = 100_000  # steps of one call

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long


class NoSteppingError(RuntimeError):
    """This machine lets no process step another, or the call never returned."""


class Compiled(Protocol):
    """What can be stepped: compiled code at an address of this process."""

    address: int

    def __call__(self, *arguments: Any) -> Any: ...


def instructions(
    function: Compiled, *arguments: "Value", leave: Callable[[int, int, int], None] | None = None
) -> int:
    """The instructions of a call, from the function's first to its return.

    `leave` is called with the child's process number, the port and the byte at each OUT, and
    carries that out in the child's memory; INT3 then does nothing. Raises NoSteppingError.
    """
    with _stepped(function, arguments) as child:
        before = _ptrace(PEEK_USER, child, RSP, None) + 8
        for count in range(1, LIMIT):
            if leave is None or not _left(child, leave):
                _step(child)
            if _ptrace(PEEK_USER, child, RSP, None) == before:
                return count
    raise NoSteppingError(f"the call did not return in {LIMIT} steps")


def between_system_calls(function: Compiled, *arguments: "Value", calls: int) -> list[int]:
    """The instructions up to each of its first system calls, that one included, since the last.

    None is made: each answers 0. Raises NoSteppingError.
    """
    counts = [0]
    with _stepped(function, arguments) as child:
        for _ in range(LIMIT):
            counts[-1] += 1
            place, code = _next(child)
            if not code.startswith(SYSCALL):
                _step(child)
                continue
            if len(counts) == calls:
                return counts
            _do(POKE_USER, child, RAX, 0)
            _do(POKE_USER, child, RIP, place + len(SYSCALL))
            counts.append(0)
    raise NoSteppingError(f"no {calls} system calls in {LIMIT} steps")


@contextmanager
def _stepped(function: Compiled, arguments: "tuple[Value, ...]") -> Iterator[int]:
    """A child that stands at the function's first instruction."""
    child = os.fork()
    if child == 0:
        _ptrace(TRACE_ME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            function(*arguments)
        finally:
            os._exit(0)
    try:
        _go_to(child, function.address)
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _go_to(child: int, first: int) -> None:
    code = ctypes.string_at(first, 8)
    _stopped(child)
    _do(POKE_TEXT, child, first, int.from_bytes(BREAKPOINT + code[1:], "little"))
    _do(CONTINUE, child, 0, 0)
    _stopped(child)
    _do(POKE_TEXT, child, first, int.from_bytes(code, "little"))
    _do(POKE_USER, child, RIP, first)


def _next(child: int) -> tuple[int, bytes]:
    """Where it stands, and the eight bytes there."""
    place = _ptrace(PEEK_USER, child, RIP, None)
    return place, _ptrace(PEEK_TEXT, child, place, None).to_bytes(8, "little", signed=True)


def _step(child: int) -> None:
    _do(SINGLE_STEP, child, 0, 0)
    _stopped(child)


def _left(child: int, leave: Callable[[int, int, int], None]) -> bool:
    """Go past an OUT or an INT3, if one is next."""
    place, code = _next(child)
    if code[0] not in (OUT, OUT_TO_DX, *BREAKPOINT):
        return False
    if code[0] != BREAKPOINT[0]:
        port = code[1] if code[0] == OUT else _ptrace(PEEK_USER, child, RDX, None) & 0xFFFF
        leave(child, port, _ptrace(PEEK_USER, child, RAX, None) & 0xFF)
    _do(POKE_USER, child, RIP, place + (2 if code[0] == OUT else 1))
    return True


def _do(request: int, child: int, address: int, data: int) -> None:
    if _ptrace(request, child, address, data):
        raise NoSteppingError(os.strerror(ctypes.get_errno()))


def _stopped(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if not os.WIFSTOPPED(status):
        raise NoSteppingError("the call never came")
