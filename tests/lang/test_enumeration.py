"""The enumerations of the run path do what enum's do, as far as they go."""

import enum

import pytest

from vestige.lang import enumeration
from vestige.lang.compiler.kinds import Integer, kind_of


class Light(enumeration.IntEnum):
    NONE = 0
    ONE = 1
    TWO = 2
    PAIR = 2


class Heavy(enum.IntEnum):
    NONE = 0
    ONE = 1
    TWO = 2
    PAIR = 2


class LightFlags(enumeration.IntFlag):
    LOW = 1 << 0
    HIGH = 1 << 5


class HeavyFlags(enum.IntFlag):
    LOW = 1 << 0
    HIGH = 1 << 5


@pytest.mark.parametrize(("light", "heavy"), [(Light, Heavy), (LightFlags, HeavyFlags)])
def test_they_are_enums_own_in_all_that_is_promised(
    light: type[enum.IntEnum], heavy: type[enum.IntEnum]
) -> None:
    def shown(kind: type[enum.IntEnum]) -> list[object]:
        members = list(kind)
        return [
            [(member.name, int(member), f"{member}", hash(member)) for member in members],
            [kind(int(member)).name for member in members],
            {name: int(member) for name, member in kind.__members__.items()},
            [members[0] == 0, members[-1] in kind.__members__.values(), len(kind)],
            [members[0] | members[-1], members[0] + 1, {members[-1]: "key"}[members[-1]]],
        ]

    assert shown(light) == shown(heavy)


def test_a_value_of_no_member_is_refused() -> None:
    with pytest.raises(ValueError, match="7 is not a valid Light"):
        Light(7)


def test_a_member_is_an_integer_of_its_kind() -> None:
    assert isinstance(Light.ONE, Light)
    assert isinstance(Light.ONE, int)


@pytest.mark.parametrize(("light", "heavy"), [(Light, Heavy), (LightFlags, HeavyFlags)])
def test_compiled_code_sees_the_same_range(light: type, heavy: type) -> None:
    mine, others = kind_of(light), kind_of(heavy)
    assert isinstance(mine, Integer)
    assert isinstance(others, Integer)
    assert (mine.interval, mine.signed) == (others.interval, others.signed)
