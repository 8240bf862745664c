"""The shell's memory, a part of the machine's that its operating system takes for reserved.

The host maps all memory to itself, and so does the guest's nested table, but for the block: there
the guest has one page of zeroes, again and again. The monitor has a nested table of its own, in
which its private memory is in the block: PIECES.
"""

from vestige.abi import (
    BARS,
    COALESCED_HEADER,
    COALESCED_SIZE,
    HIGH_RAM,
    IMAGE,
    NVME_QUEUES,
    NVME_QUEUES_SIZE,
    RUN_PAGES,
    RUN_STRIDE,
    SHARED,
    SHARED_STRIDE,
    STACK_SIZE,
    STACKS,
    STATE,
    STATE_SIZE,
    TABLES,
)
from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.common import CPUS, Common
from vestige.efiemu.shell.pages import LARGE, LARGEST, PAGE, PRESENT, USER, WRITABLE
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import address_of, fill, load8, load64, store8, store64
from vestige.lang.records import Record
from vestige.lang.types import u8, u32, u64

MSR_WRITES, MSR_ACCESSES = 2, 3  # bits of a permission map
LOW_SIZE, LOWEST_MEBIBYTE = 2 * PAGE, 0xF_FFFF  # bytes below 1 MiB, and its last one
SIZE = 7 << 20
ALIGNMENT = 2 << 20
# Offsets in it. The image is at its beginning, at most so large.
IMAGE_SIZE = 0x8_0000
MONITOR_LINES, MONITOR_LINES_SIZE = 0x8_0000, 0x6_0000  # of its code: see ../lines.py
MONITOR_CHECKS, MONITOR_CHECKS_SIZE = 0xE_0000, 0x2_0000  # a table of them: see ../build.py
COMMON = 0x10_0000  # the Common
MSRS = 0x10_2000  # permission map, of 2 pages
DESCRIPTORS, GATES, DECOY = 0x10_4000, 0x10_5000, 0x10_6000
NOBODY = 0x10_7000  # a page of ones, as memory reads that nobody has
MONITOR_MSRS, MONITOR_PORTS = 0x10_8000, 0x10_A000  # permission maps, of 2 and 3 pages
PORTS = 0x10_D000  # and of 3, the guest's
MONITOR_CPUS, MONITOR_CPU_SIZE = 0x11_0000, 2 * PAGE  # its VMCBs; behind each its registers
MONITOR_REGISTERS = PAGE
PAGE_TABLES, PAGE_TABLES_SIZE = 0x12_0000, 0xE_0000
MONITOR_STATE, MONITOR_QUEUES, MONITOR_STACKS = 0x20_0000, 0x40_0000, 0x50_0000
MONITOR_IMAGE, MONITOR_IMAGE_SIZE = 0x58_0000, 0x4_0000
MONITOR_SHARED, MONITOR_TABLES, MONITOR_TABLES_SIZE = 0x5C_0000, 0x5D_0000, 0x2_0000
MONITOR_DATA = 0x5F_0000  # of its guests' accesses, a page each
MONITOR_WRITES = 0x5F_8000  # that wait for it, a page
# A part for each processor: its stack, aligned to its size; behind that its Shell; at the end its
# guest's VMCB and the page in which VMRUN keeps the host's registers.
PROCESSORS, PROCESSOR_SIZE = 0x60_0000, 0x2_0000
SHELL, SHELL_SIZE, VMCB, HOST_SAVE = STACK_SIZE, 0xE000, 0x1_E000, 0x1_F000

WRITES = RUN_PAGES + 2 * PAGE  # where the monitor has those
WRITE_COUNT = (PAGE - COALESCED_HEADER) // COALESCED_SIZE  # that there is room for
RAM_WINDOW = HIGH_RAM  # where the monitor has the guest's RAM below 4 GiB: behind its own memory
RAM_WINDOW_SIZE = 4 << 30
REGISTERS_SIZE = 0x2000  # bytes of BAR 0: registers, and doorbells of more queues than there are
HOST, GUEST = PRESENT | WRITABLE, PRESENT | WRITABLE | USER
EVERYTHING = 1 << 40  # bytes that are mapped; above, where the controller is, too
HIGHEST = 1 << 48  # bytes that a nested table of 4 levels can map
CANONICAL = 1 << 47  # bytes that a host of 4 levels can map at their own addresses
GIBIBYTE = 1 << 30
CODE_DESCRIPTOR, DATA_DESCRIPTOR = 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF


class Piece(Record):
    """A part of the monitor's private memory (abi/layout.py) that is in the block."""

    address: u64  # the monitor's
    size: u32
    place: u32  # in the block


PIECES = (
    Piece(IMAGE, MONITOR_IMAGE_SIZE, MONITOR_IMAGE),
    Piece(SHARED, SHARED_STRIDE, MONITOR_SHARED),
    Piece(STATE, STATE_SIZE, MONITOR_STATE),
    Piece(STACKS, CPUS * STACK_SIZE, MONITOR_STACKS),
    Piece(TABLES, MONITOR_TABLES_SIZE, MONITOR_TABLES),
    Piece(NVME_QUEUES, NVME_QUEUES_SIZE, MONITOR_QUEUES),
)


def common(shell: Shell) -> Common:
    """What all processors share."""
    return Common.at(u64(shell.block + COMMON))


def processor(block: u64, number: u32) -> u64:
    """Where a processor's own part is; the block is at `block`."""
    return u64(block + PROCESSORS + number % CPUS * PROCESSOR_SIZE)


