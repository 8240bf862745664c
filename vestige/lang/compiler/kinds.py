"""The kinds of values typed Python has at run time, and how annotations name them."""

import enum
from dataclasses import dataclass
from types import CodeType, NoneType
from typing import Any, NoReturn, get_args, get_origin

from vestige.lang import enumeration, foreign, types
from vestige.lang.compiler.intervals import BOOLEAN, Interval


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer type of a parameter, a result, a field or a local: u8 … i64, bool, an enum."""

    name: str
    bits: int
    signed: bool
    interval: Interval


@dataclass(frozen=True, slots=True)
class Reference:
    """The address of a struct or of an array inside one; `target` is its ctypes type."""

    target: Any

    @property
    def name(self) -> str:
        """As the annotation was written, near enough."""
        if self.is_array:
            element: Kind = kind_of_ctype(self.target._type_)
            return f"{element.name}[{self.target._length_}]"
        return str(self.target.__name__)

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return issubclass(self.target, foreign.Array)

    @property
    def size(self) -> int:
        """Bytes the target takes."""
        return foreign.sizeof(self.target)


Kind = Integer | Reference


def _integer(name: str) -> Integer:
    bits, signed = int(name[1:]), name[0] == "i"
    low = -(1 << bits - 1) if signed else 0
    return Integer(name, bits, signed, Interval(low, low + (1 << bits) - 1))


NAMES = tuple(f"{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64))
BY_NAME = {name: _integer(name) for name in NAMES}
BY_TYPE: dict[object, Integer] = {getattr(types, name): BY_NAME[name] for name in NAMES}
BY_CTYPE: dict[object, Integer] = {
    getattr(foreign, f"c_{'' if kind.signed else 'u'}int{kind.bits}"): kind
    for kind in BY_NAME.values()
}
ENUMERATIONS = (enum.IntEnum, enum.IntFlag, enumeration.IntEnum, enumeration.IntFlag)
UNKNOWN = object()
BOOL = Integer("bool", 1, False, BOOLEAN)


def kind_of_ctype(ctype: object) -> Kind:
    """The kind of a field of this ctypes type."""
    return BY_CTYPE[ctype] if ctype in BY_CTYPE else Reference(ctype)


def _enumeration(members: type[enum.IntEnum] | type[enum.IntFlag]) -> Integer:
    """The kind of an IntEnum (from its least to its greatest member) or an IntFlag."""
    values = [int(member) for member in members.__members__.values()]
    if issubclass(members, enum.IntFlag | enumeration.IntFlag):
        high = (1 << max(values, default=0).bit_length()) - 1
        return Integer(members.__name__, 64, False, Interval(0, high, flag=True))
    low, high = min(values, default=0), max(values, default=0)
    return Integer(members.__name__, 64, low < 0, Interval(low, high))


def evaluated(annotation: str | CodeType, scope: dict[str, Any]) -> object:
    """The object an annotation's text names; UNKNOWN if it names nothing."""
    try:
        return eval(annotation, scope)
    except (AttributeError, NameError, SyntaxError, TypeError):
        return UNKNOWN


def kind_of(annotation: Any) -> Kind | None:
    """The kind an evaluated annotation names; None if it names none."""
    if annotation is bool:
        return BOOL
    if isinstance(annotation, type) and annotation in BY_TYPE:
        return BY_TYPE[annotation]
    if isinstance(annotation, type) and issubclass(annotation, ENUMERATIONS):
        return _enumeration(annotation)
    if isinstance(annotation, type) and issubclass(annotation, foreign.Structure):
        return Reference(annotation)
    if isinstance(annotation, types.Array):
        return Reference(types._ctype(("parameter",), annotation, {}))  # type: ignore[attr-defined]
    return None


def results_of(annotation: Any) -> tuple[Kind, ...] | None:
    """The kinds of what a function returns: () for None and NoReturn; None if unknown."""
    if annotation in (None, NoneType, NoReturn):
        return ()
    if get_origin(annotation) is tuple:
        kinds = tuple(kind_of(item) for item in get_args(annotation))
        return tuple(kind for kind in kinds if kind) if kinds and all(kinds) else None
    kind = kind_of(annotation)
    return (kind,) if kind else None
