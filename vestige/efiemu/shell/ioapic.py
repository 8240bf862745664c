"""The I/O APIC, which the guest and the shell use. Intel 82093AA data sheet (290566-001), 3.

One of its registers chooses what another one shows. The shell looks for a pin's entry at any time,
on any processor, so the guest's accesses exit, and the shell keeps what the guest has chosen.
"""

from vestige.abi import IOAPIC
from vestige.efiemu.shell.block import common
from vestige.efiemu.shell.common import Common
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import load32, store32
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.ioapic.spec import Index, Register
from vestige.monitor.sized import ONES, load_sized, store_sized

REGISTERS = 0xFF  # bits of an address
WORD = 4


def take_ioapic(shell: Shell) -> None:
    """Take its page out of the guest's memory."""
    shared = common(shell)
    shared.selected = load32(IOAPIC + Register.SELECT)
    shared.tables.replace(shell.guest_root, IOAPIC, 0, 0)


def is_ioapic(address: u64) -> bool:
    """Whether an address is in its page."""
    return address // PAGE * PAGE == IOAPIC


def read(shell: Shell, address: u64, size: u8) -> u64:
    """A load of the guest's, of 1, 2 or 4 bytes; of 8, the upper 4 are 0."""
    shared, register, size = common(shell), address & REGISTERS, min(size, WORD)
    if register == Register.SELECT:
        return shared.selected & ONES[size]
    shared.ioapic.acquire()
    choose(shared)
    value = load_sized(IOAPIC + register, size)
    shared.ioapic.release()
    return value


def write(shell: Shell, address: u64, size: u8, value: u64) -> None:
    """A store, the same."""
    shared, register, size = common(shell), address & REGISTERS, min(size, WORD)
    if register == Register.SELECT:
        shared.selected = value & ONES[size]
        return
    shared.ioapic.acquire()
    choose(shared)
    store_sized(IOAPIC + register, size, u32(value))
    shared.ioapic.release()


def choose(shared: Common) -> None:
    """Have the chip show what the guest has chosen."""
    store32(IOAPIC + Register.SELECT, shared.selected)


def read_entry(shell: Shell, pin: u8) -> tuple[u32, u32]:
    """A pin's entry, 3.2.4: both halves."""
    shared, index = common(shell), Index.REDIRECTION + 2 * (pin & 31)
    shared.ioapic.acquire()
    store32(IOAPIC + Register.SELECT, index)
    low = load32(IOAPIC + Register.WINDOW)
    store32(IOAPIC + Register.SELECT, index + 1)
    high = load32(IOAPIC + Register.WINDOW)
    shared.ioapic.release()
    return low, high
