"""Compiled code in this process: what tests call, and what the host's run loop is.

The code is mapped read-only and executable. Each call runs on a 64 KiB stack of its own with
the GIL released; a failed check ends the call and raises `PanicError`.
"""

import mmap

from vestige.lang.foreign import (
    Array,
    Structure,
    addressof,
    c_char,
    c_int32,
    c_uint64,
    function,
    function_at,
    get_errno,
)
from vestige.lang.image import Image
from vestige.lang.types import TYPE_CHECKING
from vestige.lang.vcpu import STACK_SIZE

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Value: TypeAlias = int | Structure | Array[Any]

LIMITS = {
    **{f"u{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
    **{f"i{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)},
    "bool": (0, 1),
}
ADDRESS = LIMITS["u64"]
MAX_ARGUMENTS = 6
PROT_READ_EXECUTE = mmap.PROT_READ | mmap.PROT_EXEC
_mprotect = function("mprotect", c_uint64, c_uint64, c_int32, result=c_int32)
OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a process that is forked off has a copy of its own


class PanicError(RuntimeError):
    """A check of compiled code failed, at `file`:`line` for `reason`."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


class _Frame(Structure):
    """What vestige_call takes (runtime/process.s)."""

    _fields_ = (
        ("function", c_uint64),
        ("arguments", c_uint64 * MAX_ARGUMENTS),
        ("result", c_uint64),
        ("stack", c_uint64),
    )


class _Stack:
    """A stack aligned to its size."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2 * STACK_SIZE, OWN)
        start = addressof(c_char.from_buffer(self._memory))
        self.top = (start + 2 * STACK_SIZE) & -STACK_SIZE


class NativeFunction:
    """One entry of a mapped image."""

    def __init__(self, owner: "NativeImage", name: str) -> None:
        self._owner, self.name = owner, name
        self.address = owner.address + owner.image.symbols[name]
        self._parameters, self._results = owner.image.signatures[name]
        if len(self._parameters) > MAX_ARGUMENTS or len(self._results) > 1:
            raise TypeError(f"{name}: at most 6 arguments and one result can cross to CPython")

    def __call__(self, *arguments: "Value") -> int | None:
        """Call it. Raises PanicError, or TypeError and OverflowError for wrong arguments."""
        if len(arguments) != len(self._parameters):
            raise TypeError(f"{self.name} takes {len(self._parameters)} arguments")
        frame = _Frame(self.address)
        for number, (value, kind) in enumerate(zip(arguments, self._parameters, strict=True)):
            frame.arguments[number] = _word(f"argument {number} of {self.name}", value, kind)
        self._owner.enter(frame)
        if not self._results:
            return None
        result: int = frame.result
        low, _ = LIMITS.get(self._results[0], ADDRESS)
        return result - (1 << 64) if low < 0 and result >> 63 else result


class NativeImage:
    """An image of the process runtime, mapped; `native["name"](…)` calls an entry."""

    def __init__(self, image: Image) -> None:
        if image.runtime != "process" or image.base is not None:
            raise ValueError("only a position-independent image for a process can be mapped")
        self.image = image
        self._memory = mmap.mmap(-1, image.memory_size, OWN)
        self._memory[: image.code_size] = image.code
        self.address = addressof(c_char.from_buffer(self._memory))
        _protect(self.address, image.code_size)
        entry = self.address + image.symbols["vestige_call"]
        self._call = function_at(entry, c_uint64, result=c_uint64)
        self._stacks: list[_Stack] = []

    def __getitem__(self, name: str) -> NativeFunction:
        return NativeFunction(self, name)

    def enter(self, frame: _Frame) -> None:
        """Run a prepared frame on a stack no other thread uses. Raises PanicError."""
        try:
            stack = self._stacks.pop()
        except IndexError:
            stack = _Stack()
        frame.stack = stack.top
        site = self._call(addressof(frame))
        self._stacks.append(stack)
        if site:
            raise PanicError(*self.image.sites[site])


def _protect(address: int, size: int) -> None:
    if _mprotect(address, size, PROT_READ_EXECUTE):
        raise OSError(get_errno(), "mprotect: the compiled code can't be made executable")


def _word(what: str, value: "Value", kind: str) -> int:
    """An argument as a register: checked, sign-extended. A struct may be given by its address."""
    if isinstance(value, Structure | Array):
        found = type(value).__name__
        if kind in LIMITS or (isinstance(value, Structure) and found != kind):
            raise TypeError(f"{what} is a {kind}, not a {found}")
        return addressof(value)
    low, high = LIMITS.get(kind, ADDRESS)
    if not low <= value <= high:
        raise OverflowError(f"{what} is {value}, which is no {kind}")
    return value & (1 << 64) - 1
