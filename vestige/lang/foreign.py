"""What a run has of ctypes: C's types and functions, without importing ctypes.

That makes 30 types more, and structures for other processors, and opens the C library: a twentieth
of the time to a guest's first instruction. What it is made of is `_ctypes`, which is in C, and from
which these are made as ctypes makes its own. To a type checker they are ctypes' own.
"""

__all__ = [
    "Array", "Structure", "addressof", "c_char", "c_int8", "c_int16", "c_int32", "c_int64",
    "c_uint8", "c_uint16", "c_uint32", "c_uint64", "create_string_buffer", "function",
    "function_at", "get_errno", "holding", "sizeof",
]  # fmt: skip

TYPE_CHECKING = False  # as typing has it

if TYPE_CHECKING:
    from collections.abc import Callable
    from ctypes import (
        Array,
        Structure,
        addressof,
        c_char,
        c_int8,
        c_int16,
        c_int32,
        c_int64,
        c_uint8,
        c_uint16,
        c_uint32,
        c_uint64,
        create_string_buffer,
        get_errno,
        sizeof,
    )
    from typing import Any, TypeAlias

    Function: TypeAlias = Callable[..., Any]

    def function_at(address: int, *arguments: type, result: type | None = ...) -> Function: ...
    def function(name: str, *arguments: type, result: type | None = ...) -> Function: ...
    def holding(name: str, *arguments: type, result: type | None = ...) -> Function: ...

else:
    from _ctypes import (
        FUNCFLAG_CDECL,
        FUNCFLAG_PYTHONAPI,
        FUNCFLAG_USE_ERRNO,
        RTLD_LOCAL,
        Array,
        CFuncPtr,
        Structure,
        _SimpleCData,
        addressof,
        dlopen,
        dlsym,
        get_errno,
        sizeof,
    )

    def _simple(name: str, letter: str) -> type:
        """As ctypes names it: freeze/layout.py tells by names of types what lies in memory."""
        return type(_SimpleCData)(name, (_SimpleCData,), {"_type_": letter})

    c_char = _simple("c_char", "c")
    c_uint8, c_int8 = _simple("c_ubyte", "B"), _simple("c_byte", "b")
    c_uint16, c_int16 = _simple("c_ushort", "H"), _simple("c_short", "h")
    c_uint32, c_int32 = _simple("c_uint", "I"), _simple("c_int", "i")
    c_uint64, c_int64 = _simple("c_ulong", "L"), _simple("c_long", "l")

    class _Function(CFuncPtr):
        _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO

    class _Holding(CFuncPtr):
        _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO | FUNCFLAG_PYTHONAPI

    _PROCESS = dlopen(None, RTLD_LOCAL)

    def create_string_buffer(data: bytes) -> Array:
        """An array of these bytes, and a zero."""
        buffer = (c_char * (len(data) + 1))()
        buffer.value = data
        return buffer

    def function_at(address: int, *arguments: type, result: type | None = c_int64) -> CFuncPtr:
        """The C function at an address. While it is called others have the interpreter's lock.

        `result`: None for void. What errno was behind it get_errno() says.
        """
        return _typed(_Function(address), arguments, result)

    def function(name: str, *arguments: type, result: type | None = c_int64) -> CFuncPtr:
        """The same of the C library's function of that name."""
        return _typed(_Function(dlsym(_PROCESS, name)), arguments, result)

    def holding(name: str, *arguments: type, result: type | None = c_int64) -> CFuncPtr:
        """The same of the C library's or the interpreter's, which is called with its lock held."""
        return _typed(_Holding(dlsym(_PROCESS, name)), arguments, result)

    def _typed(made: CFuncPtr, arguments: tuple[type, ...], result: type | None) -> CFuncPtr:
        made.argtypes, made.restype = arguments, result
        return made
