"""Records: objects of constants that never change, which a loop of compiled code can run over.

A class derived from `Record` annotates its fields as a dataclass does, and a value behind one is
its default. The compiler knows every field of every record: `docs/typed-python.md`, Records.
"""

import sys

from vestige.lang.types import TYPE_CHECKING, u8

if TYPE_CHECKING:
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        """To a type checker, what makes `__init__` of annotations; nothing here."""
        return lambda cls: cls


REQUIRED = object()
INTEGER: "Any" = type(u8)  # the class of u8 … i64


@dataclass_transform(eq_default=True, frozen_default=True)
class Record:
    """Base of all records.

    A field is an integer, bool, enumeration's member, string, bytes, None, another record, a
    function or class, or a tuple of these. It is given by name or, in order, without, and can't be
    set afterwards. Records of one class with equal fields are equal. Raises TypeError for fields
    that are missing, unknown or no constants, ValueError for an integer its annotation can't hold.
    """

    _fields: "tuple[tuple[str, object], ...]" = ()  # names and annotations
    _made_at: "tuple[str, int]"

    def __init_subclass__(cls) -> None:
        scope = vars(sys.modules[cls.__module__])
        own = {
            name: scope.get(kind) if isinstance(kind, str) else kind
            for name, kind in cls.__annotations__.items()
        }
        cls._fields = tuple({**dict(cls._fields), **own}.items())

    def __init__(self, *values: object, **named: object) -> None:
        kind, names = type(self).__name__, [name for name, _ in self._fields]
        if len(values) > len(names):
            raise TypeError(f"{kind} has {len(names)} fields, {len(values)} are given")
        given = dict(zip(names, values, strict=False))
        for name, value in named.items():
            if name in given or name not in names:
                what = "is given twice" if name in given else "is none of its fields"
                raise TypeError(f"{kind}: {name} {what}: {', '.join(names)}")
            given[name] = value
        for name, annotation in self._fields:
            value = given.get(name, getattr(type(self), name, REQUIRED))
            _check(f"{kind}.{name}", value, annotation)
            self.__dict__[name] = value
        caller = sys._getframe(1)
        self.__dict__["_made_at"] = (caller.f_code.co_filename, caller.f_lineno)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} never changes: give {name} when it is made")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} never changes: {name} can't be deleted")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Record):
            return NotImplemented
        return _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash((type(self), _values(self)))

    def __repr__(self) -> str:
        listed = (f"{name}={_shown(getattr(self, name))}" for name, _ in self._fields)
        return f"{type(self).__name__}({', '.join(listed)})"


def is_constant(value: object) -> bool:
    """Whether compiled code can know this value: a field of a record, or a record itself."""
    if isinstance(value, tuple):
        return all(is_constant(item) for item in value)
    return value is None or isinstance(value, int | str | bytes | Record) or callable(value)


def made_at(record: Record) -> "tuple[str, int]":
    """File and line of the call that made it: where what is wrong with a record is put right."""
    return record._made_at


def _check(where: str, value: object, annotation: "Any") -> None:
    """Raise TypeError or ValueError unless `value` may be the field `where`."""
    if value is REQUIRED:
        raise TypeError(f"{where} is missing; give it, or a default in the class")
    if not is_constant(value):
        raise TypeError(
            f"{where} is a {type(value).__name__}, no constant of compiled code; give an integer, "
            "a string, None, a record, a function, a class, or a tuple of these"
        )
    if getattr(annotation, "__origin__", None) is tuple and not isinstance(value, tuple):
        raise TypeError(
            f"{where} is a {type(value).__name__}, no tuple; one of a single value is (value,)"
        )
    if isinstance(annotation, INTEGER) and isinstance(value, int) and annotation(value) != value:
        raise ValueError(f"{where} is {value}, which is no {annotation.__name__}")


def _values(record: Record) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name, _ in record._fields)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    return getattr(value, "__qualname__", None) or repr(value)
