"""What the shell asks of the monitor's devices: the accesses that its guest made, and its own.

The monitor finds them where KVM's hosts put those of theirs: abi/kvm.py. After one that it failed
at, it is asked no more: Shell.failed.
"""

from vestige.abi import (
    COALESCED_HEADER,
    COALESCED_LAST,
    COALESCED_SIZE,
    ECAM,
    IDE_SLOT,
    RUN_MMIO_DATA,
    Call,
    CoalescedRing,
    CoalescedWrite,
    ExitReason,
    RunIo,
    RunMmio,
)
from vestige.efiemu.shell import block
from vestige.efiemu.shell.common import CONFIG_WORDS, CPUS
from vestige.efiemu.shell.monitor import monitor_cpu, run_to_call
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import (
    address_of,
    load32,
    load_acquire32,
    store32,
    store64,
    store_release32,
)
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.devices.pci.spec import Register
from vestige.monitor.sized import ONES

OUT = 1  # RunIo.direction
WORD = 4  # bytes
DEVICE = 15  # bits of an address in ECAM below a device's number


def data_page(shell: Shell) -> u64:
    """Where the data of ports is, a page."""
    return u64(shell.block + block.MONITOR_DATA + shell.number % CPUS * PAGE)


def enter(shell: Shell) -> None:
    """Have the monitor answer what is there."""
    if not shell.failed and run_to_call(shell) != Call.DONE:
        shell.failed = 1


def settle(shell: Shell) -> None:
    """Let it take in what its controller has done."""
    monitor_cpu(shell).exit.reason = ExitReason.INTERRUPTED
    enter(shell)


def string(shell: Shell, port: u16, size: u8, count: u32, write: bool) -> None:
    """So many accesses of a port, with data in `data_page`."""
    shown = monitor_cpu(shell).exit
    shown.reason, shown.ready = ExitReason.IO, 0
    record = RunIo.at(address_of(shown.union))
    record.direction = OUT if write else 0
    record.size, record.port, record.count = size, port, count
    record.data_offset = PAGE
    enter(shell)


def read_port(shell: Shell, port: u16, size: u8) -> u32:
    """IN; bytes above `size` are 0."""
    store32(data_page(shell), 0)
    string(shell, port, size, 1, write=False)
    return load32(data_page(shell))


def post_write(shell: Shell, port: u16, size: u8, value: u32) -> None:
    """OUT that does nothing by itself: the monitor is told with what comes next, as by KVM."""
    lock, page = block.common(shell).lock, u64(shell.block + block.MONITOR_WRITES)
    ring = CoalescedRing.at(page)
    lock.acquire()
    last = ring.last % block.WRITE_COUNT
    following = (last + 1) % block.WRITE_COUNT
    full = following == load_acquire32(page)
    if not full:
        entry = CoalescedWrite.at(u64(page + COALESCED_HEADER + COALESCED_SIZE * last))
        entry.address, entry.length, entry.port = port, size, 1
        store64(address_of(entry.data), value)
        store_release32(u64(page + COALESCED_LAST), following)
    lock.release()
    if full:
        write_port(shell, port, size, value)


def write_port(shell: Shell, port: u16, size: u8, value: u32) -> None:
    """OUT."""
    store32(data_page(shell), value)
    string(shell, port, size, 1, write=True)


def read_memory(shell: Shell, address: u64, size: u8) -> u64:
    """MOV from the monitor's guest-physical memory, of 1 to 8 bytes."""
    shown = monitor_cpu(shell).exit
    memory(shell, address, size, 0, write=False)
    return shown.union[RUN_MMIO_DATA // 8]


def write_memory(shell: Shell, address: u64, size: u8, value: u64) -> None:
    """MOV to it."""
    memory(shell, address, size, value, write=True)


def memory(shell: Shell, address: u64, size: u8, value: u64, write: bool) -> None:
    """Either."""
    shown = monitor_cpu(shell).exit
    shown.reason, shown.ready = ExitReason.MMIO, 0
    shown.union[RUN_MMIO_DATA // 8] = value
    record = RunMmio.at(address_of(shown.union))
    record.address, record.length, record.is_write = address, size, write
    enter(shell)


def read_ide_config(shell: Shell, offset: u8, size: u8) -> u32:
    """Its configuration space, inside of a word of it.

    Only PCI's status changes there by itself. The rest is asked for once after each write: OVMF
    reads 64 bytes, one by one, before each command of the drive's.
    """
    known, word = block.common(shell).config, offset // WORD % CONFIG_WORDS
    known.lock.acquire()
    if word == Register.COMMAND // WORD or not known.which >> word & 1:
        place = ECAM | IDE_SLOT << DEVICE | word * WORD
        known.words[word] = u32(read_memory(shell, place, WORD))
        known.which |= 1 << word
    value = known.words[word] >> 8 * (offset % WORD) & ONES[size]
    known.lock.release()
    return value


def write_ide_config(shell: Shell, offset: u8, size: u8, value: u32) -> None:
    """The same."""
    known = block.common(shell).config
    known.lock.acquire()
    write_memory(shell, ECAM | IDE_SLOT << DEVICE | offset, size, value)
    known.which = 0
    known.lock.release()