def allocate(shell: Shell) -> bool:
    """Find memory for it; False: there is not enough. What was taken too much is given back."""
    shell.answer[0] = LOWEST_MEBIBYTE
    status = uefi.call(
        shell.boot, uefi.ALLOCATE_PAGES, uefi.MOST_ADDRESS, uefi.RESERVED_MEMORY, LOW_SIZE // PAGE,
        address_of(shell.answer),
    )  # fmt: skip
    if status != uefi.SUCCESS:
        return False
    shell.low = shell.answer[0]
    pages = (SIZE + ALIGNMENT) // PAGE
    shell.answer[0] = EVERYTHING - 1
    status = uefi.call(
        shell.boot, uefi.ALLOCATE_PAGES, uefi.MOST_ADDRESS, uefi.RESERVED_MEMORY, pages,
        address_of(shell.answer),
    )  # fmt: skip
    if status != uefi.SUCCESS:
        release_low(shell)
        return False
    first = shell.answer[0]
    shell.block = u64(first + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    before = u64(shell.block - first) // PAGE
    if before:
        uefi.call(shell.boot, uefi.FREE_PAGES, first, before)
    after = u64(pages - SIZE // PAGE - before)
    if after:
        uefi.call(shell.boot, uefi.FREE_PAGES, u64(shell.block + SIZE), after)
    fill(shell.block, 0, SIZE)
    return True


def release(shell: Shell) -> None:
    """Give it back to the firmware."""
    uefi.call(shell.boot, uefi.FREE_PAGES, shell.block, SIZE // PAGE)
    release_low(shell)


def release_low(shell: Shell) -> None:
    """The two pages."""
    uefi.call(shell.boot, uefi.FREE_PAGES, shell.low, LOW_SIZE // PAGE)


def map_all(shell: Shell) -> None:
    """Make the tables of the host, of the guest and of the monitor."""
    block, tables = shell.block, common(shell).tables
    tables.next = u64(block + PAGE_TABLES)
    tables.end = u64(block + PAGE_TABLES + PAGE_TABLES_SIZE)
    shell.host_root = tables.new()
    tables.map(shell.host_root, 0, 0, EVERYTHING, HOST)
    shell.guest_root = tables.new()
    tables.map(shell.guest_root, 0, 0, EVERYTHING, GUEST)
    replace_all(shell, shell.guest_root, block, SIZE, DECOY)
    replace_all(shell, shell.guest_root, shell.low, LOW_SIZE, DECOY)
    shell.monitor_root = tables.new()
    for piece in PIECES:
        tables.map(shell.monitor_root, piece.address, u64(block + piece.place), piece.size, GUEST)
    tables.map(shell.monitor_root, WRITES, u64(block + MONITOR_WRITES), PAGE, GUEST)
    for number in range(CPUS):
        address = RUN_PAGES + number * RUN_STRIDE + PAGE
        place = u64(block + MONITOR_DATA + number * PAGE)
        tables.map(shell.monitor_root, address, place, PAGE, GUEST)


def replace_all(shell: Shell, root: u64, address: u64, size: u64, place: u32) -> None:
    """Show one page of the block, again and again, instead of what is at an address."""
    common(shell).tables.repeat(root, address, size, u64(shell.block + place), GUEST)


def map_controller(shell: Shell) -> None:
    """Its registers are there for the monitor, and with its interrupts for the host."""
    reach(shell, shell.host_root, shell.bar, HOST)
    reach(shell, shell.host_root, shell.vectors, HOST)
    common(shell).tables.map(shell.monitor_root, BARS, shell.bar, REGISTERS_SIZE, GUEST)
    fill(u64(shell.block + NOBODY), 0xFF, PAGE)


def hide(shell: Shell, address: u64, size: u64) -> None:
    """Nobody is there for the guest, in whole pages. What is larger than a GiB begins at one."""
    if address < HIGHEST:
        reach(shell, shell.guest_root, address, GUEST)
        first, behind = address // PAGE * PAGE, u64(address + min(size, HIGHEST) + PAGE - 1)
        end = min(behind // PAGE * PAGE, HIGHEST)
        replace_all(shell, shell.guest_root, first, u64(end - first), NOBODY)


def reach(shell: Shell, root: u64, address: u64, flags: u64) -> None:
    """Map an address with its surroundings, if it is above what is mapped."""
    if address >= EVERYTHING:
        first = address // GIBIBYTE * GIBIBYTE
        place = common(shell).tables.place_of(root, first, LARGEST)
        if load64(place) == 0:
            store64(place, first | flags | LARGE)


def map_ram(shell: Shell, end: u64) -> None:
    """The guest's, to `end`, is there for the monitor, and the decoy instead of the block."""
    common(shell).tables.map(shell.monitor_root, RAM_WINDOW, 0, end, GUEST)
    replace_all(shell, shell.monitor_root, u64(RAM_WINDOW + shell.low), LOW_SIZE, DECOY)
    if shell.block < end:
        address = u64(RAM_WINDOW + shell.block)
        replace_all(shell, shell.monitor_root, address, SIZE, DECOY)


def intercept_msr(block: u64, number: u32, accesses: u8) -> None:
    """Some of its accesses, or all: MSR_WRITES, MSR_ACCESSES. APM volume 2, 15.11."""
    offset: u32 = 0
    if number >= 0xC001_0000:
        offset = 0x1000
    elif number >= 0xC000_0000:
        offset = 0x800
    bit = 2 * (number & 0x1FFF)
    place = u64(block + MSRS + offset + bit // 8)
    store8(place, u8(load8(place) | accesses << bit % 8))
