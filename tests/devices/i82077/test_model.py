"""The 82077AA: Intel's data sheet (290166)."""

from collections.abc import Sequence

import pytest

from tests.devices.i82077.bench import (
    AGAIN,
    CHANNEL,
    FROM_MEMORY,
    ON,
    RAM_SIZE,
    SECTOR,
    TO_MEMORY,
    Bench,
    Image,
)
from vestige.monitor.block import Operation
from vestige.monitor.devices.i8237.spec import Register as DmaRegister
from vestige.monitor.devices.i82077.spec import Register

READ, WRITE, VERIFY, READ_TRACK, FORMAT = 0x46, 0x45, 0x56, 0x42, 0x4D
READ_DELETED, WRITE_DELETED = 0x4C, 0x49
MULTI_TRACK, SKIP = 0x80, 0x20
READY = [0x20, 0]  # of SENSE INTERRUPT STATUS after a seek of drive 0 to cylinder 0


@pytest.fixture
def image() -> Image:
    return Image()


@pytest.fixture
def bench(image: Image) -> Bench:
    started = Bench([image])
    started.start()
    return started


def named(
    code: int,
    cylinder: int = 0,
    head: int = 0,
    sector: int = 1,
    *,
    last: int = 18,
    size: int = 2,
    unit: int = 0,
    count: int = 0xFF,
) -> Sequence[int]:
    """A command that names a sector."""
    return code, head << 2 | unit, cylinder, head, sector, size, last, 0x1B, count


def seek(bench: Bench, cylinder: int) -> None:
    assert bench.command(0x0F, 0, cylinder) == []
    assert bench.command(8) == [0x20, cylinder]


# ---- reset and registers ----------------------------------------------------------------------


def test_it_waits_in_reset_for_firmware_and_is_ready_without() -> None:
    assert Bench(firmware=True).status() == 0
    assert Bench().status() == 0x80


def test_a_reset_interrupts_and_each_drive_tells_of_it(image: Image) -> None:
    bench = Bench([image])
    bench.write(Register.OUTPUT, 0)
    assert bench.status() == 0
    assert bench.interrupts == 0
    bench.write(Register.OUTPUT, ON)
    assert bench.interrupts == 1
    assert [bench.command(8) for _ in range(5)] == [
        [0xC0, 0],
        [0xC1, 0],
        [0xC2, 0],
        [0xC3, 0],
        [0x80],
    ]
    assert bench.floppy.line.level == 0


def test_a_reset_by_the_rate_register_ends_by_itself(bench: Bench) -> None:
    bench.write(Register.RATE_SELECT, 0x80)
    assert bench.status() == 0x80
    assert bench.interrupts == 2
    assert bench.command(8) == [0xC0, 0]


def test_a_reset_waits_for_what_is_under_way(bench: Bench, image: Image) -> None:
    bench.hold = True
    bench.program(0x2000, SECTOR, TO_MEMORY)
    bench.command(*named(READ))
    assert bench.status() == 0x10
    bench.write(Register.OUTPUT, 0)
    bench.write(Register.OUTPUT, ON)
    assert bench.status() == 0
    assert bench.interrupts == 1
    bench.hold = False
    bench.settle()
    assert bench.status() == 0x80
    assert bench.interrupts == 2
    assert bytes(bench.ram[0x2000:0x2200]) == bytes(SECTOR)


def test_the_gate_keeps_interrupt_and_dma_back(bench: Bench) -> None:
    bench.write(Register.OUTPUT, ON & ~8)
    bench.program(0x2000, SECTOR, TO_MEMORY)
    bench.command(*named(READ))
    assert bench.status() == 0x50
    bench.write(Register.OUTPUT, ON)
    assert bench.result() == [0, 0, 0, 0, 0, 2, 2]


def test_registers_of_another_mode_are_not_driven(bench: Bench) -> None:
    assert bench.read(Register.STATUS_A) == bench.read(Register.STATUS_B) == 0xFF
    bench.write(Register.TAPE, 2)
    assert bench.read(Register.TAPE) == 0xFE
    assert bench.read(Register.OUTPUT) == ON


