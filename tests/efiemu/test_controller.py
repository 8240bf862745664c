"""The NVMe controller in configuration space: what of it is hidden from the guest."""

import struct
from collections.abc import Iterator
from unittest import mock

import pytest

from tests.efiemu.firmware import BAR, BAR_SIZE, NVME_CLASS, Firmware
from vestige.efiemu.shell import controller
from vestige.efiemu.shell.controller import hide_memory, switch_on
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import running_on

NVME = (0, 3, 0)
IO, MEMORY, BUS_MASTER, INTERRUPT_DISABLE = 1, 2, 4, 1 << 10
COMMAND, BARS, ROM = 0x04, 0x10, 0x30
GIB = 1 << 30


@pytest.fixture
def firmware() -> Iterator[Firmware]:
    """With ports, and memory by four BARs; one more has no place."""
    firmware = Firmware()
    firmware.add(NVME, NVME_CLASS)
    space = firmware.functions[NVME]
    struct.pack_into("<6I", space, BARS, BAR & 0xFFFF_FFFF | 4, BAR >> 32, 0xC001, 0xFEB0_0000, 0xC,
                     0x40)  # fmt: skip
    firmware.sizes = {0: BAR_SIZE, 2: 0x10, 3: 0x2000, 4: 8 * GIB}
    struct.pack_into("<H", space, COMMAND, IO | MEMORY)
    struct.pack_into("<I", space, ROM, 0xFEA0_0001)
    with running_on(firmware):
        yield firmware


def hidden(firmware: Firmware) -> list[tuple[int, int]]:
    """Addresses and sizes."""
    found: list[tuple[int, int]] = []
    with mock.patch.object(controller, "hide", lambda _, place, size: found.append((place, size))):
        hide_memory(Shell(controller=NVME[1] << 3))
    return found


def test_all_its_memory_is_hidden_and_stays_where_it_is(firmware: Firmware) -> None:
    before = bytes(firmware.functions[NVME])
    assert hidden(firmware) == [(BAR, BAR_SIZE), (0xFEB0_0000, 0x2000), (0x40 << 32, 8 * GIB)]
    assert bytes(firmware.functions[NVME]) == before


def test_bars_without_a_place_are_nowhere(firmware: Firmware) -> None:
    struct.pack_into("<6I", firmware.functions[NVME], BARS, 0xFE00_0000, 0xFD00_0000, 4, 0, 4, 0)
    firmware.sizes = {0: 0x4000, 1: 0x1000, 2: 0x1000, 4: 0x1000}
    assert hidden(firmware) == [(0xFE00_0000, 0x4000), (0xFD00_0000, 0x1000)]


def test_it_answers_in_memory_alone(firmware: Firmware) -> None:
    switch_on(Shell(controller=NVME[1] << 3))
    space = firmware.functions[NVME]
    (command,) = struct.unpack_from("<H", space, COMMAND)
    assert command == MEMORY | BUS_MASTER | INTERRUPT_DISABLE
    assert struct.unpack_from("<I", space, ROM) == (0xFEA0_0000,)
