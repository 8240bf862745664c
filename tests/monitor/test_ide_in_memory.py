"""The IDE in memory, all the way: pages the guest reads, posted starts, what must not overtake."""

import ctypes
import struct

import pytest

from tests.monitor.rig import Rig
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct

COMMAND_BLOCK = abi.PORT_IDE
COMMAND, STATUS, TABLE = (abi.IDE_MEMORY_BUS_MASTER + offset for offset in (0, 2, 4))
CONTROL, OTHER_CONTROL = abi.IDE_MEMORY_CONTROL + 2, abi.IDE_MEMORY_SECONDARY_CONTROL + 2
READ_DMA, RECALIBRATE = 0xC8, 0x10
CONFIG = 1 << 31 | abi.IDE_SLOT << 11
PRD, DATA = 0x1000, 0x10_0000
OFFER, START, TO_MEMORY, ACTIVE, INTERRUPT = 0x10, 0x01, 0x08, 0x01, 0x04


@pytest.fixture
def rig() -> Rig:
    """Four disks, the function enabled, its interrupt unmasked."""
    disk = bytearray(i * 7 & 0xFF for i in range(256 * 512))
    rig = Rig(disks=[disk, disk, disk, disk], cpus=2, ide_in_memory=True).start()
    set_config(rig, 4, 7)
    rig.enable_pin(abi.PIN_PCI_INTA, 0x51)
    rig.rung.clear()
    rig.calls.clear()
    return rig


def set_config(rig: Rig, register: int, value: int, size: int = 2) -> None:
    rig.out(abi.PORT_PCI_ADDRESS, CONFIG | register, 4)
    rig.out(abi.PORT_PCI_DATA, value, size)


def prepare(rig: Rig, lba: int = 8, channel: int = 0) -> None:
    """A read of one sector, all but the start."""
    base = COMMAND + 8 * channel
    memoryview(rig.memory).cast("B")[PRD : PRD + 8] = struct.pack("<IHH", DATA, 512, 0x8000)
    rig.write(base + 4, PRD)
    rig.write(base, TO_MEMORY, 1)
    block = (abi.PORT_IDE, abi.PORT_IDE_SECONDARY)[channel]
    for register, value in ((2, 1), (3, lba), (4, 0), (5, 0), (6, 0xE0), (7, READ_DMA)):
        rig.out(block + register, value)


def data(rig: Rig) -> bytes:
    return bytes(rig.memory)[DATA : DATA + 512]


def sector(rig: Rig, lba: int) -> bytes:
    return bytes(rig.disks[0][lba * 512 : lba * 512 + 512])


def traps(rig: Rig, kind: int) -> dict[int, int]:
    found = rig.shared.statistics.traps
    return {trap.address: trap.count for trap in found if trap.count and trap.kind == kind}


# ---- the pages ---------------------------------------------------------------------------------


def test_before_the_guest_lets_it_decode_the_pages_read_ones() -> None:
    rig = Rig(disks=[bytearray(512)], ide_in_memory=True).start()
    assert bytes(rig.pages_shown) == b"\xff" * len(rig.pages_shown)


def test_the_pages_show_what_a_trap_would_be_answered(rig: Rig) -> None:
    prepare(rig)
    for page in range(abi.IDE_MEMORY_PAGES):
        for offset in (*range(20), 0x800, 0xFFF):
            address = abi.IDE_MEMORY + page * abi.IDE_MEMORY_PAGE + offset
            assert rig.look(address) == rig.read(address, 1)


def test_a_moved_bar_leaves_ones_and_is_answered_at_its_new_place(rig: Rig) -> None:
    assert rig.look(CONTROL) == 0x50
    set_config(rig, 0x14, 0xD800_0000, 4)
    assert rig.look(CONTROL) == 0xFF
    assert rig.read(0xD800_0002, 1) == 0x50
    set_config(rig, 0x20, abi.IDE_MEMORY_CONTROL, 4)
    assert rig.look(abi.IDE_MEMORY_CONTROL, 4) == 0
    assert rig.look(COMMAND, 4) == 0xFFFF_FFFF
    set_config(rig, 0x20, abi.IDE_MEMORY_BUS_MASTER, 4)
    set_config(rig, 0x14, abi.IDE_MEMORY_CONTROL, 4)
    assert (rig.look(CONTROL), rig.look(COMMAND, 4)) == (0x50, 0)


