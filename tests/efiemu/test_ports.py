"""The guest's ports: the IDE's, the monitor's models behind them, and configuration space."""

import struct
from collections.abc import Iterator

import pytest

from tests.efiemu.machine import (
    APIC_COMMAND,
    APIC_COMMAND_HIGH,
    COUNTER_KHZ,
    IOAPIC_WINDOW,
    NVME,
    OLD_IDE,
    Taken,
    taken,
)
from vestige.abi import LOCAL_APIC
from vestige.efiemu.shell import block
from vestige.efiemu.shell.completion import begin_interrupts
from vestige.efiemu.shell.events import Nmi
from vestige.efiemu.shell.vmcb import Exit
from vestige.lang.intrinsics import load8, load32, running_on, store32

READ_SECTORS, WRITE_SECTORS, READ_DMA, IDENTIFY = 0x20, 0x30, 0xC8, 0xEC
DRQ, BSY, DRDY = 0x08, 0x80, 0x40
REP_INSW, REP_OUTSW = b"\xf3\x6d", b"\xf3\x6f"
RCX, RSI, RDI = 1, 6, 7
ENTRY = 0x0300_0831  # of the I/O APIC for pin 14: to 3, logical, vector 0x31; both halves
ASSERT = 1 << 14
NMI = 0x8000_0202  # an event


@pytest.fixture
def machine() -> Iterator[Taken]:
    with taken() as machine:
        store32(IOAPIC_WINDOW, ENTRY)
        yield machine


def interrupts(machine: Taken) -> int:
    return machine.shell.sent


