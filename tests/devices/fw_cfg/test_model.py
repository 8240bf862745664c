"""fw_cfg: QEMU's docs/specs/fw_cfg.rst."""

import pytest

from tests.devices.fw_cfg.driver import (
    ARCHITECTURE,
    FILES,
    ITEMS,
    LONG,
    MEMORY,
    NONE,
    RAM_SIZE,
    SHORT,
    power_on,
    transfer,
)
from vestige.abi import (
    FIRMWARE_ITEMS_SIZE,
    MAX_FIRMWARE_ITEMS,
    Config,
    FirmwareItem,
    FirmwareKey,
    FirmwareTable,
)
from vestige.lang.intrinsics import CheckFailed, address_of
from vestige.monitor.devices.fw_cfg.model import FwCfg
from vestige.monitor.devices.fw_cfg.spec import Control, Register

SELECT, READ, SKIP, WRITE = Control.SELECT, Control.READ, Control.SKIP, Control.WRITE
AT, TARGET = 0x100, 0x200  # where these tests have an operation's structure, and its data
LONG_DATA, SHORT_DATA = FILES["etc/long"], FILES["opt/short"]
UNKNOWN = 0x3000


@pytest.fixture
def fw_cfg() -> FwCfg:
    model = FwCfg()
    power_on(model)
    return model


def select(fw_cfg: FwCfg, key: int) -> None:
    fw_cfg.write(Register.SELECTOR, 2, key, 0)


def data(fw_cfg: FwCfg, count: int) -> bytes:
    return bytes(fw_cfg.read(Register.DATA, 1, 0) for _ in range(count))


def ram(start: int, size: int) -> bytes:
    return bytes(MEMORY)[start : start + size]


# ---- selector and data -------------------------------------------------------------------------


def test_the_signature_is_selected_when_the_power_comes_on() -> None:
    model = FwCfg()
    model.reset()
    model.configure(Config(firmware_items=ITEMS))
    assert data(model, 6) == b"QEMU\0\0"


def test_the_features_are_the_two_registers_and_dma(fw_cfg: FwCfg) -> None:
    select(fw_cfg, FirmwareKey.ID)
    assert data(fw_cfg, 5) == bytes((3, 0, 0, 0, 0))


def test_an_item_is_read_byte_by_byte_and_zeroes_follow(fw_cfg: FwCfg) -> None:
    select(fw_cfg, LONG)
    assert data(fw_cfg, len(LONG_DATA) + 3) == LONG_DATA + bytes(3)


def test_the_selector_begins_anew(fw_cfg: FwCfg) -> None:
    select(fw_cfg, SHORT)
    assert data(fw_cfg, 3) == b"sho"
    select(fw_cfg, SHORT)
    assert data(fw_cfg, 5) == SHORT_DATA


@pytest.mark.parametrize("key", [SHORT | 0x4000, ARCHITECTURE | 0x4000])
def test_the_bit_for_writing_makes_no_other_item(fw_cfg: FwCfg, key: int) -> None:
    select(fw_cfg, key)
    with_bit = data(fw_cfg, 4)
    select(fw_cfg, key & ~0x4000)
    assert data(fw_cfg, 4) == with_bit != bytes(4)


@pytest.mark.parametrize("key", [NONE, UNKNOWN, SHORT | 0x8000, ARCHITECTURE & 0x7FFF, 0xFFFF])
def test_what_is_empty_or_not_there_reads_0(fw_cfg: FwCfg, key: int) -> None:
    select(fw_cfg, key)
    assert data(fw_cfg, 3) == bytes(3)


def test_without_items_everything_reads_0() -> None:
    model = FwCfg()
    model.reset()
    model.configure(Config())
    select(model, FirmwareKey.SIGNATURE)
    assert data(model, 4) == bytes(4)


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (1, 1), (5, 1), (8, 1), (8, 2), (10, 2)])
def test_bytes_and_other_parts_of_registers_take_no_write(
    fw_cfg: FwCfg, offset: int, size: int
) -> None:
    select(fw_cfg, SHORT)
    before = bytes(fw_cfg)
    fw_cfg.write(offset, size, 0, 0)
    assert bytes(fw_cfg) == before
    assert ram(0, RAM_SIZE) == bytes(RAM_SIZE)