def test_stores_beside_the_registers_change_nothing(rig: Rig) -> None:
    before = bytes(rig.pages_shown)
    for address in (abi.IDE_MEMORY_CONTROL, CONTROL + 1, COMMAND + 16, COMMAND + 0xFFC):
        rig.write(address, 0, 1)
    assert bytes(rig.pages_shown) == before


def test_the_pages_are_current_when_the_interrupt_comes(rig: Rig) -> None:
    shown: list[tuple[int, int]] = []
    ring = rig.port_out8

    def look_first(port: int, value: int) -> None:
        if port == abi.PORT_DOORBELL + abi.PIN_PCI_INTA:
            shown.append((rig.look(CONTROL), rig.look(STATUS)))
        ring(port, value)

    rig.port_out8 = look_first  # type: ignore[method-assign]
    rig.ring.inline = False
    prepare(rig)
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    rig.work()
    assert rig.look(STATUS) == ACTIVE
    rig.ring.complete()
    rig.work()
    assert shown == [(0x50, INTERRUPT)]


def test_without_pages_everything_traps() -> None:
    rig = Rig(disks=[bytearray(512)], ide_in_memory=True)
    rig.shared.config.shadow = 0
    rig.start()
    set_config(rig, 4, 7)
    assert rig.read(CONTROL, 1) == 0x50
    assert bytes(rig.pages_shown) == bytes(len(rig.pages_shown))


# ---- queued stores -----------------------------------------------------------------------------


class CoalescedPage(Struct):
    """KVM's ring page, small."""

    ring: abi.CoalescedRing
    entries: abi.CoalescedWrite[8]


def queue(rig: Rig, page: CoalescedPage, address: int, value: int, size: int) -> None:
    """What KVM does instead of an exit."""
    first, count = next(
        zone for zone in abi.COALESCED_MEMORY if address in range(zone[0], sum(zone))
    )
    assert address + size <= first + count
    entry = page.entries[page.ring.last]
    entry.address, entry.length, entry.port = address, size, 0
    ctypes.memmove(address_of(entry.data), value.to_bytes(8, "little"), 8)
    page.ring.last += 1


def test_queued_stores_show_from_the_next_trap_on_and_come_before_a_start(rig: Rig) -> None:
    page = CoalescedPage()
    rig.shared.config.coalesced = address_of(page)
    rig.shared.config.coalesced_entries = 8
    queue(rig, page, TABLE, 0x5000, 4)
    queue(rig, page, STATUS, 0x26, 1)
    assert rig.look(TABLE, 4) == 0
    rig.inp(COMMAND_BLOCK + 7)
    assert (rig.look(TABLE, 4), rig.look(STATUS)) == (0x5000, 0x20)
    prepare(rig)
    queue(rig, page, TABLE, PRD, 4)
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    rig.work()
    assert data(rig) == sector(rig, 8)


# ---- posted starts -----------------------------------------------------------------------------


def test_a_posted_start_moves_the_data_and_interrupts(rig: Rig) -> None:
    prepare(rig)
    offered = rig.look(COMMAND)
    assert (offered, rig.look(STATUS)) == (OFFER | TO_MEMORY, ACTIVE)
    rig.post(COMMAND, offered | START)
    rig.work()
    assert data(rig) == sector(rig, 8)
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert (rig.look(COMMAND), rig.look(STATUS)) == (START | TO_MEMORY, INTERRUPT)
    kind = abi.TrapKind.MEMORY | abi.TrapKind.WRITE | abi.TrapKind.POSTED
    assert traps(rig, kind) == {COMMAND: 1}
    assert rig.shared.statistics.fences == 0