def intercepted(machine: Taken, port: int) -> bool:
    return load8(machine.shell.block + block.PORTS + port // 8) >> port % 8 & 1 != 0


def nmi(machine: Taken) -> None:
    """The controller has done what it was given."""
    machine.nvme.step()
    machine.leave(Exit.NMI)


def test_where_the_controller_was_there_is_an_ide(machine: Taken) -> None:
    assert machine.config(NVME, 0) == 0x7010_8086
    assert machine.config(NVME, 8) >> 8 == 0x01_018A, "compatible, with a bus master"
    assert machine.config(NVME, 0x0A, 2) == 0x0101
    assert machine.config(NVME, 0x20) == 0xEF01
    assert machine.config(NVME, 0x0B, 1) == 0x01
    assert machine.real == []


def test_the_chip_sets_ide_is_gone_and_other_functions_are_not(machine: Taken) -> None:
    assert machine.config(OLD_IDE, 0) == 0xFFFF_FFFF
    machine.set_config(OLD_IDE, 4, 7, 2)
    machine.real.clear()
    assert machine.config((0, 0, 0), 0) == 0x0010_1B36
    assert machine.real == [("in", 0xCFC, 4, 0x0010_1B36)]
    machine.set_config((0, 0, 0), 6, 0x1234, 2)
    assert machine.real[-1] == ("out", 0xCFE, 2, 0x1234)


def test_ports_of_configuration_space_without_an_address_are_the_chip_sets(machine: Taken) -> None:
    machine.address = NVME[1] << 11  # it is disabled
    assert machine.inp(0xCFC, 2) == 0xA5A5_A5A5_A5A5_5A5A
    assert machine.inp(0xCFC, 4) == 0xFFFF_FFFF
    machine.out(0xCFC, 6)
    assert [(what, port, size) for what, port, size, _ in machine.real] == [
        ("in", 0xCFC, 2), ("in", 0xCFC, 4), ("out", 0xCFC, 1),
    ]  # fmt: skip


def test_what_reaches_beyond_a_register_and_extended_ones_are_nothing(machine: Taken) -> None:
    machine.select(NVME, 0)
    assert machine.inp(0xCFE, 4) == 0xFFFF_FFFF
    machine.address = 1 << 31 | 1 << 24 | NVME[1] << 11
    assert machine.inp(0xCFC, 4) == 0xFFFF_FFFF


def test_what_does_not_change_by_itself_is_asked_for_once(machine: Taken) -> None:
    def asked(*offsets: int) -> list[int]:
        found = []
        for offset in offsets:
            before = machine.turns
            machine.config(NVME, offset, 1)
            found.append(machine.turns - before)
        return found

    machine.set_config(NVME, 0x20, 0xC001, 4)
    assert asked(0, 1, 2, 3, 0x40, 0x41, 0xFF, 0xFC) == [1, 0, 0, 0, 1, 0, 1, 0]
    assert asked(4, 5, 6, 7, 6) == [1, 1, 1, 1, 1], "command and status"
    machine.set_config(NVME, 0x40, 0x8123, 2)
    assert asked(0x40, 0x40, 0, 0) == [1, 0, 1, 0]
    assert machine.config(NVME, 0x40, 2) == 0x8123
    assert machine.config(NVME, 0x20) == 0xC001
    machine.dma(READ_DMA, 8, 0xFF00_0000, 4096)
    nmi(machine)
    assert machine.config(NVME, 7, 1) >> 5 & 1, "it has met with memory that isn't there"


def test_the_bus_master_moves_and_goes(machine: Taken) -> None:
    assert [intercepted(machine, port) for port in (0xEEFF, 0xEF00, 0xEF0F, 0xEF10)] == [
        False, True, True, False,
    ]  # fmt: skip
    machine.set_config(NVME, 0x20, 0xD001, 4)
    assert not intercepted(machine, 0xEF00)
    assert intercepted(machine, 0xD00F)
    assert machine.common.bus_master == 0xD000
    machine.set_config(NVME, 4, 0, 2)
    assert not intercepted(machine, 0xD000)
    assert machine.common.bus_master == 0
    for port in (*range(0x1F0, 0x1F8), 0x3F6, *range(0x170, 0x178), 0x376, *range(0xCFC, 0xD00)):
        assert intercepted(machine, port)
    assert not any(intercepted(machine, port) for port in range(0xCF8, 0xCFC)), "the guest's own"
    assert not intercepted(machine, 0x3F7)
    assert not intercepted(machine, 0x3F8)


def test_identify_by_words(machine: Taken) -> None:
    machine.command(IDENTIFY)
    assert machine.inp(0x1F7) & 0xFF == DRDY | DRQ | 0x10
    words = [machine.inp(0x1F0, 2) for _ in range(256)]
    assert words[0] >> 16 == 0xA5A5_A5A5_A5A5, "the rest of RAX stays"
    data = struct.pack("<256H", *(word & 0xFFFF for word in words))
    assert data[54:72] == b" AoMed lfoa D irev"
    assert struct.unpack_from("<I", data, 120) == (256,)


def test_sectors_read_by_a_string_instruction(machine: Taken) -> None:
    machine.command(READ_SECTORS, lba=3)
    nmi(machine)
    guest = machine.shell.guest
    guest.number[RCX], guest.number[RDI] = 256, 0x2F80
    machine.string(0x1F0, 2, REP_INSW, 1)
    assert (guest.number[RCX], guest.number[RDI]) == (192, 0x3000)
    assert machine.vmcb.instruction == 0x1000
    machine.string(0x1F0, 2, REP_INSW, 1)
    assert (guest.number[RCX], machine.vmcb.instruction) == (0, 0x1002)
    assert machine.ram.data[0x2F80:0x3180] == machine.image[3 * 512 : 4 * 512]


def test_sectors_written_by_a_string_instruction(machine: Taken) -> None:
    machine.ram.data[0x3000:0x3200] = bytes(range(256)) * 2
    machine.command(WRITE_SECTORS, lba=5)
    guest = machine.shell.guest
    guest.number[RCX], guest.number[RSI] = 256, 0x3000
    machine.string(0x1F0, 2, REP_OUTSW, 0)
    nmi(machine)
    assert machine.image[5 * 512 : 6 * 512] == bytes(range(256)) * 2
    assert machine.inp(0x1F7) & (BSY | DRQ) == 0


def test_dma_ends_with_one_interrupt_by_an_nmi(machine: Taken) -> None:
    before = interrupts(machine)
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    assert machine.inp(machine.common.bus_master + 2) & 5 == 1, "active"
    assert interrupts(machine) == before
    nmi(machine)
    assert machine.ram.data[0x10000:0x11000] == machine.image[8 * 512 : 16 * 512]
    assert interrupts(machine) == before + 1
    assert machine.vmcb.injected == 0
    assert load32(APIC_COMMAND) == ASSERT | 0x831, "as the entry of pin 14 says"
    assert machine.inp(machine.common.bus_master + 2) & 5 == 4


def test_the_guests_own_nmi_reaches_it(machine: Taken) -> None:
    machine.wait(200)
    machine.leave(Exit.NMI)
    assert machine.vmcb.injected == NMI


def faster(machine: Taken) -> None:
    """An exit takes an answer in before its NMI has come."""
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    machine.nvme.step()
    machine.out(0x3F6, 0)
    assert machine.inp(machine.common.bus_master + 2) & 5 == 4, "which has taken the answer"


def injected(machine: Taken) -> int:
    """By an NMI that ends the guest's run. The guest's handler returns."""
    machine.leave(Exit.NMI)
    event: int = machine.vmcb.injected
    machine.shell.events.nmi = Nmi.OPEN
    return event


def test_an_nmi_that_an_exit_was_faster_than_is_the_controllers(machine: Taken) -> None:
    faster(machine)
    assert injected(machine) == 0
    assert injected(machine) == NMI, "one answer has one"


def test_an_nmi_long_after_that_is_the_guests(machine: Taken) -> None:
    faster(machine)
    machine.wait(200)
    assert injected(machine) == NMI
    assert injected(machine) == NMI, "the controller's comes no more"


@pytest.mark.parametrize("milliseconds", [0, 50])
def test_the_guests_own_nmi_reaches_it_beside_a_busy_disk(
    machine: Taken, milliseconds: int
) -> None:
    for _ in range(3):
        machine.dma(READ_DMA, 8, 0x10000, 4096)
        nmi(machine)
        assert machine.vmcb.injected == 0, "the controller's"
        machine.wait(milliseconds)
        assert injected(machine) == NMI
        faster(machine)
        assert injected(machine) == 0, "the controller's"
        assert injected(machine) == NMI


def test_an_nmi_that_was_lost_hides_no_own_one_for_long(machine: Taken) -> None:
    """The processor keeps one of two that come while it can take none."""
    faster(machine)
    for _ in range(6):
        machine.dma(READ_DMA, 8, 0x10000, 4096)
        nmi(machine)
        assert machine.vmcb.injected == 0, "the controller's"
        machine.wait(20)
    assert injected(machine) == NMI


def test_answers_that_are_found_together_are_owed_two_at_most(machine: Taken) -> None:
    machine.shared.statistics.nvme[0].reads += 40
    assert [injected(machine) for _ in range(4)] == [0, 0, 0, NMI]


def test_the_first_nmi_is_the_controllers(machine: Taken) -> None:
    machine.wait(200)
    with running_on(machine):
        begin_interrupts(machine.shell)
    assert list(machine.vectors[:4]) == [LOCAL_APIC | 3 << 12, 0, 4 << 8, 0], "to this processor"
    assert injected(machine) == 0
    assert injected(machine) == NMI


def test_one_that_comes_while_the_monitor_runs_is_the_guests_too(machine: Taken) -> None:
    machine.wait(200)
    machine.interrupt_monitor(Exit.NMI)
    machine.inp(0x1F7)
    assert machine.vmcb.injected == NMI
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    machine.nvme.step()
    machine.interrupt_monitor(Exit.NMI)
    machine.inp(0x1F7)
    assert machine.vmcb.injected == 0, "this one is the controller's"


def test_a_masked_pin_sends_nothing(machine: Taken) -> None:
    store32(IOAPIC_WINDOW, 1 << 16 | ENTRY)
    before = machine.shell.dropped
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    nmi(machine)
    assert machine.shell.dropped == before + 1
    assert load32(APIC_COMMAND) == 0


@pytest.mark.parametrize("mode", [3, 6])
def test_a_pin_can_not_start_a_processor(machine: Taken, mode: int) -> None:
    store32(IOAPIC_WINDOW, ENTRY | mode << 8)
    before = machine.shell.dropped
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    nmi(machine)
    assert (machine.shell.dropped, load32(APIC_COMMAND)) == (before + 1, 0)


def test_a_half_written_command_of_the_guests_apic_stays(machine: Taken) -> None:
    store32(APIC_COMMAND_HIGH, 0x0700_0000)
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    nmi(machine)
    assert load32(APIC_COMMAND_HIGH) == 0x0700_0000


def test_a_local_apic_that_is_off_sends_nothing(machine: Taken) -> None:
    machine.msrs[0x1B] &= ~(1 << 11)
    store32(APIC_COMMAND, 0xFFFF_FFFF)  # as memory reads where nobody is
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    nmi(machine)
    assert (load32(APIC_COMMAND), machine.sent) == (0xFFFF_FFFF, [])


def test_x2apic_sends_by_its_register(machine: Taken) -> None:
    machine.msrs[0x1B] |= 1 << 10
    machine.dma(READ_DMA, 8, 0x10000, 4096)
    nmi(machine)
    assert machine.sent == [(0x830, 3 << 32 | ASSERT | 0x831)]


def test_the_second_channel_has_no_drive(machine: Taken) -> None:
    for port, size, value in ((0x177, 1, 0x7F), (0x376, 1, 0x7F), (0x170, 2, 0x7F7F)):
        assert machine.inp(port, size) & (1 << 8 * size) - 1 == value
    machine.out(0x176, 0xA0)
    guest = machine.shell.guest
    guest.number[RCX], guest.number[RDI] = 4, 0x3000
    machine.string(0x170, 2, REP_INSW, 1)
    assert machine.ram.data[0x3000:0x3008] == b"\x7f" * 8
    assert guest.number[RCX] == 0


def test_the_counter_is_measured(machine: Taken) -> None:
    assert machine.shared.config.tsc_khz == COUNTER_KHZ


def coalesced(machine: Taken) -> int:
    return machine.shared.statistics.coalesced_writes


def bus_master(machine: Taken) -> int:
    return machine.common.bus_master


def test_writes_that_do_nothing_by_themselves_wait_for_the_next_that_does(machine: Taken) -> None:
    turns, before = machine.turns, coalesced(machine)
    for register in range(1, 7):
        machine.out(0x1F0 + register, 0x10 + register)
    machine.out(bus_master(machine) + 2, 4)
    machine.out(bus_master(machine) + 4, 0x800, 4)
    assert (machine.turns, coalesced(machine)) == (turns, before)
    assert [machine.inp(0x1F0 + register) & 0xFF for register in (2, 3, 4, 5)] == [
        0x12, 0x13, 0x14, 0x15,
    ]  # fmt: skip
    assert coalesced(machine) == before + 8
    assert machine.inp(bus_master(machine) + 4, 4) == 0x800


def test_other_writes_do_not_wait(machine: Taken) -> None:
    first = bus_master(machine)
    for port, size in ((0x1F0, 2), (0x1F7, 1), (0x3F6, 1), (first, 1), (0x1F6, 2), (first + 6, 4)):
        before = machine.turns
        machine.out(port, 0, size)
        assert machine.turns > before, (hex(port), size)


def test_more_writes_than_there_is_room_for_are_all_done(machine: Taken) -> None:
    before = coalesced(machine)
    for number in range(3 * block.WRITE_COUNT):
        machine.out(0x1F2, number & 0xFF)
    assert machine.inp(0x1F2) & 0xFF == 3 * block.WRITE_COUNT - 1 & 0xFF
    assert coalesced(machine) - before == 3 * block.WRITE_COUNT - 3, "a full queue is a trap's"
