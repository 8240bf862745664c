"""What the guest finds at the second MiB: decided here, whatever its monitor asks."""

from typing import Any

import pytest

from vestige.abi import GATE_CLOSED, GATE_OPEN, WRAPPED, WRAPPED_SIZE
from vestige.host.kvm.gate import Gate
from vestige.host.kvm.twin import without

RAM = 0x7F00_0000_0000
SLOT = 5


class Machine:
    """What Gate calls of a VM, and what it has mapped."""

    def __init__(self) -> None:
        self.slots: dict[int, tuple[int, int, int]] = {}
        self.changes = 0

    def new_slot(self) -> int:
        return SLOT

    def map_slot(self, slot: int, address: int, size: int, host_address: int) -> None:
        assert slot not in self.slots
        self.slots[slot] = address, size, host_address
        self.changes += 1

    def unmap(self, slot: int) -> None:
        del self.slots[slot]


def test_it_is_the_second_mib_or_the_first() -> None:
    guest: Any = Machine()
    gate = Gate(guest, RAM)
    assert guest.slots == {SLOT: (WRAPPED, WRAPPED_SIZE, RAM + WRAPPED)}
    for _ in range(2):
        assert gate.set(GATE_CLOSED)
        assert guest.slots == {SLOT: (WRAPPED, WRAPPED_SIZE, RAM)}
    for state in (GATE_CLOSED + 1, 0xFFFF_FFFF, 1 << 63):
        assert not gate.set(state)
    for _ in range(2):
        assert gate.set(GATE_OPEN)
        assert guest.slots == {SLOT: (WRAPPED, WRAPPED_SIZE, RAM + WRAPPED)}
    assert guest.changes == 3


@pytest.mark.parametrize(
    ("hole", "left"),
    [
        ((0x20, 0x10), [(0, 0x20), (0x30, 0x70), (0x200, 0x100)]),
        ((0x240, 0x20), [(0, 0xA0), (0x200, 0x40), (0x260, 0xA0)]),
        ((0x100, 0x10), [(0, 0xA0), (0x200, 0x100)]),
    ],
)
def test_ram_is_left_beside_a_hole(hole: tuple[int, int], left: list[tuple[int, int]]) -> None:
    assert without([(0, 0xA0), (0x200, 0x100)], *hole) == left
