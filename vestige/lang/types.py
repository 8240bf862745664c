"""The data types of typed Python: fixed-width integers, arrays of them, and structs.

In CPython a `Struct` *is* a `Structure`: its fields wrap on store, nested structs
alias, and its layout is the compiled one, so host, tests and debuggers look at live device
state in guest memory with the same class. To a type checker `u8` … `i64` are `int`, and
`u8[512]` (any `T[n]`) is `Array[T]`; `vestige.lang.mypy_plugin` teaches mypy the latter.
"""

import sys

from vestige.lang import foreign
from vestige.lang.foreign import Structure

TYPE_CHECKING = False  # as typing has it, which takes 3 ms to import on the way to every run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Generic, Self, TypeAlias, TypeVar

    T = TypeVar("T")
    u8: TypeAlias = int
    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    i8: TypeAlias = int
    i16: TypeAlias = int
    i32: TypeAlias = int
    i64: TypeAlias = int

    class Array(Generic[T]):
        """A fixed-length array field, indexed from 0; an index outside raises IndexError."""

        def __getitem__(self, index: int) -> T: ...
        def __setitem__(self, index: int, value: T) -> None: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[T]: ...
        def __buffer__(self, flags: int, /) -> memoryview: ...

    class Struct(Structure):
        # To a type checker a Structure has every attribute; a Struct has those it annotates.
        __getattr__: None  # type: ignore[assignment,misc]
        __setattr__: None  # type: ignore[assignment,misc]

        @classmethod
        def at(cls, address: int) -> Self: ...

else:

    class IntType(type):
        """Metaclass of the integer types: `u8(x)` wraps, `u8[n]` is an array type."""

        bits: int
        signed: bool
        ctype: type

        def __getitem__(cls, length: int) -> "Array":
            return Array(cls, length)

        @property
        def low(cls) -> int:
            """The least value the type holds."""
            return -(1 << cls.bits - 1) if cls.signed else 0

        @property
        def high(cls) -> int:
            """The greatest value the type holds."""
            return (1 << cls.bits - cls.signed) - 1

    def _integer(bits: int, *, signed: bool) -> IntType:
        mask, sign = (1 << bits) - 1, 1 << bits - 1

        def wrap(cls: IntType, value: int = 0) -> int:
            value = int(value) & mask
            return (value ^ sign) - sign if signed else value

        ctype = getattr(foreign, f"c_{'' if signed else 'u'}int{bits}")
        members = {"__new__": wrap, "bits": bits, "signed": signed, "ctype": ctype}
        return IntType(f"{'i' if signed else 'u'}{bits}", (), members)

    u8, u16, u32, u64 = (_integer(bits, signed=False) for bits in (8, 16, 32, 64))
    i8, i16, i32, i64 = (_integer(bits, signed=True) for bits in (8, 16, 32, 64))

    class Array:
        """An array type in a field's annotation: `u8[512]`, `Drive[2]`."""

        def __init__(self, element: object, length: int) -> None:
            if not isinstance(length, int) or length < 1:
                raise TypeError(f"an array needs a positive length, not {length!r}")
            self.element, self.length = element, length

        def __getitem__(self, length: int) -> "Array":
            return Array(self, length)

    class _StructMeta(type(Structure)):
        def __init__(cls, name: str, bases: tuple, namespace: dict) -> None:
            super().__init__(name, bases, namespace)
            if bases == (Structure,):
                return
            if bases != (Struct,):
                raise TypeError(f"{name}: a Struct can't be inherited from; nest it as a field")
            scope = vars(sys.modules[cls.__module__])
            # Of the class, not in `namespace`: from Python 3.14 on there is a function there.
            kinds = cls.__annotations__.items()
            cls._fields_ = [(field, _ctype((name, field), kind, scope)) for field, kind in kinds]

        def __getitem__(cls, length: int) -> Array:
            return Array(cls, length)

    def _ctype(where: tuple, kind: object, scope: dict) -> type:
        of = type(kind)
        if of is IntType:
            return kind.ctype
        if of is Array:
            return _ctype(where, kind.element, scope) * kind.length
        if of is str:
            return _ctype(where, eval(kind, scope), scope)
        if of is _StructMeta:
            return kind
        raise TypeError(f"{'.'.join(where)}: {kind!r} is not u8 … i64, an array or a Struct")

    class Struct(Structure, metaclass=_StructMeta):
        """Base of all typed-Python structs: C layout, natural alignment, zeroed when made."""

        @classmethod
        def at(cls, address: int) -> "Struct":
            """The struct living at `address`: not a copy. The address is not checked."""
            return cls.from_address(address)