def test_a_change_shows_until_the_head_steps_with_a_disk_in(bench: Bench) -> None:
    assert bench.read(Register.INPUT) == 0xFF
    bench.command(7, 0)
    assert bench.read(Register.INPUT) == 0xFF
    bench.command(0x0F, 0, 1)
    assert bench.read(Register.INPUT) == 0x7F


def test_an_empty_drive_always_shows_a_change_but_only_while_it_turns() -> None:
    bench = Bench([None])
    bench.start()
    bench.command(0x0F, 0, 1)
    assert bench.read(Register.INPUT) == 0xFF
    bench.write(Register.OUTPUT, 0x0C)
    assert bench.read(Register.INPUT) == 0x7F


# ---- commands without data --------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 0x18, 0x11, 0x2E, 0x33, 0x4F, 0x87, 0xFF, 0x65])
def test_what_is_no_command_is_answered_at_its_first_byte(bench: Bench, code: int) -> None:
    assert bench.command(code) == [0x80]
    assert bench.interrupts == 1


def test_seeks_go_to_a_cylinder_and_relatively(bench: Bench) -> None:
    seek(bench, 40)
    assert bench.command(0xCF, 0, 5) == []
    assert bench.command(8) == [0x20, 45]
    assert bench.command(0x8F, 4, 50) == []
    assert bench.command(8) == [0x24, 0]
    assert bench.interrupts == 4


def test_seeks_of_two_drives_are_told_one_after_the_other() -> None:
    bench = Bench([Image(), Image()])
    bench.start()
    bench.command(0x0F, 1, 7)
    bench.command(7, 0)
    assert [bench.command(8) for _ in range(3)] == [READY, [0x21, 7], [0x80]]


def test_a_drive_that_is_not_there_finds_no_track_0(bench: Bench) -> None:
    bench.command(7, 1)
    assert bench.command(8) == [0x71, 0]
    assert bench.command(4, 1) == [0x29]


def test_the_drive_status_says_track_0_and_protection() -> None:
    bench = Bench([Image(read_only=True)])
    bench.start()
    assert bench.command(4, 4) == [0x7C]
    bench.command(0x0F, 0, 3)
    assert bench.command(4, 0) == [0x68]


def test_lock_keeps_what_configure_set_over_a_reset(bench: Bench) -> None:
    def dump_after_reset() -> list[int]:
        bench.write(Register.RATE_SELECT, 0x80)
        for _ in range(4):
            bench.command(8)
        return bench.command(0x0E)

    bench.command(0x13, 0, 0x57, 0x20)
    bench.command(0x12, 0x80 | 2 << 2 | 3)
    seek(bench, 3)
    assert bench.command(0x0E) == [3, 0, 0, 0, 0xDF, 2, 0, 0x0B, 0x57, 0x20]
    assert bench.command(0x94) == [0x10]
    assert dump_after_reset() == [3, 0, 0, 0, 0xDF, 2, 0, 0x88, 0x07, 0x20]
    assert bench.command(0x14) == [0]
    assert dump_after_reset() == [3, 0, 0, 0, 0xDF, 2, 0, 0x08, 0x20, 0]
    assert bench.command(0x10) == [0x90]


def test_ids_come_by_one_after_the_other(bench: Bench) -> None:
    seek(bench, 5)
    got = [bench.command(0x4A, 4) for _ in range(19)]
    assert got == [[4, 0, 0, 5, 1, 1 + n % 18, 2] for n in range(19)]


@pytest.mark.parametrize(
    ("rate", "code", "cylinder"), [(1, 0x4A, 0), (0, 0x0A, 0), (0, 0x4A, 80), (0, 0x4A, 83)]
)
def test_without_marks_there_is_no_id(bench: Bench, rate: int, code: int, cylinder: int) -> None:
    bench.write(Register.CONFIGURATION, rate)
    bench.command(0x0F, 0, cylinder)
    assert bench.command(code, 0)[:3] == [0x40, 1, 0]


@pytest.mark.parametrize(("sectors", "rate", "track"), [(1440, 2, 9), (2400, 0, 15), (5760, 3, 36)])
def test_other_disks_have_other_rates_and_tracks(sectors: int, rate: int, track: int) -> None:
    bench = Bench([Image(sectors)])
    bench.start()
    bench.write(Register.CONFIGURATION, rate)
    bench.program(0x2000, SECTOR, TO_MEMORY)
    assert bench.command(*named(READ, sector=track, last=track)) == [0, 0, 0, 1, 0, 1, 2]
    assert bench.requests == [(Operation.READ, 0, track - 1)]