def test_the_selector_can_not_be_read(fw_cfg: FwCfg) -> None:
    assert fw_cfg.read(Register.SELECTOR, 2, 0) == 0
    assert fw_cfg.read(Register.SELECTOR, 1, 0) == 0
    assert data(fw_cfg, 4) == b"QEMU"


def test_what_is_one_access(fw_cfg: FwCfg) -> None:
    accesses = [(offset, size) for offset in range(12) for size in (2, 4)]
    whole = [access for access in accesses if fw_cfg.takes_whole(*access)]
    assert whole == [(0, 2), (4, 4), (8, 4)]


# ---- DMA ---------------------------------------------------------------------------------------


def test_the_address_reads_that_there_is_dma(fw_cfg: FwCfg) -> None:
    for size in (1, 2, 4):
        parts = [fw_cfg.read(offset, size, 0) for offset in range(4, 12, size)]
        assert b"".join(part.to_bytes(size, "little") for part in parts) == b"QEMU CFG"


def test_select_and_read(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, AT, SELECT | READ | SHORT << 16, 5, TARGET) == 0
    assert ram(TARGET, 6) == SHORT_DATA + b"\0"
    assert ram(AT + 4, 12) == bytes((0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 2, 0))


def test_a_read_goes_on_where_the_last_one_ended(fw_cfg: FwCfg) -> None:
    select(fw_cfg, LONG)
    assert data(fw_cfg, 2) == LONG_DATA[:2]
    assert transfer(fw_cfg, AT, READ, 3, TARGET) == 0
    assert transfer(fw_cfg, AT, READ, 3, TARGET + 3) == 0
    assert ram(TARGET, 6) == LONG_DATA[2:8]
    assert data(fw_cfg, 2) == LONG_DATA[8:10]


def test_a_read_beyond_the_end_stores_zeroes(fw_cfg: FwCfg) -> None:
    MEMORY[TARGET : TARGET + 9] = list(b"\xff" * 9)
    assert transfer(fw_cfg, AT, SELECT | READ | SHORT << 16, 8, TARGET) == 0
    assert ram(TARGET, 9) == SHORT_DATA + bytes(3) + b"\xff"


def test_a_skip_goes_on_and_ends_at_the_end(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, AT, SELECT | SKIP | LONG << 16, 300, TARGET) == 0
    assert data(fw_cfg, 1) == LONG_DATA[300:301]
    assert transfer(fw_cfg, AT, SKIP, 0xFFFF_FFFF, TARGET) == 0
    assert data(fw_cfg, 2) == bytes(2)
    assert ram(TARGET, 8) == bytes(8)


def test_a_select_alone_moves_nothing(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, AT, SELECT | SHORT << 16, 3, TARGET) == 0
    assert ram(TARGET, 3) == bytes(3)
    assert data(fw_cfg, 5) == SHORT_DATA


def test_no_item_can_be_written(fw_cfg: FwCfg) -> None:
    MEMORY[TARGET : TARGET + 5] = list(b"other")
    assert transfer(fw_cfg, AT, SELECT | WRITE | SHORT << 16, 5, TARGET) == Control.ERROR
    select(fw_cfg, SHORT)
    assert data(fw_cfg, 5) == SHORT_DATA


def test_a_read_comes_before_a_write_and_that_before_a_skip(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, AT, SELECT | READ | WRITE | SKIP | SHORT << 16, 5, TARGET) == 0
    assert ram(TARGET, 5) == SHORT_DATA
    assert transfer(fw_cfg, AT, SELECT | WRITE | SKIP | SHORT << 16, 5, TARGET) == Control.ERROR