def test_both_channels_starts_at_once(rig: Rig) -> None:
    prepare(rig, channel=0)
    prepare(rig, channel=1)
    for channel in (0, 1):
        rig.post(COMMAND + 8 * channel, OFFER | START | TO_MEMORY)
    rig.work()
    assert [rig.look(STATUS + 8 * channel) for channel in (0, 1)] == [INTERRUPT, INTERRUPT]
    assert rig.rung == [abi.PIN_PCI_INTA]


def test_a_stop_comes_after_the_start_that_was_posted_before_it(rig: Rig) -> None:
    prepare(rig)
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    rig.write(COMMAND, TO_MEMORY, 1)
    assert data(rig) == sector(rig, 8)
    assert rig.look(COMMAND) == TO_MEMORY
    assert rig.shared.statistics.fences == 1
    rig.work()
    assert (rig.look(COMMAND), rig.look(STATUS)) == (TO_MEMORY, INTERRUPT)


def test_a_reset_comes_after_the_start_that_was_posted_before_it(rig: Rig) -> None:
    rig.ring.inline = False
    prepare(rig)
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    rig.write(CONTROL, 4, 1)
    rig.write(CONTROL, 0, 1)
    assert rig.look(CONTROL) == 0x80  # the transfer is under way: busy until it has ended
    rig.ring.complete()
    rig.work()
    assert (rig.look(CONTROL), rig.rung) == (0x50, [])
    assert rig.shared.statistics.fences == 1


@pytest.mark.parametrize(("before", "size"), [(2, 4), (1, 2), (2, 8)])
def test_a_wide_access_reaches_the_control_register_in_the_middle_of_it(
    rig: Rig, before: int, size: int
) -> None:
    address = CONTROL - before
    assert rig.read(address, 4) == rig.look(address, 4) & (1 << 32) - 1
    prepare(rig)
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    rig.write(address, 4 << 8 * before, size)
    assert rig.shared.statistics.fences == 1
    rig.work()
    assert rig.look(CONTROL) == 0x80  # it resets until the bit is clear
    rig.write(address, 0, size)
    assert rig.look(CONTROL) == 0x50


@pytest.mark.parametrize("register", [4, 0x20])
def test_a_start_posted_before_decoding_ends_is_done(rig: Rig, register: int) -> None:
    prepare(rig)
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    set_config(rig, register, 5)
    assert data(rig) == sector(rig, 8)
    assert rig.shared.statistics.fences == 1


def test_what_has_nothing_to_do_with_the_start_does_not_wait(rig: Rig) -> None:
    prepare(rig)
    rig.out(abi.PORT_UART, ord("x"), cpu=1)
    rig.inp(COMMAND_BLOCK + 7, cpu=1)
    rig.write(abi.IOAPIC, 0x10, cpu=1)
    rig.read(STATUS, 1, cpu=1)
    assert rig.shared.statistics.fences == 0


def test_without_an_offer_nothing_waits(rig: Rig) -> None:
    rig.write(COMMAND, TO_MEMORY, 1)
    rig.write(CONTROL, 0, 1)
    rig.out(COMMAND_BLOCK + 7, RECALIBRATE)
    set_config(rig, 4, 7)
    assert rig.shared.statistics.fences == 0


def test_a_cpu_waits_for_the_fence_of_another(rig: Rig) -> None:
    prepare(rig)
    rig.machine.fence.asked = 1  # CPU 1 has asked, its interrupt is on the way
    rig.worker.signals[abi.FENCE_SIGNAL] = 1
    rig.post(COMMAND, OFFER | START | TO_MEMORY)
    rig.write(COMMAND, TO_MEMORY, 1)
    assert rig.machine.fence.asked == 0
    assert rig.worker.signals[abi.FENCE_SIGNAL] == 0
    assert data(rig) == sector(rig, 8)