# ---- reading and writing ----------------------------------------------------------------------


def test_a_sector_is_read_by_dma(bench: Bench, image: Image) -> None:
    bench.program(0x2000, SECTOR, TO_MEMORY)
    before = bench.interrupts
    seek(bench, 2)
    assert bench.command(*named(READ, 2, 1, 3)) == [4, 0, 0, 2, 1, 4, 2]
    assert bytes(bench.ram[0x2000:0x2200]) == image.sector(bench.sector_of(2, 1, 3))
    assert bench.interrupts == before + 2
    assert bench.floppy.line.level == 0
    assert bench.port(DmaRegister.STATUS) == 1 << CHANNEL
    assert bench.port(DmaRegister.STATUS) == 0
    assert bench.port(DmaRegister.ALL_MASKS) == 0x0F


def test_many_sectors_of_both_heads(bench: Bench, image: Image) -> None:
    bench.program(0x2000, 36 * SECTOR, TO_MEMORY)
    assert bench.command(*named(READ | MULTI_TRACK)) == [0, 0, 0, 1, 0, 1, 2]
    assert bytes(bench.ram[0x2000 : 0x2000 + 36 * SECTOR]) == image.data[: 36 * SECTOR]


def test_a_track_ends_without_the_end_of_the_count(bench: Bench) -> None:
    bench.program(0x2000, 0x4000, TO_MEMORY)
    assert bench.command(*named(READ, sector=17)) == [0x40, 0x80, 0, 1, 0, 1, 2]


def test_an_end_within_a_sector_ends_after_it(bench: Bench, image: Image) -> None:
    bench.program(0x2000, 100, TO_MEMORY)
    assert bench.command(*named(READ)) == [0, 0, 0, 0, 0, 2, 2]
    assert bytes(bench.ram[0x2000:0x2064]) == image.sector(0)[:100]
    assert bytes(bench.ram[0x2064:0x2200]) == bytes(SECTOR - 100)


def test_a_sector_is_written_and_one_cut_short_has_zeroes(bench: Bench, image: Image) -> None:
    bench.ram[0x3000:0x3400] = [7] * 0x400
    bench.program(0x3000, SECTOR + 10, FROM_MEMORY)
    assert bench.command(*named(WRITE)) == [0, 0, 0, 0, 0, 3, 2]
    assert image.sector(0) == bytes([7] * SECTOR)
    assert image.sector(1) == bytes([7] * 10).ljust(SECTOR, b"\0")


def test_a_protected_disk_is_not_written() -> None:
    bench = Bench([Image(read_only=True)])
    bench.start()
    bench.program(0x3000, SECTOR, FROM_MEMORY)
    assert bench.command(*named(WRITE)) == [0x40, 2, 0, 0, 0, 1, 2]
    assert bench.command(FORMAT, 0, 2, 18, 0x54, 0xF6)[:2] == [0x40, 2]


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        (named(READ, 1), [0x40, 4, 0x10]),
        (named(READ, sector=19), [0x40, 4, 0]),
        (named(READ, sector=0), [0x40, 4, 0]),
        (named(READ, size=3), [0x40, 4, 0]),
        ((READ, 4, 0, 0, 1, 2, 18, 0x1B, 0xFF), [0x44, 4, 0]),
        (named(READ & ~0x40), [0x40, 1, 0]),
        (named(READ, unit=1), [0x41, 1, 0]),
    ],
)
def test_a_sector_that_is_not_there_is_not_found(
    bench: Bench, command: Sequence[int], faults: list[int]
) -> None:
    bench.program(0x2000, SECTOR, TO_MEMORY)
    assert bench.command(*command) == [*faults, *command[2:6]]


def test_an_error_of_the_file_is_a_data_error(bench: Bench, image: Image) -> None:
    image.bad = {1}
    bench.program(0x2000, 0x1000, TO_MEMORY)
    assert bench.command(*named(READ)) == [0x40, 0x20, 0x20, 0, 0, 2, 2]


