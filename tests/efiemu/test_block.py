"""The shell's memory: who sees what where."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.efiemu.memory import physical, translate
from vestige import abi
from vestige.efiemu.shell import block
from vestige.efiemu.shell.block import CPUS, MONITOR_DATA, PIECES, SIZE
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell

HOST, GUEST = 3, 7


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with physical(SIZE) as place:
        shell = Shell(block=place)
        block.map_all(shell)
        yield shell


def test_pieces_lie_behind_the_shells_own_and_apart() -> None:
    places = sorted((piece.place, piece.size) for piece in PIECES)
    places += [(MONITOR_DATA, CPUS * PAGE), (SIZE, 0)]
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
