"""The flash memory by its data sheet: Intel 28F640J5 (290606), 4.0 to 4.10."""

import pytest

from tests.devices.i28f640j5.driver import BLOCKS, FIRST, SIZE, array8, content, over_memory
from vestige import abi
from vestige.abi import FLASH, FLASH_SIZE
from vestige.monitor.devices.i28f640j5.model import Flash
from vestige.monitor.devices.i28f640j5.place import has_flash
from vestige.monitor.devices.i28f640j5.spec import (
    BLOCK,
    BUFFER,
    CONFIRM,
    LOCK_SET,
    Command,
    Status,
)

FAILED = Status.READY | Status.ERASE_ERROR | Status.PROGRAM_ERROR


@pytest.fixture
def flash() -> Flash:
    flash = Flash()
    over_memory(flash)
    return flash


def write(flash: Flash, offset: int, *values: int) -> None:
    for value in values:
        flash.write(FIRST + offset, 1, value, 0)


def read(flash: Flash, offset: int) -> int:
    return int(flash.read(FIRST + offset, 1, 0))


def status(flash: Flash) -> int:
    write(flash, 0, Command.READ_STATUS)
    return read(flash, 5)


def array(flash: Flash, first: int, count: int = 1) -> list[int]:
    write(flash, 0, Command.READ_ARRAY)
    return [read(flash, offset) for offset in range(first, first + count)]


def test_at_over_memory_reads_give_the_array_and_the_guest_maps_it(flash: Flash) -> None:
    assert [read(flash, n) for n in (0, 1, BLOCK, SIZE - 1)] == [
        content(n) for n in (0, 1, BLOCK, SIZE - 1)
    ]
    assert flash.mapped_address() == FLASH + FIRST


@pytest.mark.parametrize(
    "command",
    [
        *(Command.READ_STATUS, Command.READ_IDENTIFIERS, Command.QUERY, Command.PROGRAM),
        *(Command.ERASE, Command.LOCK, Command.WRITE_TO_BUFFER),
    ],
)
def test_while_reads_give_something_else_the_guest_maps_nothing(flash: Flash, command: int) -> None:
    write(flash, 0x123, command)
    assert flash.mapped_address() == 0
    write(flash, 0, CONFIRM, Command.READ_ARRAY, CONFIRM, Command.READ_ARRAY)
    assert flash.mapped_address() == FLASH + FIRST


def test_the_status_is_read_at_any_address(flash: Flash) -> None:
    write(flash, 0x10, Command.READ_STATUS)
    assert {read(flash, n) for n in (0, 1, 0x10, BLOCK, SIZE - 1)} == {Status.READY}


@pytest.mark.parametrize("command", [Command.PROGRAM, Command.PROGRAM_10])
def test_a_program_clears_bits_and_sets_none(flash: Flash, command: int) -> None:
    before = content(0x123)
    write(flash, 0x123, command, 0x0F)
    assert read(flash, 0) == Status.READY
    assert array(flash, 0x122, 3) == [content(0x122), before & 0x0F, content(0x124)]
    write(flash, 0x123, command, 0xFF)
    assert array(flash, 0x123) == [before & 0x0F]


def test_an_erase_sets_one_block(flash: Flash) -> None:
    write(flash, BLOCK + 0x321, Command.ERASE)
    assert read(flash, 0) == Status.READY
    write(flash, BLOCK + 7, CONFIRM)
    assert read(flash, 0) == Status.READY
    assert array(flash, BLOCK, BLOCK) == [0xFF] * BLOCK
    assert array(flash, BLOCK - 1) == [content(BLOCK - 1)]
    assert array(flash, 2 * BLOCK) == [content(2 * BLOCK)]


def test_an_erase_that_is_not_confirmed_changes_nothing_and_is_an_error(flash: Flash) -> None:
    write(flash, 0, Command.ERASE, Command.READ_ARRAY)
    assert status(flash) == FAILED
    assert array(flash, 0, BLOCK) == [content(n) for n in range(BLOCK)]


def test_errors_stay_until_the_status_is_cleared(flash: Flash) -> None:
    write(flash, 0, Command.LOCK, 0x55)
    write(flash, 0, Command.PROGRAM, 0xFF)
    assert status(flash) == FAILED
    write(flash, 0, Command.CLEAR_STATUS)
    assert status(flash) == 0
    write(flash, 0, Command.PROGRAM, 0xFF)
    assert status(flash) == Status.READY


def test_what_ovmf_looks_for(flash: Flash) -> None:
    """EDK II, QemuFlashFvbServicesRuntimeDxe, QemuFlashDetected."""
    write(flash, 0x20, Command.CLEAR_STATUS)
    assert read(flash, 0x20) == content(0x20)  # no RAM
    write(flash, 0x20, Command.READ_STATUS)
    assert read(flash, 0x20) == 0  # no ROM
    assert array(flash, 0x20) == [content(0x20)]


