"""Bridges in front of the controller, which the guest is shown as subtractive ones."""

from collections.abc import Iterator

import pytest

from tests.efiemu.firmware import NVME_CLASS, Firmware, Place
from tests.efiemu.memory import at, physical, translate
from vestige.efiemu.shell import accesses, block, ecam, ports
from vestige.efiemu.shell.bridges import find_bridges, shown
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.state import BRIDGES
from vestige.lang.intrinsics import load32, running_on, store32

ECAM = 0xB000_0000
BRIDGE_CLASS = 0x0604_0002
CLASS, SHOWN = 0x0604_0002, 0x0604_0102


class Buses(Firmware):
    """A machine with bridges between its buses, whose shell is asked for configuration space."""

    def __init__(self, block_place: int = 0) -> None:
        super().__init__()
        self.add((0, 0, 0), 0x0600_0000)
        self.shell.block = block_place

    def bridge(self, place: Place, below: int, last: int) -> None:
        self.add(place, BRIDGE_CLASS)
        self.functions[place][0x0E] |= 1
        self.functions[place][0x18:0x1B] = bytes((place[0], below, last))

    def find(self, *controller: int) -> list[int]:
        """Which functions are noted where the NVMe is there."""
        bus, device, number = controller
        self.shell.controller = bus << 8 | device << 3 | number
        self.add((bus, device, number), NVME_CLASS)
        with running_on(self):
            find_bridges(self.shell)
        return [self.shell.bridge[number] for number in range(self.shell.bridges)]

    def port_in8(self, port: int) -> int:
        return self._part(port, 1)

    def port_in16(self, port: int) -> int:
        return self._part(port, 2)

    def _part(self, port: int, size: int) -> int:
        return self.port_in32(0xCFC) >> 8 * (port & 3) & (1 << 8 * size) - 1

    def read(self, function: int, offset: int, size: int) -> int:
        """By ports, as the guest."""
        with running_on(self):
            ports.write(self.shell, 0xCF8, 4, 1 << 31 | function << 8 | offset & 0xFC)
            return ports.read(self.shell, 0xCFC + (offset & 3), size)


@pytest.fixture
def place() -> Iterator[int]:
    with physical(block.SIZE) as place:
        yield place


def test_those_are_noted_that_lead_to_it() -> None:
    machine = Buses()
    machine.bridge((0, 2, 0), 1, 1)
    machine.bridge((0, 3, 0), 2, 5)
    machine.bridge((2, 0, 0), 3, 4)
    machine.add((3, 1, 0), 0x0200_0000)
    machine.bridge((3, 1, 1), 4, 4)
    assert machine.find(4, 0, 0) == [0x18, 0x200, 0x309]
    assert machine.find(5, 0, 0) == [0x18]
    assert machine.find(0, 9, 0) == []


def test_a_bridge_that_nobody_has_set_up_leads_nowhere() -> None:
    machine = Buses()
    machine.bridge((0, 2, 0), 0, 0)
    machine.bridge((0, 3, 0), 0, 255)
    machine.bridge((0, 4, 0), 1, 1)
    assert machine.find(1, 0, 0) == [0x20]


def test_a_device_that_answers_for_eight_functions_may_have_one() -> None:
    machine = Buses()
    machine.bridge((0, 2, 0), 1, 1)
    for number in range(1, 8):
        machine.bridge((0, 2, number), 1, 1)
    machine.functions[(0, 2, 0)][0x0E] = 1
    assert machine.find(1, 0, 0) == [0x10]


def test_there_may_be_more_than_there_is_room_for() -> None:
    machine = Buses()
    for bus in range(BRIDGES + 3):
        machine.bridge((bus, 0, 0) if bus else (0, 1, 0), bus + 1, 40)
    assert len(machine.find(BRIDGES + 3, 0, 0)) == BRIDGES


@pytest.mark.parametrize(
    ("offset", "size", "value", "expected"),
    [
        (8, 4, CLASS, SHOWN), (8, 1, 0x02, 0x02), (9, 1, 0, 1), (8, 2, 0xFF02, 0x0102),
        (9, 2, 0x0400, 0x0401), (10, 2, 0x0604, 0x0604), (12, 4, 0, 0), (4, 4, 0, 0),
        (9, 4, 0xFFFF_FFFF, 0xFFFF_FF01), (6, 4, 0, 1 << 24), (0x109, 1, 0, 0),
    ],
)  # fmt: skip
def test_their_programming_interface_alone_is_another(
    offset: int, size: int, value: int, expected: int
) -> None:
    assert shown(offset, size, value) == expected


