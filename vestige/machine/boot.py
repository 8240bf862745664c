"""Loads a guest: kernel, initrd, command line, ACPI tables, and the boot CPU's first state.

Sources: Linux, Documentation/arch/x86/boot.rst ("64-bit Boot Protocol", "32-bit Boot Protocol")
and zero-page.rst; Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h;
Multiboot Specification 0.6.96.
"""

import struct

from vestige.abi import ACPI_TABLES, GIB, HIGH_RAM, KIB, MIB, Board
from vestige.errors import UsageError
from vestige.machine import acpi, bzimage, elf
from vestige.machine.config import MachineConfig
from vestige.machine.cpu import (
    CODE,
    CR0_ET,
    CR0_NE,
    CR0_PE,
    CR0_PG,
    CR0_WP,
    CR4_PAE,
    DATA,
    EFER_LMA,
    EFER_LME,
    TSS,
    CpuState,
    Segment,
)
from vestige.machine.files import InputFile
from vestige.machine.kernel import (
    AUTO,
    EXPECTED,
    LINUX_32,
    LINUX_64,
    MULTIBOOT,
    PVH,
    SEARCHED,
    Kernel,
    command_line,
    no_room,
)
from vestige.machine.memory_map import (
    BASE_MEMORY,
    BIOS_ENTRY,
    BOOT_PARAMS,
    COMMAND_LINE,
    GDT,
    LOW_RAM_END,
    MP_TABLES,
    MULTIBOOT_COMMAND_LINE,
    MULTIBOOT_INFO,
    PAGE,
    PAGE_TABLES,
    PVH_START_INFO,
    SMBIOS,
    STACK_TOP,
    MemoryMap,
)
from vestige.machine.ram import Ram

