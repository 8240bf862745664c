"""Functions run twice from the same state: in CPython, and compiled. Both must agree."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tests import compiling
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct

Answer = TypeVar("Answer")
_LIBC = ctypes.CDLL(None)
_LIBC.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Part:
    """Some of the memory, and what was there; `bytes` of it would be new memory each time."""

    def __init__(self, memory: Any) -> None:
        self.address, self.size = ctypes.addressof(memory), ctypes.sizeof(memory)
        self._before = ctypes.create_string_buffer(self.size)
        self._after = ctypes.create_string_buffer(self.size)

    def begin(self) -> None:
        """Before the first run."""
        ctypes.memmove(self._before, self.address, self.size)

    def go_back(self) -> None:
        """Before the second."""
        ctypes.memmove(self._after, self.address, self.size)
        ctypes.memmove(self.address, self._before, self.size)

    def is_alike(self) -> bool:
        """Whether both have left the same."""
        return not _LIBC.memcmp(self.address, self._after, self.size)


Call = Callable[..., int]  # of a function and its arguments


class Twice:
    """`parts` are all memory that the functions may change."""

    def __init__(self, native: NativeImage, parts: Sequence[Any]) -> None:
        self.native = native
        self.parts = [Part(memory) for memory in parts]

    def __call__(self, function: Callable[..., Any], *arguments: int | Struct) -> int:
        """The answer of both."""
        return self.all(lambda call: call(function, *arguments))

    def all(self, steps: Callable[[Call], Answer]) -> Answer:
        """What `steps` makes of what it calls: in one run everything, then in the other."""
        for part in self.parts:
            part.begin()
        answer = steps(_interpret)
        for part in self.parts:
            part.go_back()
        compiled = steps(self._run)
        assert compiled == answer
        assert all(part.is_alike() for part in self.parts)
        return answer

    def _run(self, function: Callable[..., Any], *arguments: int | Struct) -> int:
        return int(self.native[function.__qualname__](*arguments) or 0)


def _interpret(function: Callable[..., Any], *arguments: int | Struct) -> int:
    return int(function(*arguments) or 0)


def compiled(*functions: Callable[..., Any]) -> NativeImage:
    """These as machine code in this process."""
    return compiling.native(functions)
