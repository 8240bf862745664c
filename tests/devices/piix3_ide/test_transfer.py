"""PIO through the Data register, and DMA between medium and guest RAM."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import BUS_MASTER, PRIMARY, RAM_SIZE, Rig
from vestige.monitor.block import Operation
from vestige.monitor.devices.piix3_ide.spec import Command

READY, FAILED, DATA = 0x50, 0x41, 0x58
TABLE, TARGET = 0x1000, 0x4000


def pattern(sectors: int) -> bytes:
    return b"".join((0xC0FFEE00 + i).to_bytes(4, "little") for i in range(128 * sectors))


# ---- PIO --------------------------------------------------------------------------------------


def test_read_sectors_interrupts_before_each_sector(rig: Rig) -> None:
    rig.command(Command.READ_SECTORS, lba=9, count=3)
    for i in range(3):
        assert (rig.status(), rig.edges[0]) == (DATA, i + 1)
        assert rig.read_sectors() == rig.disks[0].sector(9 + i)
    assert (rig.status(), rig.edges[0]) == (READY, 3)


def test_write_sectors_interrupts_after_each_sector(rig: Rig) -> None:
    data = pattern(3)
    rig.command(Command.WRITE_SECTORS, lba=9, count=3)
    for i in range(3):
        assert (rig.status(), rig.edges[0]) == (DATA, i)
        rig.write_string(PRIMARY, 2, data[512 * i : 512 * i + 512])
    assert (rig.status(), rig.edges[0]) == (READY, 3)
    assert bytes(rig.disks[0].data[9 * 512 : 12 * 512]) == data


@pytest.mark.parametrize("size", [2, 4])
def test_single_accesses_move_what_a_string_moves(rig: Rig, size: int) -> None:
    data = pattern(1)
    rig.command(Command.WRITE_SECTORS, lba=1, count=1)
    for i in range(0, 512, size):
        rig.write(PRIMARY, int.from_bytes(data[i : i + size], "little"), size)
    rig.command(Command.READ_SECTORS, lba=1, count=1)
    words = (rig.read(PRIMARY, size).to_bytes(size, "little") for _ in range(512 // size))
    assert b"".join(words) == data


def test_multiple_commands_move_blocks_and_a_last_smaller_one(rig: Rig) -> None:
    rig.command(Command.SET_MULTIPLE_MODE, count=16)
    edges = rig.edges[0]
    rig.command(Command.READ_MULTIPLE, lba=100, count=37)
    data = b""
    for sectors in (16, 16, 5):
        assert rig.status() == DATA
        data += rig.read_string(PRIMARY, 4, sectors * 128)
    assert data == bytes(rig.disks[0].data[100 * 512 : 137 * 512])
    assert rig.edges[0] - edges == 3
    assert [request[2] for request in rig.requests] == [16, 16, 5]


def test_a_string_longer_than_the_block_ends_with_it(rig: Rig) -> None:
    rig.command(Command.READ_SECTORS, lba=5, count=2)
    data = rig.read_string(PRIMARY, 2, 512)
    assert data == rig.disks[0].sector(5) + bytes(512)
    assert rig.read_sectors() == rig.disks[0].sector(6)


def test_the_drive_is_busy_while_the_medium_is_read(make_rig: MakeRig) -> None:
    rig = make_rig(immediate=False)
    rig.command(Command.READ_SECTORS, lba=5, count=1)
    assert rig.status() & 0x88 == 0x80
    assert rig.read_sectors() == bytes(512)
    assert rig.edges[0] == 0
    rig.serve()
    assert rig.read_sectors() == rig.disks[0].sector(5)


def test_a_byte_of_data_takes_a_word_along(rig: Rig) -> None:
    rig.command(Command.WRITE_SECTORS, lba=1, count=1)
    rig.write_string(PRIMARY, 2, pattern(1))
    rig.command(Command.READ_SECTORS, lba=1, count=1)
    assert [rig.read(PRIMARY), rig.read(PRIMARY, 2)] == [pattern(1)[0], 0xC0FF]


def test_data_is_neither_read_nor_taken_in_the_wrong_direction(rig: Rig) -> None:
    rig.command(Command.WRITE_SECTORS, lba=1, count=1)
    assert rig.read_string(PRIMARY, 2, 256) == bytes(512)
    assert rig.requests == []
    rig.write_string(PRIMARY, 2, pattern(1))
    rig.command(Command.READ_SECTORS, lba=1, count=1)
    rig.write_string(PRIMARY, 2, bytes(512))
    assert rig.read_sectors() == pattern(1)


def test_a_doubleword_at_a_blocks_last_word_gets_that_word_alone(rig: Rig) -> None:
    rig.command(Command.WRITE_SECTORS, lba=1, count=1)
    rig.write_string(PRIMARY, 2, pattern(1))
    rig.command(Command.READ_SECTORS, lba=1, count=1)
    rig.read_string(PRIMARY, 2, 255)
    assert rig.read(PRIMARY, 4) == 0xC0FF
    assert rig.status() == READY


# ---- DMA --------------------------------------------------------------------------------------


def test_a_dma_read_goes_to_the_regions_in_one_request(rig: Rig) -> None:
    rig.prd(TABLE, (TARGET, 512), (TARGET + 0x1000, 1024))
    rig.start_dma(TABLE, to_memory=True)
    rig.command(Command.READ_DMA, lba=20, count=3)
    assert (rig.bus_master_status(), rig.status(), rig.edges[0]) == (0x04, READY, 1)
    assert rig.peek(TARGET, 512) == rig.disks[0].sector(20)
    assert rig.peek(TARGET + 0x1000, 1024) == rig.disks[0].sector(21) + rig.disks[0].sector(22)
    assert rig.requests == [(Operation.READ, 20, 3, 2)]


def test_a_dma_write_waits_for_the_bus_master(rig: Rig) -> None:
    rig.poke(TARGET, pattern(2))
    rig.prd(TABLE, (TARGET, 1024))
    rig.command(Command.WRITE_DMA_EXT, lba=30, count=2, wide=True)
    assert (rig.status(), rig.requests) == (DATA, [])
    rig.start_dma(TABLE, to_memory=False)
    assert (rig.bus_master_status(), rig.status()) == (0x04, READY)
    assert bytes(rig.disks[0].data[30 * 512 : 32 * 512]) == pattern(2)


def test_regions_may_cut_sectors_anywhere(rig: Rig) -> None:
    rig.prd(TABLE, (TARGET, 2), (TARGET + 0x100, 700), (TARGET + 0x800, 834))
    rig.command(Command.READ_DMA, lba=40, count=3)
    rig.start_dma(TABLE, to_memory=True)
    data = rig.peek(TARGET, 2) + rig.peek(TARGET + 0x100, 700) + rig.peek(TARGET + 0x800, 834)
    assert data == bytes(rig.disks[0].data[40 * 512 : 43 * 512])
    assert rig.requests == [(Operation.READ, 40, 3, 3)]


def test_regions_that_follow_each_other_become_one_segment(rig: Rig) -> None:
    rig.prd(TABLE, *((TARGET + 4096 * i, 4096) for i in range(32)))
    rig.command(Command.READ_DMA, lba=0, count=0)
    rig.start_dma(TABLE, to_memory=True)
    assert rig.requests == [(Operation.READ, 0, 256, 1)]


def test_more_regions_than_segments_go_in_rounds(rig: Rig) -> None:
    regions = [(TARGET + 0x400 * i, 512) for i in range(256)]
    rig.prd(TABLE, *regions)
    rig.command(Command.READ_DMA, lba=0, count=0)
    rig.start_dma(TABLE, to_memory=True)
    assert rig.requests == [(Operation.READ, 0, 128, 128), (Operation.READ, 128, 128, 128)]
    for i, (address, length) in enumerate(regions):
        assert rig.peek(address, length) == rig.disks[0].sector(i)
    assert (rig.status(), rig.edges[0]) == (READY, 1)


@pytest.mark.parametrize("code", [Command.READ_DMA, Command.WRITE_DMA])
def test_a_sector_in_more_pieces_than_segments_is_copied(rig: Rig, code: Command) -> None:
    rig.prd(TABLE, *((TARGET + 4 * i, 2) for i in range(512)))
    for i in range(512):
        rig.poke(TARGET + 4 * i, i.to_bytes(2, "little"))
    rig.command(code, lba=8, count=2)
    rig.start_dma(TABLE, to_memory=True)
    memory = b"".join(rig.peek(TARGET + 4 * i, 2) for i in range(512))
    assert memory == rig.disks[0].sector(8) + rig.disks[0].sector(9)
    assert (rig.status(), rig.bus_master_status()) == (READY, 0x04)


def test_a_longer_table_stays_active(rig: Rig) -> None:
    rig.prd(TABLE, (TARGET, 1024))
    rig.command(Command.READ_DMA, lba=1, count=1)
    rig.start_dma(TABLE, to_memory=True)
    assert (rig.bus_master_status(), rig.status()) == (0x05, READY)
    rig.write(BUS_MASTER, 0)
    assert rig.bus_master_status() == 0x04


def test_a_shorter_table_ends_the_bus_master_without_an_interrupt(rig: Rig) -> None:
    rig.prd(TABLE, (TARGET, 1024))
    rig.command(Command.READ_DMA, lba=1, count=3)
    rig.start_dma(TABLE, to_memory=True)
    assert (rig.bus_master_status(), rig.status(), rig.edges[0]) == (0x00, DATA, 0)
    assert rig.peek(TARGET, 1024) == rig.disks[0].sector(1) + rig.disks[0].sector(2)
    rig.prd(TABLE, (TARGET, 512))
    rig.write(BUS_MASTER, 0)
    rig.start_dma(TABLE, to_memory=True)
    assert (rig.bus_master_status(), rig.status()) == (0x04, READY)
    assert rig.peek(TARGET, 512) == rig.disks[0].sector(3)


@pytest.mark.parametrize(
    ("table", "region"),
    [
        (TABLE, (RAM_SIZE - 256, 512)), (TABLE, (RAM_SIZE, 512)), (TABLE, (0xFFFF_FFFE, 512)),
        (RAM_SIZE - 4, None), (0xFFFF_FFF8, None),
    ],
)  # fmt: skip
def test_memory_that_is_not_there_is_the_bus_master_s_error(
    rig: Rig, table: int, region: tuple[int, int] | None
) -> None:
    if region is not None:
        rig.prd(table, (TARGET, 512), region)
    rig.command(Command.WRITE_DMA, lba=1, count=2)
    rig.start_dma(table, to_memory=False)
    assert (rig.bus_master_status(), rig.status(), rig.edges[0]) == (0x02, DATA, 0)
    assert rig.read_config(0x06, 2) & 0x2000
    rig.write_config(0x06, 2, 0x2000)
    assert not rig.read_config(0x06, 2) & 0x2000
    rig.write(BUS_MASTER + 2, 0x02)
    assert rig.bus_master_status() == 0


def test_an_unreadable_sector_ends_dma_with_the_drive_s_error(rig: Rig) -> None:
    rig.disks[0].bad.add(6)
    rig.prd(TABLE, (TARGET, 2048))
    rig.command(Command.READ_DMA, lba=5, count=4)
    rig.start_dma(TABLE, to_memory=True)
    assert (rig.status(), rig.error(), rig.edges[0]) == (FAILED, 0x40, 1)
    assert rig.bus_master_status() == 0x05


def test_an_unwritable_sector_ends_dma_with_the_drive_s_error(rig: Rig) -> None:
    rig.disks[0].bad.add(6)
    rig.prd(TABLE, (TARGET, 2048))
    rig.command(Command.WRITE_DMA, lba=5, count=4)
    rig.start_dma(TABLE, to_memory=False)
    assert (rig.status(), rig.error(), rig.edges[0]) == (FAILED, 0x04, 1)


def test_stopping_the_bus_master_keeps_the_drive_waiting(make_rig: MakeRig) -> None:
    rig = make_rig(immediate=False)
    rig.prd(TABLE, *((TARGET + 0x400 * i, 512) for i in range(200)))
    rig.command(Command.READ_DMA, lba=0, count=200)
    rig.start_dma(TABLE, to_memory=True)
    rig.write(BUS_MASTER, 0)
    rig.serve()
    assert (rig.serve(), rig.status(), rig.edges[0]) == (False, DATA, 0)
    rig.prd(TABLE, (TARGET, 72 * 512))
    rig.start_dma(TABLE, to_memory=True)
    rig.serve()
    assert (rig.status(), rig.edges[0]) == (READY, 1)
    assert rig.peek(TARGET, 512) == rig.disks[0].sector(128)


def test_without_pci_s_bus_master_bit_nothing_moves(rig: Rig) -> None:
    rig.write_config(0x04, 2, 0x0001)
    rig.prd(TABLE, (TARGET, 512))
    rig.command(Command.READ_DMA, lba=1, count=1)
    rig.start_dma(TABLE, to_memory=True)
    assert (rig.bus_master_status(), rig.status(), rig.requests) == (0x01, DATA, [])
    rig.write_config(0x04, 2, 0x0005)
    assert (rig.bus_master_status(), rig.status()) == (0x04, READY)


def test_a_table_rewritten_during_a_copy_is_followed_safely(make_rig: MakeRig) -> None:
    rig = make_rig(immediate=False)
    rig.prd(TABLE, *((TARGET + 4 * i, 2) for i in range(256)))
    rig.command(Command.READ_DMA, lba=8, count=1)
    rig.start_dma(TABLE, to_memory=True)
    rig.prd(TABLE, *((RAM_SIZE, 512) for _ in range(256)))
    rig.serve()
    assert (rig.bus_master_status(), rig.status()) == (0x02, DATA)