PACKED = (  # bytes at the start, and what unpacks it
    (b"\x1f\x8b", "zcat"),
    (b"\xfd7zXZ\0", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstdcat"),
    (b"\x04\x22\x4d\x18", "lz4cat"),
    (b"BZh", "bzcat"),
)
ARM64_MAGIC = b"ARM\x64"  # Linux, Documentation/arm64/booting.rst
ARM64_MAGIC_OFFSET = 56

# boot_params, zero-page.rst
RSDP_ADDRESS = 0x070  # u64
EXTENDED_INITRD = 0x0C0  # u32 upper halves: of its address, of its size
EXTENDED_COMMAND_LINE = 0x0C8
E820_COUNT = 0x1E8  # u8
SETUP_HEADER = 0x1F1
E820_TABLE = 0x2D0
E820_ENTRY = struct.Struct("<QQI")

START_INFO_MAGIC = 0x336E_C578
START_INFO = struct.Struct("<IIIIQQQQII")
MODULE_ENTRY = struct.Struct("<QQQQ")
MEMORY_ENTRY = struct.Struct("<QQII")

CODE_SELECTOR, DATA_SELECTOR, TASK_SELECTOR = 0x10, 0x18, 0x20  # boot.rst: __BOOT_CS, __BOOT_DS
TASK_LIMIT = 0x67
PRESENT_WRITABLE = 3
LARGE_PAGE = 1 << 7


# Linux resets a machine of hardware-reduced ACPI through EFI or, where there is none, by a jump to
# the BIOS in real mode (efi_reboot_required in arch/x86/platform/efi/quirks.c): never by ACPI's
# register. So there is a BIOS of five instructions, which does that.
def bios(port: int, value: int) -> bytes:
    """It, for a machine that this value at this port resets."""
    return (
        b"\xba" + port.to_bytes(2, "little")  # mov dx, port
        + b"\xb0" + bytes([value])  # mov al, value
        + b"\xee\xf4\xeb\xfd"  # out dx, al; hlt; jmp to hlt
    )  # fmt: skip


def load(
    ram: memoryview,
    config: MachineConfig,
    kernel: InputFile,
    *,
    initrd: InputFile | None = None,
    append: str = "",
    protocol: str = AUTO,
) -> CpuState:
    """Fill `ram` with everything a guest starts from and say how its boot CPU starts.

    `ram` is all of guest RAM, zeroed: the part below 4 GiB, then directly the part above.
    `protocol` is AUTO or one that the file has an entry for. Raises UsageError, one line each, for
    files or a command line that this machine can't start from.
    """
    layout = MemoryMap(config.memory, config.board)
    space = Ram(ram, layout)
    loaded = _load_kernel(space, kernel, protocol)
    is_multiboot = loaded.protocol == MULTIBOOT
    text = _with_name(kernel.path, append) if is_multiboot else append
    line = command_line(text, loaded.command_line_maximum)
    initrd_at = _load_initrd(space, loaded, initrd) if initrd is not None else (0, 0)
    space.write(MULTIBOOT_COMMAND_LINE if is_multiboot else COMMAND_LINE, line)
    space.write(ACPI_TABLES, acpi.build(config))
    space.write(BIOS_ENTRY, bios(*config.reset_register))
    if config.board == Board.PC:
        from vestige.machine import mptable, smbios  # noqa: PLC0415 - a PC's alone

        space.write(MP_TABLES, mptable.build(config))
        space.write(SMBIOS, smbios.in_low_memory(config, SMBIOS))
    space.write(BASE_MEMORY, struct.pack("<H", LOW_RAM_END // KIB))
    if loaded.protocol == PVH:
        return _enter_pvh(space, loaded, initrd_at)
    if is_multiboot:
        return _enter_multiboot(space, loaded, initrd_at)
    screen_info = b""
    if config.has_screen:
        from vestige.machine.screen import SCREEN_INFO  # noqa: PLC0415 - a PC's alone

        screen_info = SCREEN_INFO
    _write_boot_params(space, loaded, initrd_at, screen_info)
    return (
        _enter_linux_32(space, loaded)
        if loaded.protocol == LINUX_32
        else _enter_linux_64(space, loaded)
    )


def _load_kernel(ram: Ram, file: InputFile, protocol: str) -> Kernel:
    path, size = file.path, file.size
    first = bytearray(min(size, SEARCHED))
    file.read_at(0, memoryview(first))
    header = bytes(first)
    if elf.is_elf(header):
        return elf.load(file, path, size, header, ram, protocol)
    if bzimage.is_bzimage(header):
        return bzimage.load(file, path, size, header, ram, protocol)
    from vestige.machine import multiboot  # noqa: PLC0415 - few kernels are such

    found = multiboot.find(path, header)
    if found is not None and found.addresses is not None and protocol in (AUTO, MULTIBOOT):
        return multiboot.load(file, path, size, found, ram)
    for magic, program in PACKED:
        if header.startswith(magic):
            raise UsageError(f"{path}: packed; give {EXPECTED}: --kernel <({program} {path})")
    if header[ARM64_MAGIC_OFFSET:].startswith(ARM64_MAGIC):
        raise UsageError(f'{path}: an arm64 Image ("ARM\\x64" at 56); give {EXPECTED}')
    if found is not None and found.addresses is None:
        raise UsageError(
            f"{path}: a Multiboot header without addresses, in no ELF file; give the ELF file"
        )
    raise UsageError(f'{path}: not a bzImage (no "HdrS" at 0x202) nor an ELF file; give {EXPECTED}')


def _with_name(path: str, append: str) -> str:
    """A Multiboot command line: the kernel's name first, which kernels skip (as Xen's does where
    GRUB 2 has not loaded it).
    """
    return f"{path.rpartition('/')[2]} {append}".rstrip()


def _load_initrd(ram: Ram, kernel: Kernel, file: InputFile) -> tuple[int, int]:
    """Put the initrd as high as the kernel lets it be; its (address, size).

    Below 4 GiB first: every kernel finds it there. A Multiboot kernel finds its module right behind
    itself, as GRUB puts it: it may have mapped no more memory than the first few MiB.
    """
    size = file.size
    layout = ram.memory_map
    address = (min(layout.low_size, kernel.initrd_limit) - size) // PAGE * PAGE
    if kernel.protocol == MULTIBOOT:
        address = min(address, kernel.end)
    if address < kernel.end and kernel.initrd_anywhere:
        address = (HIGH_RAM + layout.high_size - size) // PAGE * PAGE
        fits = address >= HIGH_RAM
    else:
        fits = address >= kernel.end
    if not fits:
        free = max(min(layout.low_size, kernel.initrd_limit) - kernel.end, 0)
        if kernel.initrd_anywhere:
            free = max(free, layout.high_size)
        raise no_room(file.path, size, free)
    file.read_at(0, ram.at(address, size))
    return address, size


def _write_boot_params(
    ram: Ram, kernel: Kernel, initrd: tuple[int, int], screen_info: bytes
) -> None:
    parameters = bytearray(PAGE)
    parameters[: len(screen_info)] = screen_info
    header = kernel.setup_header
    parameters[SETUP_HEADER : SETUP_HEADER + len(header)] = header
    address, size = initrd
    for offset, form, *values in (
        (RSDP_ADDRESS, "<Q", ACPI_TABLES),
        (bzimage.VIDEO_MODE, "<H", bzimage.VIDEO_NORMAL),
        (bzimage.LOADER_TYPE, "<B", bzimage.LOADER_UNDEFINED),
        (bzimage.INITRD, "<II", address & 0xFFFF_FFFF, size & 0xFFFF_FFFF),
        (EXTENDED_INITRD, "<II", address >> 32, size >> 32),
        (bzimage.COMMAND_LINE_POINTER, "<I", COMMAND_LINE),
        (EXTENDED_COMMAND_LINE, "<I", 0),
    ):
        struct.pack_into(form, parameters, offset, *values)
    ranges = ram.memory_map.e820()
    parameters[E820_COUNT] = len(ranges)
    for index, entry in enumerate(ranges):
        E820_ENTRY.pack_into(parameters, E820_TABLE + index * E820_ENTRY.size, *entry)
    ram.write(BOOT_PARAMS, bytes(parameters))


def _enter_linux_32(ram: Ram, kernel: Kernel) -> CpuState:
    state = _at_entry(ram, kernel, Segment(CODE_SELECTOR, CODE))
    state.rsi, state.rsp = BOOT_PARAMS, STACK_TOP
    return state


def _enter_linux_64(ram: Ram, kernel: Kernel) -> CpuState:
    _write_page_tables(ram)
    state = _at_entry(ram, kernel, Segment(CODE_SELECTOR, CODE, long=True, default_32=False))
    state.rsi, state.rsp = BOOT_PARAMS, STACK_TOP
    state.cr0 |= CR0_NE | CR0_WP | CR0_PG
    state.cr3, state.cr4, state.efer = PAGE_TABLES, CR4_PAE, EFER_LME | EFER_LMA
    return state


def _enter_pvh(ram: Ram, kernel: Kernel, initrd: tuple[int, int]) -> CpuState:
    address, size = initrd
    ranges = ram.memory_map.e820()
    modules = PVH_START_INFO + START_INFO.size
    memory = modules + MODULE_ENTRY.size
    data = START_INFO.pack(
        START_INFO_MAGIC,
        1,  # version: has the memory map
        0,
        1 if size else 0,
        modules,
        COMMAND_LINE,
        ACPI_TABLES,
        memory,
        len(ranges),
        0,
    )
    data += MODULE_ENTRY.pack(address, size, 0, 0)
    data += b"".join(MEMORY_ENTRY.pack(*entry, 0) for entry in ranges)
    ram.write(PVH_START_INFO, data)
    state = _at_entry(ram, kernel, Segment(CODE_SELECTOR, CODE))
    state.rbx = PVH_START_INFO
    return state


def _enter_multiboot(ram: Ram, kernel: Kernel, initrd: tuple[int, int]) -> CpuState:
    from vestige.machine import multiboot  # noqa: PLC0415 - few kernels are such

    ram.write(MULTIBOOT_INFO, multiboot.information(ram.memory_map, initrd))
    state = _at_entry(ram, kernel, Segment(CODE_SELECTOR, CODE))
    state.rax, state.rbx = multiboot.ENTRY_MAGIC, MULTIBOOT_INFO
    return state


def _at_entry(ram: Ram, kernel: Kernel, code: Segment) -> CpuState:
    """A CPU in protected mode without paging at the kernel's entry, its segments flat.

    Nothing uses its TSS, but VM entry demands a busy one.
    """
    data = Segment(DATA_SELECTOR, DATA)
    task = Segment(TASK_SELECTOR, TSS, limit=TASK_LIMIT, default_32=False, nonsystem=False)
    return CpuState(
        rip=kernel.entry,
        code=code,
        data=data,
        task=task,
        gdt_base=GDT,
        gdt_limit=_write_gdt(ram, code, data, task),
        cr0=CR0_PE | CR0_ET,
    )


def _write_gdt(ram: Ram, *segments: Segment) -> int:
    """Put the segments' descriptors at GDT, each where its selector says; the table's limit."""
    last = segments[-1].selector
    table = bytearray(last + 16)  # in long mode the TSS's descriptor has 16 bytes
    for segment in segments:
        struct.pack_into("<Q", table, segment.selector, descriptor(segment))
    ram.write(GDT, bytes(table))
    return len(table) - 1


def descriptor(segment: Segment) -> int:
    """The 8-byte segment descriptor, Intel SDM vol. 3, figure 3-8: base 0, DPL 0, present."""
    limit = segment.limit >> 12 if segment.granularity else segment.limit
    flags = segment.granularity << 3 | segment.default_32 << 2 | segment.long << 1
    access = 1 << 7 | segment.nonsystem << 4 | segment.type
    return (limit & 0xFFFF) | access << 40 | (limit >> 16) << 48 | flags << 52


def _write_page_tables(ram: Ram) -> None:
    """Map the first 4 GiB one to one with 2 MiB pages; the kernel maps the rest when it needs it.

    boot.rst asks for the kernel, boot_params and the command line only.
    """
    directories = [PAGE_TABLES + (2 + index) * PAGE for index in range(4)]
    pointers = [directory | PRESENT_WRITABLE for directory in directories]
    pages = range(LARGE_PAGE | PRESENT_WRITABLE, 4 * GIB, 2 * MIB)
    ram.write(PAGE_TABLES, struct.pack("<Q", PAGE_TABLES + PAGE | PRESENT_WRITABLE))
    ram.write(PAGE_TABLES + PAGE, struct.pack("<4Q", *pointers))
    ram.write(directories[0], struct.pack(f"<{len(pages)}Q", *pages))


__all__ = ["AUTO", "LINUX_32", "LINUX_64", "MULTIBOOT", "PVH", "descriptor", "load"]