def test_an_implied_seek_goes_to_the_cylinder(bench: Bench, image: Image) -> None:
    bench.command(0x13, 0, 0x50, 0)
    bench.program(0x2000, SECTOR, TO_MEMORY)
    assert bench.command(*named(READ, 9)) == [0, 0, 0, 9, 0, 2, 2]
    assert bench.command(0x0E)[0] == 9


def test_verify_counts_sectors_or_goes_to_the_last(bench: Bench) -> None:
    assert bench.command(*named(VERIFY)) == [0, 0, 0, 1, 0, 1, 2]
    assert bench.command(VERIFY, 0x80, 0, 0, 3, 2, 18, 0x1B, 4) == [0, 0, 0, 0, 0, 7, 2]
    assert bench.command(VERIFY, 0x80, 0, 0, 3, 2, 18, 0x1B, 40) == [0x40, 0x80, 0, 1, 0, 1, 2]
    assert len(bench.requests) == 18 + 4 + 16


def test_no_sector_is_marked_as_deleted(bench: Bench, image: Image) -> None:
    bench.program(0x2000, 2 * SECTOR, TO_MEMORY)
    assert bench.command(*named(READ_DELETED)) == [0, 0, 0x40, 0, 0, 1, 2]
    assert bytes(bench.ram[0x2000:0x2200]) == image.sector(0)
    assert bench.command(*named(READ_DELETED | SKIP)) == [0x40, 0x80, 0x40, 1, 0, 1, 2]
    assert bench.command(*named(READ_DELETED | SKIP, last=19)) == [0x40, 4, 0x40, 0, 0, 19, 2]
    bench.program(0x2000, SECTOR, FROM_MEMORY)
    assert bench.command(*named(WRITE_DELETED, sector=5)) == [0, 0, 0, 0, 0, 6, 2]
    assert image.sector(4) == image.sector(0)


def test_a_track_is_read_from_its_first_sector_on(bench: Bench, image: Image) -> None:
    bench.program(0x2000, 3 * SECTOR, TO_MEMORY)
    assert bench.command(*named(READ_TRACK)) == [0, 0, 0, 0, 0, 4, 2]
    assert bytes(bench.ram[0x2000:0x2600]) == image.data[: 3 * SECTOR]
    bench.program(0x2000, SECTOR, TO_MEMORY)
    assert bench.command(*named(READ_TRACK, 3))[:3] == [0, 4, 0]
    bench.program(0x2000, 0x4000, TO_MEMORY)
    assert bench.command(*named(READ_TRACK, last=20))[:2] == [0x40, 0x84]


def test_a_track_is_formatted_with_the_byte_that_fills(bench: Bench, image: Image) -> None:
    seek(bench, 3)
    ids = b"".join(bytes([3, 1, sector, 2]) for sector in range(1, 19))
    bench.ram[0x4000 : 0x4000 + len(ids)] = list(ids)
    bench.program(0x4000, len(ids), FROM_MEMORY)
    assert bench.command(FORMAT, 4, 2, 18, 0x54, 0xF6)[:3] == [4, 0, 0]
    first = bench.sector_of(3, 1, 1)
    assert image.data[first * SECTOR : (first + 18) * SECTOR] == b"\xf6" * 18 * SECTOR
    assert image.sector(first + 18) != b"\xf6" * SECTOR
    bench.ram[0x4000:0x4004] = [4, 1, 1, 2]
    bench.program(0x4000, len(ids), FROM_MEMORY)
    assert bench.command(FORMAT, 4, 2, 18, 0x54, 0xF6)[:3] == [0x44, 4, 0]


# ---- DMA --------------------------------------------------------------------------------------


def test_a_masked_channel_is_waited_for(bench: Bench, image: Image) -> None:
    bench.program(0x2000, SECTOR, TO_MEMORY)
    bench.port(DmaRegister.MASK, 4 | CHANNEL)
    assert bench.command(*named(READ)) == []
    assert bench.port(DmaRegister.STATUS) == 0x10 << CHANNEL
    bench.port(DmaRegister.MASK, CHANNEL)
    assert bench.result() == [0, 0, 0, 0, 0, 2, 2]


def test_an_address_stays_in_its_page(bench: Bench, image: Image) -> None:
    bench.program(0x2FF00, SECTOR, TO_MEMORY)
    bench.command(*named(READ))
    assert bytes(bench.ram[0x2FF00:0x30000]) == image.sector(0)[:0x100]
    assert bytes(bench.ram[0x20000:0x20100]) == image.sector(0)[0x100:]
    assert bytes(bench.ram[0x30000:0x30100]) == bytes(0x100)


