"""Guests that drive an IDE whose control blocks and bus master are in memory. Typed Python."""

from tests.host.guest_payload import Report
from tests.monitor.guest import end
from vestige import abi
from vestige.lang.intrinsics import (
    load8,
    load32,
    pause,
    port_in32,
    port_out8,
    port_out32,
    store8,
    store32,
    store64,
)
from vestige.lang.types import u8, u16, u32, u64

CONTROL = abi.IDE_MEMORY_CONTROL + 2
COMMAND, STATUS, TABLE = abi.IDE_MEMORY_BUS_MASTER, abi.IDE_MEMORY_BUS_MASTER + 2, 0xD000_2004
MOVED = 0xD800_0000
CONFIG = 1 << 31 | abi.IDE_SLOT << 11
DECODE_ALL = 7  # ports, memory, bus master
READ_DMA, WRITE_DMA = 0xC8, 0xCA
OFFER, START, TO_MEMORY, ACTIVE, INTERRUPT = 0x10, 0x01, 0x08, 0x01, 0x04
RESET, BUSY = 0x04, 0x80
PRD, DATA = 0x30_0000, 0x30_1000
END_OF_TABLE = 1 << 31


def set_config(register: u8, value: u32) -> None:
    """32 bits of the function's configuration space."""
    port_out32(abi.PORT_PCI_ADDRESS, CONFIG | register)
    port_out32(abi.PORT_PCI_DATA, value)


def read_registers(report: Report) -> None:
    """Load all four registers `command` times."""
    set_config(4, DECODE_ALL)
    for _ in range(report.command):
        report.values[0] = u64(report.values[0] + load8(CONTROL))
        report.values[1] = u64(report.values[1] + load8(COMMAND))
        report.values[2] = u64(report.values[2] + load8(STATUS))
        report.values[3] = u64(report.values[3] + load32(TABLE))
    end()


def write_pages(report: Report) -> None:
    """Store to all three pages, but not to registers; count what has changed, then move a BAR."""
    set_config(4, DECODE_ALL)
    for place in range(abi.IDE_MEMORY_PAGES * 64):
        address = u64(abi.IDE_MEMORY + 64 * place + 32)
        store64(address, 0x1234_5678)
        if load32(address) != 0xFFFF_FFFF:
            report.values[0] = u64(report.values[0] + 1)
    store8(abi.IDE_MEMORY_BUS_MASTER + 1, 0x55)
    store32(TABLE, PRD)
    store8(STATUS, 0x20)
    port_in32(abi.PORT_IDE + 4)
    report.values[1] = load32(COMMAND)
    report.values[2] = load32(TABLE)
    set_config(0x14, MOVED)
    report.values[3] = load8(CONTROL)
    report.values[4] = load8(MOVED + 2)
    set_config(0x14, abi.IDE_MEMORY_CONTROL)
    report.values[5] = load8(CONTROL)
    end()


def issue(sector: u8, code: u8) -> None:
    """All of a command but the start, as libata does it."""
    store32(PRD, DATA)
    store32(PRD + 4, 512 | END_OF_TABLE)
    store32(TABLE, PRD)
    store8(STATUS, INTERRUPT)
    direction: u8 = load8(COMMAND) & 0xF6
    if code == READ_DMA:
        direction |= TO_MEMORY
    store8(COMMAND, direction)
    port_out8(abi.PORT_IDE + 2, 1)
    for register in range(3, 6):
        port_out8(u16(abi.PORT_IDE + register), sector if register == 3 else 0)
    port_out8(abi.PORT_IDE + 6, 0xE0)
    port_out8(abi.PORT_IDE + 7, code)


def start() -> None:
    """As libata does it."""
    store8(COMMAND, load8(COMMAND) | START)


def stop() -> None:
    """As libata does it."""
    store8(COMMAND, load8(COMMAND) & 0xFE)


def finish(report: Report) -> None:
    """Wait for the interrupt bit; a bus master that looks idle before is counted in values[1]."""
    status: u8 = load8(STATUS)
    while status & INTERRUPT == 0:
        if status & ACTIVE == 0:
            report.values[1] = u64(report.values[1] + 1)
        pause()
        status = load8(STATUS)
    stop()
    port_in32(abi.PORT_IDE + 7)


def begin(report: Report) -> None:
    """Enable the function; a read, begun anew (values[2]) until the worker offers its start."""
    set_config(4, DECODE_ALL)
    issue(0, READ_DMA)
    while load8(COMMAND) & OFFER == 0:
        reset()
        report.values[2] = u64(report.values[2] + 1)
        issue(0, READ_DMA)
    start()
    finish(report)


def reset() -> None:
    """A software reset."""
    store8(CONTROL, RESET)
    store8(CONTROL, 0)
    while load8(CONTROL) & BUSY:
        pause()


def transfers(report: Report) -> None:
    """Write `command` sectors, read them back; how many came back right is in values[0]."""
    begin(report)
    for sector in range(report.command):
        store64(DATA, u64(sector * 3 + 1))
        issue(u8(sector), WRITE_DMA)
        start()
        finish(report)
    for sector in range(report.command):
        store64(DATA, 0)
        issue(u8(sector), READ_DMA)
        start()
        finish(report)
        if load32(DATA) == u64(sector * 3 + 1):
            report.values[0] = u64(report.values[0] + 1)
    end()


def races(report: Report) -> None:
    """Start and stop at once, `command` times; then all is still: violations in values[1]."""
    begin(report)
    for turn in range(report.command):
        issue(u8(turn), READ_DMA)
        start()
        if turn & 1 == 0:
            store8(COMMAND, TO_MEMORY)
            expect_stopped(report)
        reset()
        store8(COMMAND, TO_MEMORY)
        expect_stopped(report)
        report.values[0] = u64(report.values[0] + 1)
    end()


def expect_stopped(report: Report) -> None:
    """A start that comes late would show within these loads."""
    for _ in range(200):
        if load8(COMMAND) != TO_MEMORY or load8(STATUS) & ACTIVE:
            report.values[1] = u64(report.values[1] + 1)
