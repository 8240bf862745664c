"""Guests that try the monitor's devices from inside a VM. Typed Python."""

from tests.host.guest_payload import Report, start_interrupts
from tests.host.monitor_payload import GUEST_VECTOR
from vestige import abi
from vestige.lang.intrinsics import (
    load32,
    port_in32,
    port_out8,
    port_out32,
    store32,
    wait_for_interrupt,
)
from vestige.lang.types import u8, u16, u32, u64

DONE = b"done\n"
SLEEP_ENABLE = 1 << 5
IDE_COMMAND = 1 << 31 | abi.IDE_SLOT << 11 | 4
REGIONS = (0x3F6, 0xCF6, 0xBFFE, 0xC01E, 0x5E, 0xFFF0)  # of 16 ports each
PIC, PIT, PM1_CONTROL = 0x20, 0x40, 0x604
PERIOD = 11932  # 10 ms
LEVEL = 1 << 15  # of a redirection entry


def end() -> None:
    """Print that all went well, power off."""
    port_out8(abi.PORT_UART + 3, 3)
    port_out8(abi.PORT_UART + 4, 0)
    port_out8(abi.PORT_UART + 2, 1)
    for index in range(len(DONE)):
        port_out8(abi.PORT_UART, DONE[index])
    while True:
        port_out8(abi.PORT_SLEEP_CONTROL, abi.SLEEP_TYPE_S5 << 2 | SLEEP_ENABLE)


def random(state: u64) -> u64:
    """xorshift64: the next state."""
    state = u64(state ^ state << 13)
    state = state ^ state >> 7
    return u64(state ^ state << 17)


def hammer(report: Report) -> None:
    """Any accesses to all devices, `values[0]` of them, from the seed in `command`."""
    state = report.command
    for _ in range(report.values[0]):
        state = random(state)
        number = u32(state >> 32)
        value = u32(state)
        match number & 7:
            case 0:
                memory(number >> 3, value)
            case 1:
                port_out32(abi.PORT_PCI_ADDRESS, IDE_COMMAND)
                port_out32(abi.PORT_PCI_DATA, 5)
            case _:
                ports(number >> 3, value)
        report.values[1] = u64(report.values[1] + 1)
    end()


def ports(number: u32, value: u32) -> None:
    """One access to a port."""
    port = u16(REGIONS[(number >> 2) % len(REGIONS)] + ((number >> 8) & 15))
    match number & 3:
        case 0:
            port_in32(port)
        case 1:
            port_out32(port, value)
        case _:
            port_out8(port, u8(value))


def memory(number: u32, value: u32) -> None:
    """One access to the I/O APIC or to configuration space."""
    address = abi.IOAPIC + (number & 0x50)
    if number & 1 << 20:
        address = abi.ECAM + (number & 0xF1FF)
    if number & 1 << 21:
        store32(address, value)
    else:
        load32(address)


def set_uart_pin(entry: u32) -> None:
    """The low half of the UART's redirection entry."""
    store32(abi.IOAPIC, 0x10 + 2 * abi.PIN_UART)
    store32(abi.IOAPIC + 0x10, entry)


def level_interrupts(report: Report) -> None:
    """Three interrupts; without the EOI of one the next is never sent."""
    start_interrupts()
    set_uart_pin(GUEST_VECTOR | LEVEL)
    for _ in range(3):
        port_out8(abi.PORT_UART + 1, 2)
        port_out8(abi.PORT_UART + 1, 0)
        wait_for_interrupt()
        report.values[0] = u64(report.values[0] + 1)
    end()


def edge_interrupts(report: Report) -> None:
    """Three interrupts, each from an edge of its own."""
    start_interrupts()
    set_uart_pin(GUEST_VECTOR)
    for _ in range(3):
        port_out8(abi.PORT_UART + 1, 2)
        wait_for_interrupt()
        report.values[0] = u64(report.values[0] + 1)
        port_out8(abi.PORT_UART + 1, 0)
    end()


def ticks(report: Report) -> None:
    """`command` interrupts of counter 0 of the PIT, by the PIC, slept through."""
    start_interrupts()
    port_out8(PIC, 0x11)  # ICW1: edges, a pair, ICW4 follows
    port_out8(PIC + 1, GUEST_VECTOR)
    port_out8(PIC + 1, 4)
    port_out8(PIC + 1, 1)  # an 8086
    port_out8(PIC + 1, 0xFE)
    port_out8(PIT + 3, 0x34)  # counter 0, mode 2
    port_out8(PIT, PERIOD & 0xFF)
    port_out8(PIT, PERIOD >> 8)
    while report.values[0] < report.command:
        wait_for_interrupt()
        report.values[0] = u64(report.values[0] + 1)
        port_out8(PIC, 0x20)  # its end
    while True:
        port_out8(PM1_CONTROL + 1, SLEEP_ENABLE)


def touch_private_memory(report: Report) -> None:
    """Load from and store to a page in every 64 KiB of the monitor's memory; its answers."""
    for page in range(0x600):
        address = abi.IMAGE + page * 0x1_0000
        store32(address, 0)
        if load32(address) != 0xFFFF_FFFF:
            report.values[2] = u64(report.values[2] + 1)
        report.values[1] = u64(report.values[1] + 1)
    end()
