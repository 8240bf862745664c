"""How each Struct of a machine's state is laid out, as text that differs where the layout does."""

import ctypes
import hashlib
from collections.abc import Mapping
from typing import Any

from vestige import abi
from vestige.lang.types import Struct
from vestige.monitor.core.machine import Machine


def layout() -> dict[str, str]:
    """Of every Struct in a Machine, a Shared or a Cpu, by its name."""
    found: dict[str, str] = {}
    for root in (Machine, abi.Shared, abi.Cpu):
        _add(root, found)
    return found


def difference(before: Mapping[str, str]) -> str:
    """In words, what of another layout is not as it is here."""
    here = layout()
    for name, shape in before.items():
        if here.get(name) != shape:
            return f"its {name} is laid out in another way, or is not there any more"
    for name in here:
        if name not in before:
            return f"there was no {name}"
    return "the same state, but other code"


def _add(kind: type[Struct], found: dict[str, str]) -> None:
    name = f"{kind.__module__.removeprefix('vestige.')}.{kind.__name__}"
    if name in found:
        return
    found[name] = ""  # it is under way
    words = []
    for field, type_, *_ in kind._fields_:
        place = getattr(kind, field)
        words.append(f"{field} {place.offset} {place.size} {type_.__name__}")
        _add_element(type_, found)
    found[name] = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _add_element(type_: Any, found: dict[str, str]) -> None:
    """A field's Struct, or that of which it is an array, if there is one."""
    if issubclass(type_, Struct):
        _add(type_, found)
    elif issubclass(type_, ctypes.Array):
        _add_element(type_._type_, found)
