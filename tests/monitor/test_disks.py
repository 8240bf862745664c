"""A guest's disk commands, all the way: ports, model, ring, and the interrupt back."""

import struct

import pytest

from tests.monitor.rig import Rig
from vestige import abi
from vestige.monitor.drivers.ring.spec import Errno

COMMAND_BLOCK, BUS_MASTER = abi.PORT_IDE, abi.PORT_IDE_BUS_MASTER
READ_SECTORS, READ_DMA, WRITE_DMA, FLUSH = 0x20, 0xC8, 0xCA, 0xE7
VECTOR = 0x51
DATA = 0x10_0000  # guest-physical
ENOSPC = 28
PRD = 0x1000


@pytest.fixture
def rig() -> Rig:
    """A machine with a disk, its function enabled, its interrupt unmasked."""
    rig = Rig(disks=[bytearray(i * 7 & 0xFF for i in range(256 * 512))], cpus=2).start()
    rig.out(abi.PORT_PCI_ADDRESS, 1 << 31 | abi.IDE_SLOT << 11 | 4, 4)
    rig.out(abi.PORT_PCI_DATA, 5, 2)
    rig.enable_pin(abi.PIN_PCI_INTA, VECTOR)
    rig.rung.clear()
    rig.calls.clear()
    return rig


def command(rig: Rig, code: int, lba: int = 0, count: int = 0) -> None:
    """A 28-bit command to device 0 of the primary channel."""
    for register, value in ((2, count), (3, lba), (4, lba >> 8), (5, lba >> 16), (6, 0xE0)):
        rig.out(COMMAND_BLOCK + register, value & 0xFF)
    rig.out(COMMAND_BLOCK + 7, code)


