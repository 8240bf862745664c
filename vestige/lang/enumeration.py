"""IntEnum and IntFlag for what is on the way to every run: as enum's, without its 6 ms of imports.

Members are integers with a `name`. An enumeration can be iterated, and called with a value to get
the member; `__members__` has them by name. What enum's do beyond that is not there: an operation
of members is a plain integer. To a type checker they are enum's.
"""

from vestige.lang.types import TYPE_CHECKING

__all__ = ["IntEnum", "IntFlag"]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import IntEnum, IntFlag
else:

    class _Enumeration(type):
        """Makes members of the integers in a class's body."""

        def __new__(mcs, name: str, bases: tuple, body: dict) -> type:
            members, by_value = {}, {}
            own = {**body, "__members__": members, "_by_value": by_value}
            cls = super().__new__(mcs, name, bases, own)
            for member_name, value in body.items():
                if isinstance(value, int) and member_name[0] != "_":
                    members[member_name] = member = int.__new__(cls, value)
                    member.name = member_name
                    setattr(cls, member_name, member)
                    by_value.setdefault(value, member)
            return cls

        def __call__(cls, value: int) -> "IntEnum":
            """The member of this value; the first of several. ValueError if there is none."""
            if value not in cls._by_value:
                raise ValueError(f"{value!r} is not a valid {cls.__name__}")
            return cls._by_value[value]

        def __iter__(cls) -> "Iterator[IntEnum]":
            return iter(cls._by_value.values())

        def __len__(cls) -> int:
            return len(cls._by_value)

    class IntEnum(int, metaclass=_Enumeration):
        """Base of enumerations of integers."""

    class IntFlag(int, metaclass=_Enumeration):
        """Base of enumerations of bits."""
