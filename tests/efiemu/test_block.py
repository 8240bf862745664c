"""The shell's memory: who sees what where."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.efiemu.memory import at, physical, translate
from vestige import abi
from vestige.efiemu.shell import block
from vestige.efiemu.shell.block import MONITOR_DATA, PIECES, SIZE
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import load8

HOST, GUEST = 3, 7


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with physical(SIZE) as place:
        shell = Shell(block=place)
        block.map_all(shell)
        yield shell


def test_pieces_lie_behind_the_shells_own_and_apart() -> None:
    places = sorted((piece.place, piece.size) for piece in PIECES)
    places += [
        (MONITOR_DATA, CPUS * PAGE),
        (block.PROCESSORS, CPUS * block.PROCESSOR_SIZE),
        (SIZE, 0),
    ]
    assert places[0][0] == block.PAGE_TABLES + block.PAGE_TABLES_SIZE
    for (place, size), (following, _) in pairwise(places):
        assert place + size <= following


def test_the_host_has_all_memory_at_its_own_addresses(shell: Shell) -> None:
    for address in (0, 0xFEE0_0020, shell.block + 5, block.EVERYTHING - 1):
        assert translate(shell.host_root, address) == (address, HOST)
    assert translate(shell.host_root, block.EVERYTHING) is None


def test_the_guest_has_a_decoy_where_the_block_is(shell: Shell) -> None:
    for address in (0, 0xFEE0_0020, shell.block - 1, shell.block + SIZE, block.EVERYTHING - 1):
        assert translate(shell.guest_root, address) == (address, GUEST)
    for offset in (0, 5, block.DECOY, SIZE // 2, SIZE - 1):
        decoy = shell.block + block.DECOY + offset % PAGE
        assert translate(shell.guest_root, shell.block + offset) == (decoy, GUEST)


def test_the_monitor_has_its_pieces_and_nothing_else(shell: Shell) -> None:
    root = shell.monitor_root
    for piece in PIECES:
        for offset in (0, piece.size - 1):
            place = shell.block + piece.place + offset
            assert translate(root, piece.address + offset) == (place, GUEST)
        assert translate(root, piece.address + piece.size) is None
    for number in range(CPUS):
        address = abi.RUN_PAGES + number * abi.RUN_STRIDE
        place = shell.block + MONITOR_DATA + number * PAGE
        assert translate(root, address + PAGE) == (place, GUEST)
        assert translate(root, address) is None
        assert translate(root, address + 2 * PAGE) is None
    for address in (0, shell.block, abi.BARS, abi.LOCAL_APIC):
        assert translate(root, address) is None


BAR, BAR_SIZE = 0x8_8000_4000, 0x4000
RAM_END = 0x7FF5_8000


@pytest.mark.parametrize("in_ram", [True, False])
def test_controller_and_ram_are_the_monitors(in_ram: bool) -> None:
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, bar=BAR)
        block.map_all(shell)
        block.map_controller(shell, BAR_SIZE)
        end = place + 3 * SIZE if in_ram else RAM_END
        block.map_ram(shell, end)
        assert translate(shell.monitor_root, abi.BARS + 0x1008) == (BAR + 0x1008, GUEST)
        assert translate(shell.monitor_root, abi.BARS + 0x2000) is None, "interrupts are not"
        nobody = translate(shell.guest_root, BAR + 0x1008)
        assert nobody is not None
        assert load8(nobody[0]) == 0xFF
        assert translate(shell.guest_root, BAR + BAR_SIZE) == (BAR + BAR_SIZE, GUEST)
        assert translate(shell.guest_root, BAR - 1) == (BAR - 1, GUEST)
        window = block.RAM_WINDOW
        for address in (0, 0xFFFF, end - 1):
            assert translate(shell.monitor_root, window + address) == (address, GUEST)
        assert translate(shell.monitor_root, window + end) is None
        if in_ram:
            for offset in (0, block.PROCESSORS + 5, SIZE - 1):
                decoy = (place + block.DECOY + offset % PAGE, GUEST)
                assert translate(shell.monitor_root, window + place + offset) == decoy
            for near in (place - 1, place + SIZE):
                assert translate(shell.monitor_root, window + near) == (near, GUEST)
