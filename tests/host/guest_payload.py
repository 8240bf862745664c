"""Guests for tests: small programs that drive monitor_payload's ports. Typed Python."""

from tests.host.monitor_payload import GUEST_VECTOR, Port
from vestige.abi import (
    MAX_CPUS,
    PORT_IDE,
    PORT_PCI_ADDRESS,
    WINDOW,
    WINDOW_NOTHING,
    WINDOW_PARTS,
    WINDOW_RAM,
    WINDOW_SIZE,
)
from vestige.lang.intrinsics import (
    load8,
    load32,
    port_in32,
    port_out8,
    port_out32,
    read_msr,
    store8,
    store32,
    wait_for_interrupt,
    write_msr,
)
from vestige.lang.types import Struct, u8, u16, u32, u64

APIC_BASE = 0x1B
X2APIC = 0xC00
X2APIC_SPURIOUS = 0x80F
INTERRUPT_COMMAND = 0x830
ALL_BUT_SELF = 0b11 << 18
INIT, STARTUP = 0x4500, 0x4600
STARTED = 0xB000  # a byte each CPU sets


class Report(Struct):
    """What a guest found; at REPORT in its RAM."""

    command: u64  # what the test asks for, written before the start
    values: u64[16]


def power_off() -> None:
    """The end."""
    while True:
        port_out8(Port.POWER, 0)


def start_interrupts() -> None:
    """Software-enable the local APIC, in x2APIC mode."""
    write_msr(APIC_BASE, read_msr(APIC_BASE) | X2APIC)
    write_msr(X2APIC_SPURIOUS, 0x1FF)


def echoes(report: Report) -> None:
    """Write and read back 20 values."""
    for number in range(20):
        port_out8(Port.ECHO, u8(number * 7))
        report.values[0] = u64(report.values[0] + port_in32(Port.ECHO))
    power_off()


def one_command(report: Report) -> None:
    """OUT the byte `command` >> 16 to port `command` & 0xFFFF, then power off."""
    port_out8(u16(report.command), u8(report.command >> 16))
    power_off()


def route_everything(report: Report) -> None:
    """ROUTE for every GSI that fits the port, then power off."""
    for gsi in range(256):
        port_out8(Port.ROUTE, u8(gsi))
    power_off()


def reset(report: Report) -> None:
    """Ask for a reset."""
    report.values[0] = 1
    while True:
        port_out8(Port.POWER, 1)


def doorbell(report: Report) -> None:
    """Three interrupts by doorbells, of two GSIs."""
    start_interrupts()
    port_out8(Port.ROUTE, 5)
    port_out8(Port.ROUTE, 23)
    for number in range(3):
        port_out8(Port.RING_BELL, 23 if number == 1 else 5)
        wait_for_interrupt()
        report.values[0] = u64(report.values[0] + 1)
    power_off()


def coalesced(report: Report) -> None:
    """Writes that queue, then a trap that finds them."""
    port_out32(PORT_PCI_ADDRESS, 0x8000_0800)
    for register in range(1, 7):
        port_out8(u16(PORT_IDE + register), u8(register * 16))
    report.values[0] = port_in32(Port.QUEUED)
    for number in range(400):
        port_out8(PORT_IDE + 2, u8(number % 251))
    report.values[1] = port_in32(Port.QUEUED)
    power_off()


def five_writes(report: Report) -> None:
    """Writes that queue, or don't."""
    for _ in range(5):
        port_out8(PORT_IDE + 2, 0)
    power_off()


def read_disk(report: Report) -> None:
    """Read sector 3 by the ring; an interrupt says when it is done."""
    start_interrupts()
    port_out8(Port.ROUTE, 1)
    port_out8(Port.RING_READ, 3)
    wait_for_interrupt()
    report.values[0] = port_in32(Port.RING_RESULT)
    power_off()


def touch_everything(report: Report) -> None:
    """Read and write every page from 3 GiB on for `command` pages; count what answered data."""
    for page in range(report.command):
        address = u64(0xC000_0000 + page * 4096)
        found = load32(address)
        store32(address, 0x1234_5678)
        if found != 0xEEEE_EEEE:
            report.values[0] = u64(report.values[0] + 1)
        report.values[1] = u64(report.values[1] + 1)
    power_off()


def high_memory(report: Report) -> None:
    """RAM above 4 GiB, from both sides."""
    store8(0x1_0000_0000, 0x3A)
    report.values[0] = port_in32(Port.TOUCH_RAM)
    report.values[1] = load8(0x1_0000_0000)
    power_off()


def map_region(report: Report) -> None:
    """A region at two places, one after the other, and at none; a place where it can't be."""
    port_out8(Port.MAP, 0xC0)
    store8(0xC000_0000, 0x3A)
    report.values[0] = port_in32(Port.TOUCH_REGION)
    report.values[1] = load8(0xC000_0000)
    port_out8(Port.MAP, 0xFD)
    report.values[2] = load8(0xFD00_0000)
    report.values[3] = load8(0xC000_0000)
    port_out8(Port.MAP, 0xFE)
    report.values[4] = port_in32(Port.MAP_RESULT)
    report.values[5] = load8(0xFD00_0000)
    port_out8(Port.MAP, 0)
    report.values[6] = load8(0xFD00_0000)
    report.values[7] = port_in32(Port.MAP_RESULT)
    power_off()


def show_window(report: Report) -> None:
    """RAM, nothing, and two parts of a region at the window, and RAM again, which is beside it."""
    store8(WINDOW, 0x3A)
    store8(WINDOW - 1, 0x3B)
    store8(WINDOW + WINDOW_SIZE, 0x3C)
    port_out8(Port.SHOW, WINDOW_NOTHING)
    report.values[0] = load8(WINDOW)
    store8(WINDOW + 5, 1)
    report.values[1] = port_in32(Port.QUEUED)
    port_out8(Port.SHOW, WINDOW_PARTS)
    store8(WINDOW, 0x77)
    report.values[2] = port_in32(Port.TOUCH_REGION)
    report.values[3] = load8(WINDOW)
    port_out8(Port.SHOW, WINDOW_PARTS + 1)
    report.values[4] = load8(WINDOW)
    report.values[5] = load8(WINDOW - 1)
    report.values[6] = load8(WINDOW + WINDOW_SIZE)
    port_out8(Port.SHOW, WINDOW_RAM)
    report.values[7] = load8(WINDOW)
    power_off()


def triple_fault(report: Report) -> None:
    """A page fault; the test leaves the IDT empty."""
    report.values[0] = load8(0x7000_0000_0000)


def sleep_for_ever(report: Report) -> None:
    """An idle guest."""
    report.values[0] = 1
    while True:
        wait_for_interrupt()


def run_for_ever(report: Report) -> None:
    """A busy guest."""
    while True:
        report.values[0] = u64(report.values[0] + 1)


def start_others(report: Report) -> None:
    """INIT and SIPI to all others; wait until `command` of them have counted themselves."""
    start_interrupts()
    write_msr(INTERRUPT_COMMAND, ALL_BUT_SELF | INIT)
    write_msr(INTERRUPT_COMMAND, ALL_BUT_SELF | STARTUP | 0x0A)
    running: u32 = 0
    while running != report.command:
        running = 0
        for cpu in range(1, MAX_CPUS):
            running = u32(running + load8(u64(STARTED + cpu)))
    report.values[0] = GUEST_VECTOR
    power_off()
