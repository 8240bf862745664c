"""Which memory is the guest's: ranges that come and go, against a set of bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.efiemu.walks import compiled
from vestige.efiemu.shell.memory import RANGES, Memory
from vestige.lang.intrinsics import CheckFailed

END = 64
SPAN = st.tuples(st.integers(0, END), st.integers(0, END))


@given(st.lists(SPAN, max_size=8), st.lists(SPAN, max_size=6))
def test_it_holds_what_was_added_and_not_left_out(
    added: list[tuple[int, int]], left_out: list[tuple[int, int]]
) -> None:
    memory, native, model, highest = Memory(), Memory(), set[int](), 0
    for first, length in added:
        begin = highest + first
        highest = begin + length
        assert memory.add(begin, highest)
        compiled()["Memory.add"](native, begin, highest)
        model.update(range(begin, highest))
    for first, end in left_out:
        begin, behind = first * (highest + 1) // END, end * (highest + 1) // END
        assert memory.leave_out(begin, behind)
        compiled()["Memory.leave_out"](native, begin, behind)
        model.difference_update(range(begin, behind))
    assert bytes(memoryview(memory)) == bytes(memoryview(native))
    for place in range(highest + 2):
        for size in (1, 2, 8):
            held = set(range(place, place + size)) <= model
            assert memory.holds(place, size) == held
            assert compiled()["Memory.holds"](native, place, size) == held
    used = [(each.first, each.end) for each in memory.ranges][: memory.count]
    assert used == sorted(used)
    assert all(end < later for (_, end), (later, _) in pairwise(used))


def test_too_many_ranges_are_told() -> None:
    memory = Memory()
    for number in range(RANGES):
        assert memory.add(16 * number, 16 * number + 8)
    assert not memory.add(16 * RANGES, 16 * RANGES + 8)
    assert memory.add(16 * RANGES - 8, 16 * RANGES), "it is the last one's own end"
    assert not memory.leave_out(2, 4)
    assert memory.leave_out(2, 8)
    assert (memory.holds(0, 2), memory.holds(0, 3), memory.holds(16, 8)) == (True, False, True)


def test_the_last_byte_there_can_be() -> None:
    memory = Memory()
    memory.add((1 << 64) - 16, (1 << 64) - 1)
    assert memory.holds((1 << 64) - 2, 1)
    assert not memory.holds((1 << 64) - 2, 2)
    assert not memory.holds((1 << 64) - 1, 1)


def test_what_is_not_there_has_no_place() -> None:
    memory = Memory(offset=0x1_0000)
    memory.add(0x1000, 0x2000)
    assert memory.place(0x1FF8, 8) == 0x1_1FF8
    with pytest.raises(CheckFailed):
        memory.place(0x1FFC, 8)
