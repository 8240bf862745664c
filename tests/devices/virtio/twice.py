"""Functions run twice from the same state: in CPython, and compiled. Both must agree."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from vestige.lang.build import compile_functions
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct


class Twice:
    """`parts` are all memory that the functions may change."""

    def __init__(self, native: NativeImage, parts: Sequence[Any]) -> None:
        self.native = native
        self.parts = parts

    def __call__(self, function: Callable[..., Any], *arguments: int | Struct) -> int:
        """The answer of both."""
        before = [bytes(part) for part in self.parts]
        answer = int(function(*arguments) or 0)
        after = [bytes(part) for part in self.parts]
        for part, data in zip(self.parts, before, strict=True):
            ctypes.memmove(ctypes.addressof(part), data, len(data))
        compiled = int(self.native[function.__qualname__](*arguments) or 0)
        assert compiled == answer
        assert [bytes(part) for part in self.parts] == after
        return answer


def compiled(*functions: Callable[..., Any]) -> NativeImage:
    """These as machine code in this process."""
    return NativeImage(compile_functions(functions, base=None, runtime="process"))
