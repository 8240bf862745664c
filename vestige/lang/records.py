"""Records: objects of constants that never change, which a loop of compiled code can run over.

A class derived from `Record` annotates its fields as a dataclass does, and a value behind one is
its default. The compiler knows every field of every record: `docs/typed-python.md`, Records.
"""

import sys
from _collections_abc import Callable

from vestige.errors import UsageError
from vestige.lang.types import TYPE_CHECKING, u8

if TYPE_CHECKING:
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        """To a type checker, what makes `__init__` of annotations; nothing here."""
        return lambda cls: cls


REQUIRED = object()
INTEGER: "Any" = type(u8)  # the class of u8 … i64
UNION: "Any" = type(int | None)


class RecordError(UsageError, TypeError, ValueError):
    """A record that can't be: the file and the line at which it would be made, and why."""


@dataclass_transform(eq_default=True, frozen_default=True)
class Record:
    """Base of all records.

    A field is an integer, bool, enumeration's member, string, bytes, None, another record, a
    function or class, or a tuple of these. It is given by name or, in order, without, and can't be
    set afterwards. Records of one class with equal fields are equal. Raises RecordError for fields
    that are missing, unknown, no constants, or not what their annotations say.
    """

    _fields: "tuple[tuple[str, object], ...]" = ()  # names and annotations
    _unchecked: "frozenset[str]" = frozenset()  # fields whose defaults nothing was made of yet
    _made_at: "tuple[str, int]"

    def __init_subclass__(cls) -> None:
        scope = vars(sys.modules[cls.__module__])
        own = {
            name: scope.get(kind) if isinstance(kind, str) else kind
            for name, kind in cls.__annotations__.items()
        }
        cls._fields = tuple({**dict(cls._fields), **own}.items())
        cls._unchecked = frozenset(name for name, _ in cls._fields)

    def __init__(self, *values: object, **named: object) -> None:
        kind, names = type(self).__name__, [name for name, _ in self._fields]
        caller = sys._getframe(1)
        made_at = caller.f_code.co_filename, caller.f_lineno
        self.__dict__["_made_at"] = made_at
        if len(values) > len(names):
            raise _refused(made_at, f"{kind} has {len(names)} fields, {len(values)} are given")
        given = dict(zip(names, values, strict=False))
        for name, value in named.items():
            if name in given or name not in names:
                what = "is given twice" if name in given else "is none of its fields"
                raise _refused(made_at, f"{kind}: {name} {what}: {', '.join(names)}")
            given[name] = value
        by_default = []
        for name, annotation in self._fields:
            value = given.get(name, REQUIRED)
            if value is REQUIRED:
                value = getattr(type(self), name, REQUIRED)
                by_default.append(name)
            if name in given or name in self._unchecked:
                if reason := _reason_against(value, annotation):
                    raise _refused(made_at, f"{kind}.{name} is {reason}")
            self.__dict__[name] = value
        if not self._unchecked.isdisjoint(by_default):
            type(self)._unchecked = self._unchecked.difference(by_default)

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


def fields(record: Record) -> "dict[str, object]":
    """Those of its fields that `remade` is to be given: its class has the others."""
    named = {name: getattr(record, name) for name, _ in record._fields}
    of = type(record)
    return {
        name: value
        for name, value in named.items()
        if callable(value) or value != getattr(of, name, REQUIRED)  # or it would be a method
    }


def remade(cls: type[Record], made_at: "tuple[str, int]", **given: object) -> Record:
    """A record that has been made before, there, and was found right: of these `fields`."""
    record = cls.__new__(cls)
    record.__dict__.update(given, _made_at=made_at)
    return record


def _values(record: Record) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name, _ in record._fields)


def _refused(made_at: "tuple[str, int]", what: str) -> RecordError:
    file, line = made_at
    return RecordError(f"{file}:{line}: {what}")


def _reason_against(value: object, annotation: "Any") -> str:
    """Why `value` can't be a field that is annotated so; empty if it can."""
    if value is REQUIRED:
        return "missing; give it, or a default in the class"
    found = type(value).__name__
    if not is_constant(value):
        return (
            f"a {found}, no constant of compiled code; give an integer, "
            "a string, None, a record, a function, a class, or a tuple of these"
        )
    if not _fits(value, annotation):
        if getattr(annotation, "__origin__", None) is tuple and not isinstance(value, tuple):
            return f"a {found}, no tuple; one of a single value is (value,)"
        wanted = getattr(annotation, "__name__", None) or annotation
        return f"{_shown(value)}, which is no {wanted}"
    return ""


def _fits(value: object, annotation: "Any") -> bool:
    """Whether `value` is what an annotation says; what the annotation is can be unknown."""
    if isinstance(annotation, INTEGER):
        return isinstance(value, int) and annotation(value) == value
    if type(annotation) is UNION:
        return any(_fits(value, each) for each in annotation.__args__)
    origin = getattr(annotation, "__origin__", annotation)
    if origin is tuple:
        items: tuple[Any, ...] = getattr(annotation, "__args__", ())
        each = items[0] if len(items) == 2 and items[1] is ... else None
        return isinstance(value, tuple) and all(_fits(item, each) for item in value)
    if origin is Callable:
        return callable(value)
    return not isinstance(origin, type) or isinstance(value, origin)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    return getattr(value, "__qualname__", None) or repr(value)
