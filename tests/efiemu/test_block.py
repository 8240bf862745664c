"""The shell's memory: who sees what where."""

import ctypes
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.efiemu.firmware import Firmware
from tests.efiemu.memory import at, physical, translate
from vestige import abi
from vestige.efiemu.shell import block
from vestige.efiemu.shell.block import MONITOR_DATA, PIECES, SIZE
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.mapped import map_high
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.takeover import intercept_msrs
from vestige.lang.intrinsics import load8, running_on

HOST, GUEST = 3, 7
LOW, PLACE = 0x9_0000, 128 << 30


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with physical(SIZE) as place:
        shell = Shell(block=place, low=LOW)
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


def test_and_where_the_pages_below_1_mib_are(shell: Shell) -> None:
    for offset in (0, PAGE + 5):
        decoy = shell.block + block.DECOY + offset % PAGE
        assert translate(shell.guest_root, LOW + offset) == (decoy, GUEST)
    for address in (LOW - 1, LOW + 2 * PAGE):
        assert translate(shell.guest_root, address) == (address, GUEST)


@pytest.mark.parametrize(("low", "room"), [(0, PLACE), (LOW, 0), (LOW, PLACE), (LOW, PLACE + PAGE)])
def test_what_the_firmware_gives_is_kept_or_given_back(low: int, room: int) -> None:
    firmware = Firmware()
    firmware.low, firmware.room = low, room
    shell = Shell(boot=firmware.boot)
    with at(PLACE, SIZE + 2 * block.ALIGNMENT), running_on(firmware):
        done = block.allocate(shell)
        assert done == (low != 0 and room != 0)
        if done:
            assert (shell.low, shell.block % block.ALIGNMENT) == (LOW, 0)
            block.release(shell)
    given = SIZE // PAGE + block.ALIGNMENT // PAGE if done else 0
    wanted = given + (2 if low else 0)
    assert sum(pages for _, pages in firmware.free) == wanted
    assert ((LOW, 2) in firmware.free) == (low != 0)


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
        assert (translate(root, address + 2 * PAGE) is None) == (number > 0)
    writes = translate(root, block.WRITES)
    assert writes == (shell.block + block.MONITOR_WRITES, GUEST)
    for address in (0, shell.block, abi.BARS, abi.LOCAL_APIC):
        assert translate(root, address) is None


BAR, BAR_SIZE = 0x8_8000_4000, 0x4000
RAM_END = 0x7FF5_8000


@pytest.mark.parametrize("in_ram", [True, False])
def test_controller_and_ram_are_the_monitors(in_ram: bool) -> None:
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, low=LOW, bar=BAR)
        block.map_all(shell)
        block.map_controller(shell)
        block.hide(shell, BAR, BAR_SIZE)
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
        assert translate(shell.monitor_root, window + LOW) == (place + block.DECOY, GUEST)
        if in_ram:
            for offset in (0, block.PROCESSORS + 5, SIZE - 1):
                decoy = (place + block.DECOY + offset % PAGE, GUEST)
                assert translate(shell.monitor_root, window + place + offset) == decoy
            for near in (place - 1, place + SIZE):
                assert translate(shell.monitor_root, window + near) == (near, GUEST)