def start_dma(rig: Rig, code: int, lba: int, regions: list[tuple[int, int]]) -> None:
    """A DMA command over these (address, length) regions of RAM."""
    table = b"".join(
        struct.pack("<IHH", address, length & 0xFFFF, 0x8000 * (number == len(regions) - 1))
        for number, (address, length) in enumerate(regions)
    )
    memory = memoryview(rig.memory).cast("B")
    memory[PRD : PRD + len(table)] = table
    rig.out(BUS_MASTER + 4, PRD, 4)
    rig.out(BUS_MASTER + 2, 6)
    rig.out(BUS_MASTER, 8 if code == READ_DMA else 0)
    command(rig, code, lba, sum(length for _, length in regions) // 512)
    rig.out(BUS_MASTER, 9 if code == READ_DMA else 1)


def test_a_sector_read_by_pio_comes_from_the_image(rig: Rig) -> None:
    command(rig, READ_SECTORS, 3, 2)
    for sector in (3, 4):
        assert rig.inp(COMMAND_BLOCK + 7) == 0x58
        data = rig.port(COMMAND_BLOCK, 2, bytes(512), write=False)
        assert data == rig.disks[0][sector * 512 : sector * 512 + 512]
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50
    assert rig.rung == [abi.PIN_PCI_INTA] * 2


def test_a_dma_read_goes_straight_into_ram(rig: Rig) -> None:
    start_dma(rig, READ_DMA, 8, [(DATA, 4096), (DATA + 0x10000, 1024)])
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.inp(BUS_MASTER + 2) & 7 == 4
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50
    memory = bytes(rig.memory)
    assert memory[DATA : DATA + 4096] == rig.disks[0][8 * 512 : 16 * 512]
    assert memory[DATA + 0x10000 : DATA + 0x10400] == rig.disks[0][16 * 512 : 18 * 512]
    assert rig.pinned == [0]
    assert rig.ring.wakeups == 0
    assert rig.calls.count(abi.Call.KICK) == 1


def test_a_dma_write_and_a_flush_reach_the_image_in_this_order(rig: Rig) -> None:
    memory = memoryview(rig.memory).cast("B")
    memory[DATA : DATA + 1024] = bytes(1024)
    start_dma(rig, WRITE_DMA, 4, [(DATA, 1024)])
    assert rig.disks[0][4 * 512 : 6 * 512] == bytes(1024)
    rig.inp(COMMAND_BLOCK + 7)
    command(rig, FLUSH)
    assert rig.ring.flushed == [0]
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50


def test_what_completes_later_is_the_workers(rig: Rig) -> None:
    rig.ring.inline = False
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    assert rig.rung == []
    assert rig.inp(COMMAND_BLOCK + 7) & 0x88
    rig.ring.complete()
    assert rig.ring.wakeups == 1
    rig.work()
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50


def test_an_error_of_the_backing_file_is_the_guests_ata_error(rig: Rig) -> None:
    rig.ring.answer = lambda submission: -Errno.EIO
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    assert rig.inp(COMMAND_BLOCK + 7) & 1
    assert rig.rung == [abi.PIN_PCI_INTA]


def test_the_host_is_told_once_of_a_file_that_fails(rig: Rig) -> None:
    rig.ring.answer = lambda submission: -ENOSPC
    for _ in range(3):
        start_dma(rig, WRITE_DMA, 0, [(DATA, 512)])
        assert rig.inp(COMMAND_BLOCK + 7) == 0x41  # DRDY, ERR
        assert rig.inp(COMMAND_BLOCK + 1) == 0x04  # ABRT
    assert rig.told == [b""]
    command(rig, FLUSH)
    report = rig.shared.statistics.disks[0]
    assert (report.read, report.write, report.flush, report.discard) == (0, ENOSPC, ENOSPC, 0)
    assert rig.told == [b""] * 2
    rig.ring.answer = lambda submission: None
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50
    assert rig.told == [b""] * 2


def test_another_reason_is_told_again(rig: Rig) -> None:
    answers = iter([-ENOSPC, -Errno.EIO])
    rig.ring.answer = lambda submission: next(answers)
    for _ in range(2):
        start_dma(rig, WRITE_DMA, 0, [(DATA, 512)])
    assert rig.told == [b""] * 2
    assert rig.shared.statistics.disks[0].write == Errno.EIO


def test_what_is_done_when_it_is_tried_again_is_no_failure(rig: Rig) -> None:
    answers = iter([-Errno.EAGAIN, -Errno.EFAULT, None])
    rig.ring.answer = lambda submission: next(answers)
    start_dma(rig, WRITE_DMA, 0, [(DATA, 512)])
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50
    assert rig.told == []


def test_ram_that_cannot_be_registered_is_an_error_and_is_tried_anew(rig: Rig) -> None:
    rig.pin_answer = 12
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    assert rig.inp(COMMAND_BLOCK + 7) & 1
    rig.pin_answer = 0
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    assert rig.inp(COMMAND_BLOCK + 7) == 0x50


def test_a_ring_that_takes_nothing_is_kicked_again_by_time(rig: Rig) -> None:
    full = rig.ring.enter
    rig.ring.enter = lambda most=0: None  # type: ignore[method-assign]
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    assert rig.rung == []
    rig.ring.enter = full  # type: ignore[method-assign]
    assert rig.machine.next_deadline() - rig.now <= 1_000_000
    rig.now += 1_000_000
    rig.work()
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.timer == 0


def test_a_completion_between_a_kick_and_its_end_is_not_lost(rig: Rig) -> None:
    """Another CPU's request completes while this one kicks: the flag keeps the worker asleep."""
    rig.ring.inline = False
    start_dma(rig, READ_DMA, 0, [(DATA, 512)])
    waiting = rig.ring.taken.pop()
    enter = rig.ring.enter

    def enter_and_complete(most: int = 1 << 32) -> None:
        enter(most)
        rig.ring.finish(waiting)

    rig.ring.enter = enter_and_complete  # type: ignore[method-assign]
    for character in b"x\n":
        rig.out(abi.PORT_UART, character, cpu=1)
    assert rig.ring.wakeups == 0
    assert rig.rung == [abi.PIN_PCI_INTA]


def test_bytes_and_operations_are_counted(rig: Rig) -> None:
    start_dma(rig, READ_DMA, 0, [(DATA, 4096)])
    command(rig, FLUSH)
    statistics = rig.shared.statistics
    assert (statistics.reads, statistics.read_bytes, statistics.flushes) == (1, 4096, 1)
    assert statistics.doorbells == len(rig.rung)
    assert rig.cpus[0].calls[abi.Call.KICK] == rig.calls.count(abi.Call.KICK)
