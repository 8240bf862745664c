"""Page tables: what they map, read by a walker of the tests; compiled as in CPython."""

import ctypes
import random
from collections.abc import Iterator

import pytest

from tests import compiling
from tests.efiemu.memory import physical, translate
from vestige.efiemu.shell.pages import PAGE, Tables
from vestige.lang.intrinsics import CheckFailed

ROOM = 1 << 20
FLAGS = 7


@pytest.fixture
def tables() -> Iterator[Tables]:
    with physical(ROOM) as place:
        yield Tables(next=place, end=place + ROOM)


def used(tables: Tables) -> int:
    return (tables.next - (tables.end - ROOM)) // PAGE


@pytest.mark.parametrize(
    ("address", "target", "size", "pages"),
    [
        (0, 0, 1 << 40, 3),  # a root and two tables of 512 GiB
        (0, 1 << 30, 1 << 30, 2),
        (0, 2 << 20, 1 << 30, 3),
        (0x20_0000, 0x40_0000, 2 << 20, 3),
        (0x20_0000, 0x40_1000, 2 << 20, 4),
        (0x1F_F000, 0x3F_F000, 2 << 20, 5),
    ],
)
def test_pages_are_as_large_as_fit(
    tables: Tables, address: int, target: int, size: int, pages: int
) -> None:
    root = tables.new()
    tables.map(root, address, target, size, FLAGS)
    assert used(tables) == pages
    for offset in (0, size // 3, size - 1):
        assert translate(root, address + offset) == (target + offset, FLAGS)
    assert translate(root, address + size) is None
    assert address == 0 or translate(root, address - 1) is None


def test_what_is_mapped_is_not_mapped_anew(tables: Tables) -> None:
    root = tables.new()
    tables.map(root, 0, 0, 2 << 20, FLAGS)
    for address, size in ((0, PAGE), (0, 2 << 20), (0x1F_F000, PAGE)):
        with pytest.raises(CheckFailed):
            tables.map(root, address, 0, size, FLAGS)
        assert translate(root, 0x1F_F000) == (0x1F_F000, FLAGS)


def test_a_page_of_a_large_one_is_replaced_alone(tables: Tables) -> None:
    root = tables.new()
    tables.map(root, 0, 0, 1 << 40, FLAGS)
    place = (5 << 30) + (3 << 21) + 7 * PAGE
    tables.replace(root, place, 0x1234_5000, 1)
    tables.replace(root, place + PAGE, 0x1234_5000, FLAGS)
    assert used(tables) == 5
    assert translate(root, place + 8) == (0x1234_5008, 1)
    assert translate(root, place + PAGE) == (0x1234_5000, FLAGS)
    for other in (place - 1, place + 2 * PAGE, 5 << 30, (6 << 30) - 1, (6 << 30), (3 << 21) - 1):
        assert translate(root, other) == (other, FLAGS)


def test_one_page_is_repeated_instead_of_what_was_there(tables: Tables) -> None:
    root = tables.new()
    tables.map(root, 0, 0, 1 << 40, FLAGS)
    first, size = (5 << 30) - 2 * PAGE, (2 << 30) + (4 << 20) + 3 * PAGE
    tables.repeat(root, first, size, 0x1234_5000, 1)
    assert used(tables) == 3 + 2 + 2 + 2, "pages before and behind, and a table and one of those"
    for offset in (*range(0, size, (1 << 20) + PAGE), size - PAGE):
        assert translate(root, first + offset + 8) == (0x1234_5008, 1)
    for near in (first - 1, first + size):
        assert translate(root, near) == (near, FLAGS)


def test_room_ends(tables: Tables) -> None:
    tables.end = tables.next + 2 * PAGE
    root = tables.new()
    with pytest.raises(CheckFailed):
        tables.map(root, 0, 0, PAGE, FLAGS)


def test_compiled_it_makes_the_same_tables() -> None:
    functions = (Tables.map, Tables.repeat)
    compiled = compiling.native(list(functions))
    chance = random.Random(5)
    images = []
    for map_, repeat in (functions, [compiled[f"Tables.{name}"] for name in ("map", "repeat")]):
        chance.seed(5)
        with physical(2 * ROOM) as place:
            tables = Tables(next=place, end=place + 2 * ROOM)
            root = tables.new()
            at = 0
            for _ in range(40):
                at += chance.choice((0, PAGE, 2 << 20, 1 << 30))
                target = chance.choice((at, at + PAGE, at + (2 << 20), at + (1 << 30)))
                size = chance.choice((PAGE, 7 * PAGE, 2 << 20, (4 << 20) + PAGE, 1 << 30))
                map_(tables, root, at, target, size, FLAGS)
                at += size
            for _ in range(10):
                first = chance.randrange(at // (2 << 20)) * (2 << 20) + chance.choice((0, PAGE))
                size = chance.choice((PAGE, 2 << 20, 1 << 30))
                repeat(tables, root, first, size, 0x1234_5000, 1)
            images.append((tables.next - place, ctypes.string_at(place, 2 * ROOM)))
    assert images[0] == images[1]