def test_a_buffer_changes_nothing_before_it_is_confirmed(flash: Flash) -> None:
    write(flash, 8, Command.WRITE_TO_BUFFER)
    assert read(flash, 0) & Status.READY
    write(flash, 8, 0, 0)
    assert flash.mapped_address() == 0
    assert array8(flash, 8) == content(8)
    write(flash, 8, CONFIRM)
    assert array8(flash, 8) == 0


def buffered(flash: Flash, first: int, values: list[int], *, end: int = CONFIRM) -> None:
    write(flash, first, Command.WRITE_TO_BUFFER, len(values) - 1)
    for n, value in enumerate(values):
        write(flash, first + n, value)
    write(flash, first, end)


@pytest.mark.parametrize("count", [1, 2, BUFFER])
def test_a_buffer_s_bytes_are_programmed_at_their_addresses(flash: Flash, count: int) -> None:
    write(flash, BLOCK, Command.ERASE, CONFIRM)
    buffered(flash, BLOCK + 5, list(range(count)))
    assert status(flash) == Status.READY
    assert array(flash, BLOCK + 4, count + 2) == [0xFF, *range(count), 0xFF]


def test_a_buffer_that_is_not_confirmed_writes_nothing(flash: Flash) -> None:
    buffered(flash, 8, [0, 0], end=Command.READ_ARRAY)
    assert status(flash) == FAILED
    assert array(flash, 8, 2) == [content(8), content(9)]


def test_a_buffer_has_room_for_so_many_bytes_and_no_more(flash: Flash) -> None:
    write(flash, 0, Command.WRITE_TO_BUFFER, BUFFER)
    assert status(flash) == FAILED


@pytest.mark.parametrize("away", [-1, 2, BLOCK])
def test_a_buffer_s_bytes_are_behind_its_first(flash: Flash, away: int) -> None:
    write(flash, BLOCK, Command.WRITE_TO_BUFFER, 1, 0)
    write(flash, BLOCK + away, 0)
    assert status(flash) == FAILED
    assert array(flash, BLOCK) == [content(BLOCK)]


def test_a_buffer_ends_with_its_block(flash: Flash) -> None:
    write(flash, BLOCK - 1, Command.WRITE_TO_BUFFER, 1, 0)
    write(flash, BLOCK, 0)
    assert status(flash) == FAILED


@pytest.mark.parametrize("confirmation", [CONFIRM, LOCK_SET])
def test_there_are_no_locks_to_set_or_clear(flash: Flash, confirmation: int) -> None:
    write(flash, 0, Command.LOCK, confirmation)
    assert status(flash) == Status.READY
    write(flash, 0, Command.PROGRAM, 0)
    assert array(flash, 0) == [0]


def test_it_says_who_made_it_and_that_no_block_is_locked(flash: Flash) -> None:
    write(flash, 0, Command.READ_IDENTIFIERS)
    assert [read(flash, n) for n in (0, 1, 2, BLOCK + 2)] == [0x89, 0x15, 0, 0]


def test_the_query_data_say_size_and_blocks(flash: Flash) -> None:
    """JESD68.01, table 1 to 4."""
    write(flash, 0x55, Command.QUERY)
    assert bytes(read(flash, n) for n in range(0x10, 0x13)) == b"QRY"
    table = read(flash, 0x15) | read(flash, 0x16) << 8
    assert bytes(read(flash, table + n) for n in range(5)) == b"PRI10"
    assert 1 << read(flash, 0x27) - 1 < SIZE <= 1 << read(flash, 0x27)
    assert 1 << read(flash, 0x2A) == BUFFER
    assert read(flash, 0x2C) == 1
    assert read(flash, 0x2D) + 1 == BLOCKS
    assert (read(flash, 0x2F) | read(flash, 0x30) << 8) * 256 == BLOCK
    assert (read(flash, 0), read(flash, 0xFF)) == (0, 0)


def test_what_is_no_command_has_reads_give_the_array(flash: Flash) -> None:
    write(flash, 0, Command.READ_STATUS, 0xB7)
    assert read(flash, 3) == content(3)


@pytest.mark.parametrize("offset", [0, FIRST - 1, FIRST + SIZE, FLASH_SIZE - 1])
def test_around_it_is_nothing_to_read_or_write(flash: Flash, offset: int) -> None:
    flash.write(offset, 1, Command.READ_STATUS, 0)
    assert flash.read(offset, 1, 0) == 0xFF
    assert read(flash, 3) == content(3)


def test_the_host_says_where_it_is() -> None:
    config = abi.Config()
    assert not has_flash(config)
    config.flash.address, config.flash.size = FLASH, SIZE
    config.flash.array = 0x1234000
    assert has_flash(config)
    flash = Flash()
    flash.reset()
    flash.configure(config)
    assert (flash.address, flash.size, flash.array) == (FLASH, SIZE, 0x1234000)
