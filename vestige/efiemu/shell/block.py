"""The shell's memory, 2 MiB of the machine's that its operating system takes for reserved.

Page tables: AMD64 APM volume 2, 5.3 and 15.25. The host maps all memory to itself, and so does the
guest's nested table, but for the block: there the guest has one page of zeroes, 512 times.
"""

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import PAGE
from vestige.lang.intrinsics import address_of, fill, load8, store8, store64
from vestige.lang.types import u8, u32, u64

SIZE = 2 << 20
# Offsets in it. The image is at its beginning, at most so large.
IMAGE_SIZE = 0x10_0000
VMCB, HOST_SAVE = 0x10_0000, 0x10_1000
HOST_ROOT, HOST_GIBIBYTES = 0x10_2000, 0x10_3000
NESTED_ROOT, NESTED_GIBIBYTES = 0x10_5000, 0x10_6000
NESTED_DIRECTORY, NESTED_PAGES = 0x10_8000, 0x10_9000
MSRS = 0x10_D000  # permission map, of 2 pages
DESCRIPTORS, GATES, DECOY = 0x10_F000, 0x11_0000, 0x11_1000

PRESENT, WRITABLE, USER, LARGE = 1, 2, 4, 0x80
HOST, GUEST = PRESENT | WRITABLE, PRESENT | WRITABLE | USER
ENTRIES = 512
TABLES = 2  # of 512 GiB each
CODE_DESCRIPTOR, DATA_DESCRIPTOR = 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF


def allocate(shell: Shell) -> bool:
    """Find memory for it; False: there is not enough. What was taken too much is given back."""
    pages = 2 * SIZE // PAGE
    status = uefi.call(
        shell.boot, uefi.ALLOCATE_PAGES, uefi.ANY_PAGES, uefi.RESERVED_MEMORY, pages,
        address_of(shell.answer),
    )  # fmt: skip
    if status != uefi.SUCCESS:
        return False
    first = shell.answer[0]
    shell.block = u64(first + SIZE - 1) // SIZE * SIZE
    before = u64(shell.block - first) // PAGE
    if before:
        uefi.call(shell.boot, uefi.FREE_PAGES, first, before)
    after = u64(pages - SIZE // PAGE - before)
    if after:
        uefi.call(shell.boot, uefi.FREE_PAGES, u64(shell.block + SIZE), after)
    fill(shell.block, 0, SIZE)
    return True


def map_all(block: u64) -> None:
    """Fill the tables of the host and of the guest."""
    for number in range(TABLES):
        enter(u64(block + HOST_ROOT), number, u64(block + HOST_GIBIBYTES + PAGE * number) | HOST)
        enter(
            u64(block + NESTED_ROOT), number, u64(block + NESTED_GIBIBYTES + PAGE * number) | GUEST
        )
    for number in range(TABLES * ENTRIES):
        enter(u64(block + HOST_GIBIBYTES), number, number << 30 | LARGE | HOST)
        enter(u64(block + NESTED_GIBIBYTES), number, number << 30 | LARGE | GUEST)
    gibibyte = block >> 30
    directory = u64(block + NESTED_DIRECTORY)
    for number in range(ENTRIES):
        enter(directory, number, u64((gibibyte << 30) + (number << 21)) | LARGE | GUEST)
        enter(u64(block + NESTED_PAGES), number, u64(block + DECOY) | GUEST)
    enter(directory, u32((block >> 21) % ENTRIES), u64(block + NESTED_PAGES) | GUEST)
    enter(u64(block + NESTED_GIBIBYTES), u32(gibibyte % (TABLES * ENTRIES)), directory | GUEST)


def enter(table: u64, number: u32, entry: u64) -> None:
    """Write an entry of a table, or of several that follow each other."""
    store64(u64(table + 8 * number), entry)


def intercept_msr(block: u64, number: u32) -> None:
    """Of reads and writes. APM volume 2, 15.11."""
    offset: u32 = 0
    if number >= 0xC001_0000:
        offset = 0x1000
    elif number >= 0xC000_0000:
        offset = 0x800
    bit = 2 * (number & 0x1FFF)
    place = u64(block + MSRS + offset + bit // 8)
    store8(place, u8(load8(place) | 3 << bit % 8))