@pytest.mark.parametrize("devices", [(), (31, 30)])
def test_behind_another_root_bus_the_ide_is_on_bus_0_too(
    place: int, monkeypatch: pytest.MonkeyPatch, devices: tuple[int, ...]
) -> None:
    machine = Buses(place)
    for device in devices:
        machine.add((0, device, 0), 0x0200_0000)
    machine.bridge((0x28, 0, 0), 0x29, 0x29)
    assert machine.find(0x29, 0, 0) == [0x2800]
    second = (31 - len(devices)) << 3
    assert machine.shell.second == second
    monkeypatch.setattr(accesses, "read_ide_config", lambda _shell, offset, _size: 0x7010 + offset)
    for function in (0x2900, second):
        assert machine.read(function, 2, 2) == 0x7012
    assert machine.read(0x2800, 8, 4) == SHOWN
    shell = machine.shell
    shell.ecam, shell.last_bus, shell.old_ide = ECAM, 255, NOWHERE
    block.map_all(shell)
    ecam.take_pages(shell)
    for function in (0x2900, second, 0x2800):
        assert translate(shell.guest_root, ECAM + (function << 12)) is None
    assert ecam.read(shell, ECAM + (second << 12) + 4, 2) == 0x7014
    assert ecam.read(shell, ECAM + (second << 12) + 0x100, 4) == 0xFFFF_FFFF


def test_only_on_bus_0_its_bars_move(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operating system that finds no room for them in the other place would move them."""
    machine = Buses(place)
    machine.bridge((0x28, 0, 0), 0x29, 0x29)
    machine.find(0x29, 0, 0)
    shell, written = machine.shell, []
    shell.ecam, shell.last_bus, shell.old_ide = ECAM, 255, NOWHERE
    monkeypatch.setattr(
        ports, "write_config", lambda _shell, offset, _size, value: written.append((offset, value))
    )
    for function in (0x2900, shell.second):
        for offset in (0x04, 0x10, 0x20, 0x24, 0x28):
            with running_on(machine):
                ports.write(shell, 0xCF8, 4, 1 << 31 | function << 8 | offset)
                ports.write(shell, 0xCFC, 2, function)
            ecam.write(shell, ECAM + (function << 12) + offset, 2, function)
    both = [(offset, 0x2900) for offset in (0x04, 0x28)]
    both += [(offset, shell.second) for offset in (0x04, 0x10, 0x20, 0x24, 0x28)]
    assert written == [each for each in both for _ in range(2)]


def test_on_bus_0_it_is_there_once() -> None:
    machine = Buses()
    machine.bridge((0, 2, 0), 1, 1)
    machine.find(1, 0, 0)
    assert machine.shell.second == NOWHERE
    machine.find(0, 5, 0)
    assert machine.shell.second == NOWHERE


def test_bus_0_may_be_full() -> None:
    machine = Buses()
    for device in range(1, 32):
        machine.add((0, device, 0), 0x0200_0000)
    machine.find(0x29, 0, 0)
    assert machine.shell.second == NOWHERE


def test_so_they_read_by_ports(place: int) -> None:
    machine = Buses(place)
    machine.bridge((0, 2, 0), 1, 1)
    machine.bridge((0, 3, 0), 2, 2)
    machine.find(1, 0, 0)
    assert [machine.read(0x10, 8, size) for size in (1, 2, 4)] == [0x02, 0x0102, SHOWN]
    assert (machine.read(0x10, 9, 1), machine.read(0x10, 0x18, 4)) == (1, 0x0001_0100)
    assert machine.read(0x18, 8, 4) == CLASS, "another one"


def test_so_they_read_in_memory_and_what_is_written_is_theirs(place: int) -> None:
    machine = Buses(place)
    machine.bridge((0, 2, 0), 1, 1)
    machine.find(1, 0, 0)
    shell, page = machine.shell, ECAM + (0x10 << 12)
    shell.ecam, shell.last_bus, shell.old_ide = ECAM, 255, NOWHERE
    with at(page, 4096):
        store32(page + 8, CLASS)
        block.map_all(shell)
        ecam.take_pages(shell)
        for other in (page - 4096, page + 4096):
            assert translate(shell.guest_root, other) is not None
            assert not ecam.is_taken(shell, other)
        assert translate(shell.guest_root, page) is None
        assert ecam.is_taken(shell, page + 0xFFF)
        assert ecam.read(shell, page + 8, 8) == SHOWN
        assert ecam.read(shell, page + 9, 1) == 1
        ecam.write(shell, page + 0x104, 8, 0x1234_5678_9ABC_DEF0)
        assert (load32(page + 0x104), load32(page + 0x108)) == (0x9ABC_DEF0, 0x1234_5678)
        assert ecam.read(shell, page + 0x104, 8) == 0x1234_5678_9ABC_DEF0