@pytest.mark.parametrize(("processors", "command"), [(1, 0), (2, 2)])
def test_which_msrs_exit(processors: int, command: int) -> None:
    """Writes, or reads, too. The local APIC of one processor may not be put over the block, too."""
    memory = ctypes.create_string_buffer(block.MSRS + 0x2000)
    intercept_msrs(Shell(block=ctypes.addressof(memory), processors=processors))
    for number, wanted in (
        (0x1B, 2), (0x830, command), (0x10, 0), (0x277, 0),
        (0xC000_0080, 3), (0xC001_0114, 3), (0xC001_0117, 3), (0xC000_0081, 0),
    ):  # fmt: skip
        part = {0x0: 0, 0xC000: 0x800, 0xC001: 0x1000}[number >> 16]
        bit = 2 * (number & 0x1FFF)
        assert memory.raw[block.MSRS + part + bit // 8] >> bit % 8 & 3 == wanted, hex(number)


def is_nobodys(shell: Shell, address: int) -> bool:
    """Whether it reads as ones, for the guest."""
    found = translate(shell.guest_root, address)
    return found == (shell.block + block.NOBODY + address % PAGE, GUEST) and load8(found[0]) == 0xFF


@pytest.mark.parametrize("bar", [1 << 40, 0x3800_0010_0000, (1 << 47) - (2 << 30)])
def test_a_controller_far_up_is_reached(bar: int) -> None:
    """As a host with many address bits has it; its table of interrupts may be elsewhere."""
    table, table_size = bar + (1 << 30) + 0x4000, 0x2000
    vectors = table + 0x1000
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, low=LOW, bar=bar, vectors=vectors)
        block.map_all(shell)
        block.map_controller(shell)
        block.hide(shell, bar, BAR_SIZE)
        block.hide(shell, table, table_size)
        for address in (bar + 0x14, vectors + 12):
            assert translate(shell.host_root, address) == (address, HOST)
        assert translate(shell.monitor_root, abi.BARS + 0x1008) == (bar + 0x1008, GUEST)
        assert not map_high(shell, bar - 1) or bar > 1 << 40
        assert map_high(shell, bar), "as another processor that came, too"
        for address in (bar, bar + BAR_SIZE - 1, table, vectors + 12, table + table_size - 1):
            assert is_nobodys(shell, address)
        for address in (bar + BAR_SIZE, table - 1, table + table_size):
            assert translate(shell.guest_root, address) == (address, GUEST)


@pytest.mark.parametrize(
    ("address", "size"),
    [
        *((0x8_8000_0000, 1 << 30), (0x8_8020_0000, 6 << 20), (0x3800_0000_0000, 8 << 30)),
        *((0xFEBF_0000, 0x10_0000), (0xFEBF_0000, PAGE), ((1 << 40) - (1 << 30), 1 << 30)),
    ],
)
def test_large_memory_of_a_controller_is_hidden_by_a_few_tables(address: int, size: int) -> None:
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, low=LOW)
        block.map_all(shell)
        block.map_controller(shell)
        before = block.common(shell).tables.next
        block.hide(shell, address, size)
        assert block.common(shell).tables.next - before <= 5 * PAGE
        for offset in (0, PAGE, size // 2, size // 3, size - PAGE, size - 1):
            assert is_nobodys(shell, address + offset % size)
        for near in (address - 1, address + size):
            assert translate(shell.guest_root, near) in ((near, GUEST), None)
            assert near >= block.EVERYTHING or translate(shell.guest_root, near)


def test_less_than_a_page_is_hidden_with_its_page() -> None:
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, low=LOW)
        block.map_all(shell)
        block.map_controller(shell)
        block.hide(shell, 0xFEBF_0800, 0x100)
        assert is_nobodys(shell, 0xFEBF_0000)
        assert is_nobodys(shell, 0xFEBF_0FFF)
        for near in (0xFEBF_1000, 0xFEBE_FFFF):
            assert translate(shell.guest_root, near) == (near, GUEST)


def test_hiding_ends_where_a_table_does() -> None:
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, low=LOW)
        block.map_all(shell)
        block.map_controller(shell)
        block.hide(shell, (1 << 48) - (4 << 30), (1 << 64) - PAGE)
        assert is_nobodys(shell, (1 << 48) - (4 << 30))
        assert is_nobodys(shell, (1 << 48) - 1)
        assert translate(shell.guest_root, 0) == (0, GUEST)


def test_what_no_table_can_map_needs_no_hiding() -> None:
    with at(96 << 30, SIZE) as place:
        shell = Shell(block=place, low=LOW)
        block.map_all(shell)
        before = bytes((ctypes.c_uint8 * SIZE).from_address(place))
        block.hide(shell, 1 << 48, 1 << 20)
        block.hide(shell, 1 << 32, 0)
        assert bytes((ctypes.c_uint8 * SIZE).from_address(place)) == before
