"""Guests for attacks: a function of this module or of kernel_payload, and a monitor's orders."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests import compiling
from tests.attacks.monitor import ORDERS, Orders
from tests.host.kernel_payload import LOAD_ADDRESS, power_off, say, write_elf
from vestige.abi import (
    COALESCED_PORTS,
    ECAM,
    HPET,
    IDE_MEMORY,
    IMAGE,
    IOAPIC,
    LOCAL_APIC,
    MIB,
    PCI_WINDOW,
    PORT_RESET,
    PORT_SLEEP_CONTROL,
    RING,
    RUN_PAGES,
    SHARED,
    STACKS,
    STATE,
    TABLES,
    VIRTIO_BARS,
)
from vestige.lang.image import Image
from vestige.lang.intrinsics import load32, pause, port_in32, port_out8, port_out32, store32
from vestige.lang.types import u16, u32, u64


def traps() -> None:
    """One access after the other, for ever."""
    while True:
        say(46)
        pause()


STEP = 523  # a prime: ports of all alignments
PORTS = 1 << 16
ENDS = (PORT_RESET, PORT_SLEEP_CONTROL)  # ports that end a run


def every_port() -> None:
    """Read and write ports all over, in three widths; then all there is behind the devices'."""
    for number in range(PORTS // STEP):
        port = number * STEP
        if not PORT_SLEEP_CONTROL - 4 < port < PORT_RESET + 4:
            port_out8(u16(port), 0xFF)
            port_out32(u16(port), 0xFFFF_FFFF)
            say(u16(port_in32(u16(port)) & 1) & 1 | 46)
    for pair in COALESCED_PORTS:
        for _ in range(180):  # more than KVM's queue has room for
            port_out8(pair[0], 0xFF)
    power_off()


# What is there in the monitor's VM, and what in the guest's.
WINDOWS = (
    *(IMAGE, SHARED, STATE, STACKS, TABLES, RUN_PAGES, RING, IDE_MEMORY),
    *(PCI_WINDOW, VIRTIO_BARS, ECAM, IOAPIC, HPET, LOCAL_APIC - MIB, LOCAL_APIC + MIB),
)
PAGES = 4


def every_window() -> None:
    """Read and write at the monitor's addresses and at the devices', over the ends of pages too."""
    for window in WINDOWS:
        for page in range(PAGES):
            place = u64(window + 4096 * page)
            store32(place, 0xFFFF_FFFF)
            store32(u64(place + 4094), 0xFFFF_FFFF)
            say(u16(load32(place) & 1) & 1 | 46)
    power_off()


def resets() -> None:
    """Use memory, say so, and reset."""
    for page in range(64):
        store32(u32(0x20_0000 + 4096 * page), page)
    say(114)
    while True:
        port_out8(PORT_RESET, 1)


def faults() -> None:
    """A triple fault."""
    say(102)
    while True:
        say(u16(load32(0x7000_0000_0000) & 1))


@cache
def image_of(function: Callable[[], None]) -> Image:
    """`function`, compiled."""
    return compiling.image([function], base=LOAD_ADDRESS, runtime="kernel")


def write(function: Callable[[], None], path: Path, orders: Orders | None = None) -> str:
    """Make a kernel of `function` at `path`, with orders for a hostile monitor; the path."""
    image = image_of(function)
    code = image.code.ljust(ORDERS - LOAD_ADDRESS, b"\0") + bytes(orders or Orders())
    write_elf(code, LOAD_ADDRESS + image.symbols[function.__name__], path)
    return str(path)