def test_outside_of_ram_nothing_is_moved(bench: Bench, image: Image) -> None:
    bench.program(RAM_SIZE, SECTOR, TO_MEMORY)
    assert bench.command(*named(READ)) == [0, 0, 0, 0, 0, 2, 2]
    bench.program(RAM_SIZE, SECTOR, FROM_MEMORY)
    assert bench.command(*named(WRITE))[0] == 0
    assert image.sector(0) == b"\xff" * SECTOR
    assert bytes(bench.ram) == bytes(RAM_SIZE)


@pytest.mark.parametrize("mode", [0x40, 0x4C])
def test_a_channel_for_another_direction_moves_nothing(
    bench: Bench, image: Image, mode: int
) -> None:
    bench.program(0x2000, SECTOR, mode | CHANNEL)
    assert bench.command(*named(READ)) == [0, 0, 0, 0, 0, 2, 2]
    assert bytes(bench.ram) == bytes(RAM_SIZE)


def test_a_channel_may_begin_again(bench: Bench, image: Image) -> None:
    bench.program(0x2000, SECTOR, TO_MEMORY | AGAIN)
    for sector in (1, 2):
        assert bench.command(*named(READ, sector=sector))[0] == 0
        assert bytes(bench.ram[0x2000:0x2200]) == image.sector(sector - 1)
    assert bench.port(DmaRegister.ALL_MASKS) == 0x0B


def test_addresses_may_go_down(bench: Bench, image: Image) -> None:
    bench.program(0x21FF, SECTOR, TO_MEMORY | 0x20)
    bench.command(*named(READ, sector=2))
    assert bytes(bench.ram[0x2000:0x2200]) == image.sector(1)[::-1]


def test_a_controller_that_is_off_or_a_cascade_does_not_answer(bench: Bench) -> None:
    bench.program(0x2000, SECTOR, TO_MEMORY)
    bench.port(DmaRegister.COMMAND, 4)
    assert bench.command(*named(READ)) == []
    bench.port(DmaRegister.MODE, 0xC0 | CHANNEL)
    bench.port(DmaRegister.COMMAND, 0)
    assert bench.result() == []
    bench.port(DmaRegister.MODE, TO_MEMORY)
    assert bench.result()[0] == 0


# ---- without DMA ------------------------------------------------------------------------------


def without_dma(bench: Bench) -> None:
    bench.command(3, 0xDF, 0x03)


def test_the_processor_reads_a_sector_by_bytes(bench: Bench, image: Image) -> None:
    without_dma(bench)
    before = bench.interrupts
    bench.command(*named(READ, sector=18))
    assert bench.interrupts == before + 1
    assert bench.status() == 0xF0
    assert bench.take(SECTOR) == image.sector(17)
    assert bench.interrupts == before + 2
    assert bench.result() == [0x40, 0x80, 0, 1, 0, 1, 2]


def test_the_processor_writes_sectors_by_bytes(bench: Bench, image: Image) -> None:
    without_dma(bench)
    bench.command(*named(WRITE, sector=17))
    assert bench.status() == 0xB0
    bench.put([9] * 2 * SECTOR)
    assert bench.result() == [0x40, 0x80, 0, 1, 0, 1, 2]
    assert image.sector(16) == image.sector(17) == bytes([9] * SECTOR)


def test_the_processor_formats_by_bytes(bench: Bench, image: Image) -> None:
    without_dma(bench)
    bench.command(FORMAT, 0, 2, 2, 0x54, 0x5A)
    bench.put([0, 0, 2, 2, 0, 0, 1, 2])
    assert bench.result()[:3] == [0, 0, 0]
    assert image.data[: 2 * SECTOR] == b"\x5a" * 2 * SECTOR


def test_the_data_register_is_0_and_takes_nothing_where_it_is_not_ready(bench: Bench) -> None:
    assert bench.read(Register.DATA) == 0
    bench.hold = True
    bench.command(*named(READ))
    assert bench.read(Register.DATA) == 0
    bench.write(Register.DATA, 0x10)
    assert bench.status() == 0x10