@pytest.mark.parametrize("target", [RAM_SIZE - 3, RAM_SIZE, 1 << 32, (1 << 64) - 2])
def test_data_outside_ram_is_an_error_and_none_is_moved(fw_cfg: FwCfg, target: int) -> None:
    assert transfer(fw_cfg, AT, SELECT | READ | SHORT << 16, 4, target) == Control.ERROR
    assert ram(RAM_SIZE - 4, 4) == bytes(4)


def test_ram_ends_behind_its_last_byte(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, RAM_SIZE - 16, SELECT | READ | SHORT << 16, 5, RAM_SIZE - 5) == 0
    assert transfer(fw_cfg, AT, SELECT | READ | SHORT << 16, 5, RAM_SIZE - 5) == 0
    assert ram(RAM_SIZE - 5, 5) == SHORT_DATA


@pytest.mark.parametrize("what", [READ, WRITE, SKIP])
def test_no_bytes_may_be_moved_to_and_from_anywhere(fw_cfg: FwCfg, what: int) -> None:
    assert transfer(fw_cfg, AT, SELECT | what | SHORT << 16, 0, 1 << 40) == 0


def test_a_structure_that_is_not_all_in_ram_is_an_error(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, RAM_SIZE - 12, 0, 0, 0) == Control.ERROR
    assert ram(RAM_SIZE - 12, 12) == bytes((0, 0, 0, Control.ERROR)) + bytes(8)
    before = ram(0, RAM_SIZE)
    transfer(fw_cfg, RAM_SIZE - 3, 0, 0, 0)
    transfer(fw_cfg, AT + (1 << 32), 0, 0, 0)
    assert ram(0, RAM_SIZE) == before


def test_the_upper_half_of_the_address_is_0_after_an_operation(fw_cfg: FwCfg) -> None:
    transfer(fw_cfg, AT + (1 << 32), 0, 0, 0)
    MEMORY[AT : AT + 16] = list(
        bytes((0, SHORT, 0, SELECT | READ, 0, 0, 0, 5)) + bytes(6) + b"\2\0"
    )
    fw_cfg.write(Register.DMA_LOW, 4, int.from_bytes(AT.to_bytes(4, "big"), "little"), 0)
    assert ram(TARGET, 5) == SHORT_DATA


def test_the_item_goes_on_where_an_operation_fails(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, AT, SELECT | READ | SHORT << 16, 1, RAM_SIZE) == Control.ERROR
    assert transfer(fw_cfg, AT, WRITE, 1, TARGET) == Control.ERROR
    assert data(fw_cfg, 3) == SHORT_DATA[2:]


def test_an_operation_may_overwrite_its_own_structure(fw_cfg: FwCfg) -> None:
    assert transfer(fw_cfg, AT, SELECT | READ | LONG << 16, 16, AT) == 0
    assert ram(AT, 16) == bytes(4) + LONG_DATA[4:16]


# ---- what the host has put there ---------------------------------------------------------------


def bad(**fields: int) -> FirmwareTable:
    table = FirmwareTable(count=1)
    table.items[0] = FirmwareItem(**({"key": 1, "size": 4} | fields))
    return table


@pytest.mark.parametrize(
    "table",
    [
        FirmwareTable(count=MAX_FIRMWARE_ITEMS + 1),
        bad(size=FIRMWARE_ITEMS_SIZE + 1),
        bad(offset=FIRMWARE_ITEMS_SIZE - 3),
        bad(size=0xFFFF_FFFF, offset=2),
    ],
)
def test_an_item_that_is_not_in_the_host_s_memory_ends_the_monitor(
    fw_cfg: FwCfg, table: FirmwareTable
) -> None:
    fw_cfg.items = address_of(table)
    with pytest.raises(CheckFailed):
        select(fw_cfg, 1)


def test_an_item_may_reach_to_the_end_of_the_host_s_memory(fw_cfg: FwCfg) -> None:
    table = bad(offset=FIRMWARE_ITEMS_SIZE - 4)
    fw_cfg.items = address_of(table)
    select(fw_cfg, 1)
    assert fw_cfg.size == 4
