"""Typed Python: the subset of Python in which Vestige's device models are written.

Importing this package brings the CPython side only, never the compiler.
"""

from vestige.lang.memory import Memory
from vestige.lang.records import Record
from vestige.lang.types import Array, Struct, i8, i16, i32, i64, u8, u16, u32, u64

__all__ = [
    "Array", "Memory", "Record", "Struct", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64",
]  # fmt: skip
