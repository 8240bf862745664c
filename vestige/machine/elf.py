"""Loads an ELF kernel: Linux's vmlinux, a Multiboot kernel, or any program that starts like one.

Sources: System V ABI, "ELF-64 Object File Format" and "Object Files" (header, program headers,
notes); Xen, docs/misc/pvh.pandoc and xen/include/public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY).
"""

import struct
from _collections_abc import Iterator

from vestige.abi import MIB
from vestige.errors import UsageError
from vestige.machine.files import InputFile
from vestige.machine.kernel import (
    AUTO,
    ELF_COMMAND_LINE_MAXIMUM,
    EXPECTED,
    LINUX_64,
    MULTIBOOT,
    PVH,
    SEARCHED,
    Kernel,
    check_memory,
)
from vestige.machine.memory_map import KERNEL_FLOOR, PAGE
from vestige.machine.ram import Ram

MAGIC = b"\x7fELF"
CLASS, CLASS_32, CLASS_64 = 4, 1, 2  # e_ident[EI_CLASS]
ENCODING, BIG_ENDIAN = 5, 2  # e_ident[EI_DATA]
MACHINES = {8: "MIPS", 21: "64-bit PowerPC", 22: "s390", 40: "32-bit ARM", 183: "arm64"} | {
    243: "RISC-V",
    258: "LoongArch",
}
TYPES = (2, 3)  # ET_EXEC, ET_DYN
PT_LOAD, PT_NOTE = 1, 4
NOTE_HEADER = struct.Struct("<III")  # name size, descriptor size, type
XEN_NOTE = b"Xen\0"
PHYS32_ENTRY = 18
FIRST_INSTRUCTIONS = 16  # bytes of code that can't all be zero
NOTES_LIMIT = 1 * MIB  # Linux has some hundred bytes

# The setup header that vmlinux has no place for: boot.rst's obligatory fields, as a bzImage of
# protocol 2.12 has them.
SETUP_HEADER_END = 0x264


class Segment:
    """A program header: `size` bytes of the file at `offset`, for RAM at `address`."""

    __slots__ = ("address", "alignment", "memory_size", "offset", "size", "type", "virtual")

    def __init__(
        self,
        type_: int,
        offset: int,
        virtual: int,
        address: int,
        size: int,
        memory_size: int,
        alignment: int,
    ) -> None:
        self.type, self.offset, self.virtual, self.address = type_, offset, virtual, address
        self.size, self.memory_size, self.alignment = size, memory_size, alignment


class Form:
    """How a class of ELF files lies: the header's `start` (entry, program headers), their `counts`
    (size of each, how many), a `program` header and the places of Segment's values in it.
    """

    __slots__ = ("counts", "machine", "order", "program", "size", "start")

    def __init__(
        self,
        machine: int,
        size: int,
        start: tuple[int, str],
        counts: int,
        program: str,
        order: tuple[int, ...],
    ) -> None:
        self.machine, self.size, self.counts, self.order = machine, size, counts, order
        self.start = start[0], struct.Struct(start[1])
        self.program = struct.Struct(program)


FORMS = {
    CLASS_32: Form(3, 52, (24, "<II"), 42, "<8I", (0, 1, 2, 3, 4, 5, 7)),
    CLASS_64: Form(62, 64, (24, "<QQ"), 54, "<IIQQQQQQ", (0, 2, 3, 4, 5, 6, 7)),
}


def is_elf(header: bytes) -> bool:
    """Whether a file that starts with `header` is an ELF file."""
    return header.startswith(MAGIC)


def load(file: InputFile, path: str, size: int, header: bytes, ram: Ram, protocol: str) -> Kernel:
    """Put an ELF kernel's segments at their physical addresses; RAM must be zero there.

    `protocol` AUTO takes a documented way to enter the file where it has one: Multiboot for 32-bit
    files, then PVH. A 64-bit file with neither starts at the ELF entry point as Linux's 64-bit
    entry. Raises UsageError if the file is truncated, damaged, for another CPU, has no such entry
    or needs more RAM than there is.
    """
    form = _check(header, path)
    segments = _segments(file, path, size, header, form)
    loaded = [segment for segment in segments if segment.type == PT_LOAD and segment.memory_size]
    if not loaded:
        raise UsageError(f"{path}: an ELF file with nothing to load; give {EXPECTED}")
    _check_in_file(loaded, path, size)
    offset, start = form.start
    elf_entry, _ = start.unpack_from(header, offset)
    is_64 = form is FORMS[CLASS_64]
    pvh_entry = _pvh_entry(file, path, size, segments)
    if protocol == MULTIBOOT or (protocol == AUTO and not is_64):
        from vestige.machine import multiboot  # noqa: PLC0415 - few kernels are such

        found = multiboot.find(path, header[:SEARCHED])
        if found is not None and found.addresses is not None:
            return multiboot.load(file, path, size, found, ram)
        if found is not None and not is_64:
            return _load_multiboot(file, path, loaded, elf_entry, ram)
        if protocol == MULTIBOOT or pvh_entry is None:
            raise UsageError(
                f"{path}: {'an' if is_64 else 'a 32-bit'} ELF file with no Multiboot header"
                f"{' that has addresses' if is_64 else ''}; give {EXPECTED}"
            )
    if protocol == PVH and pvh_entry is None:
        raise UsageError(f"{path}: an ELF file with no PVH note; give a kernel with CONFIG_PVH")
    if protocol in (AUTO, PVH) and pvh_entry is not None:
        protocol, entry = PVH, pvh_entry
    elif protocol in (AUTO, LINUX_64) and is_64:
        protocol, entry = LINUX_64, elf_entry
    else:
        raise UsageError(f"{path}: an ELF file has no {protocol} entry; give {EXPECTED}")
    end = _check_placement(loaded, path, ram.memory_map.low_size)
    entry = _physical(entry, loaded, path)
    _place(file, loaded, ram)
    _check_code(entry, ram, path)
    return Kernel(
        protocol=protocol,
        entry=entry,
        end=-(-end // PAGE) * PAGE,
        setup_header=_setup_header(),
        command_line_maximum=ELF_COMMAND_LINE_MAXIMUM,
        initrd_limit=ram.memory_map.low_size,
        initrd_anywhere=False,  # PVH's start-up code in Linux keeps 32 bits of its address
    )


def _load_multiboot(
    file: InputFile, path: str, segments: list[Segment], entry: int, ram: Ram
) -> Kernel:
    """A Multiboot kernel whose segments are those of the ELF file."""
    from vestige.machine import multiboot  # noqa: PLC0415 - few kernels are such

    low_size = ram.memory_map.low_size
    for segment in segments:
        start, end = segment.address, segment.address + segment.memory_size
        multiboot.check_place(path, start, end, low_size)
    entry = _physical(entry, segments, path)
    _place(file, segments, ram)
    _check_code(entry, ram, path)
    end = max(segment.address + segment.memory_size for segment in segments)
    return multiboot.kernel(entry, end, low_size)


def _place(file: InputFile, segments: list[Segment], ram: Ram) -> None:
    for segment in segments:
        file.read_at(segment.offset, ram.at(segment.address, segment.size))


def _check(header: bytes, path: str) -> Form:
    form = FORMS.get(header[CLASS]) if len(header) > CLASS else None
    least = min(each.size for each in FORMS.values()) if form is None else form.size
    if len(header) < least:
        raise UsageError(
            f"{path}: a truncated ELF file: its header ends at byte {len(header)}; copy it again"
        )
    order = "big" if header[ENCODING] == BIG_ENDIAN else "little"
    machine = int.from_bytes(header[18:20], order)  # type: ignore[arg-type]
    if machine in MACHINES:
        raise UsageError(f"{path}: an ELF file for {MACHINES[machine]}; give {EXPECTED}")
    if form is None or machine != form.machine or order == "big":
        raise UsageError(f"{path}: an ELF file for machine {machine}; give {EXPECTED}")
    kind = int.from_bytes(header[16:18], "little")
    if kind not in TYPES:
        raise UsageError(f"{path}: an ELF file of type {kind}, not executable; give {EXPECTED}")
    return form


def _segments(file: InputFile, path: str, size: int, header: bytes, form: Form) -> list[Segment]:
    offset, start = form.start
    _, table = start.unpack_from(header, offset)
    entry_size, count = struct.unpack_from("<HH", header, form.counts)
    if count and entry_size != form.program.size:
        raise UsageError(
            f"{path}: a damaged ELF file: program headers of {entry_size} bytes, "
            f"{form.program.size} expected; copy it again"
        )
    length = count * form.program.size
    _check_inside(path, "program headers", table + length, size)
    data = bytearray(length)
    file.read_at(table, memoryview(data))
    return [
        Segment(*(fields[place] for place in form.order))
        for fields in form.program.iter_unpack(data)
    ]


def _check_inside(path: str, what: str, end: int, size: int) -> None:
    if end > size:
        raise UsageError(
            f"{path}: a truncated ELF file: its {what} end at byte {end}, the file at {size}; "
            "copy it again"
        )


def _check_in_file(segments: list[Segment], path: str, size: int) -> None:
    """Refuse what is not in the file, is more than its memory, or shares it with another."""
    for segment in segments:
        if segment.size:
            _check_inside(path, "segments", segment.offset + segment.size, size)
        if segment.size > segment.memory_size:
            raise UsageError(
                f"{path}: a damaged ELF file: a segment of {segment.size} bytes for "
                f"{segment.memory_size} bytes of memory; copy it again"
            )
    end = 0
    for segment in sorted(segments, key=lambda each: each.address):
        if segment.address < end:
            raise UsageError(
                f"{path}: a damaged ELF file: two segments at {segment.address:#x}; copy it again"
            )
        end = segment.address + segment.memory_size


def _check_placement(segments: list[Segment], path: str, low_size: int) -> int:
    """The end of the segments in RAM, once every one is known to be where a kernel may be."""
    for segment in segments:
        if segment.address < KERNEL_FLOOR:
            raise UsageError(
                f"{path}: a segment at {segment.address:#x}, below 1 MiB; give a kernel "
                "linked above it"
            )
    end = max(segment.address + segment.memory_size for segment in segments)
    check_memory(path, end, low_size)
    return end


def _physical(entry: int, segments: list[Segment], path: str) -> int:
    """The physical address of an entry point given as either kind of address."""
    for segment in segments:
        if segment.address <= entry < segment.address + segment.memory_size:
            return entry
    for segment in segments:
        if segment.virtual <= entry < segment.virtual + segment.memory_size:
            return entry - segment.virtual + segment.address
    raise UsageError(f"{path}: entry point {entry:#x} is in no segment; give {EXPECTED}")


def _check_code(entry: int, ram: Ram, path: str) -> None:
    """Raise UsageError where the kernel would begin with zeroes."""
    if not any(ram.at(entry, min(FIRST_INSTRUCTIONS, ram.memory_map.low_size - entry))):
        raise UsageError(
            f"{path}: no code at its entry point {entry:#x}; give the kernel itself, not what"
            " `objcopy --only-keep-debug` keeps of it"
        )


def _pvh_entry(file: InputFile, path: str, size: int, segments: list[Segment]) -> int | None:
    for segment in segments:
        if segment.type != PT_NOTE or segment.size > NOTES_LIMIT:
            continue
        _check_inside(path, "notes", segment.offset + segment.size, size)
        data = bytearray(segment.size)
        file.read_at(segment.offset, memoryview(data))
        for name, kind, descriptor in _notes(bytes(data), segment.alignment):
            if name == XEN_NOTE and kind == PHYS32_ENTRY:
                return int.from_bytes(descriptor[:8], "little")
    return None


def _notes(data: bytes, alignment: int) -> Iterator[tuple[bytes, int, bytes]]:
    """(name, type, descriptor) of each note, as far as they are whole.

    Descriptors and notes begin at multiples of 4, or of 8 where the segment is aligned so, as
    binutils and glibc read them; the System V ABI says 8 for every 64-bit file, which few are.
    """
    step = 8 if alignment == 8 else 4
    position = 0
    while position + NOTE_HEADER.size <= len(data):
        name_size, descriptor_size, kind = NOTE_HEADER.unpack_from(data, position)
        name = position + NOTE_HEADER.size
        descriptor = -(-(name + name_size) // step) * step
        end = descriptor + descriptor_size
        yield data[name : name + name_size], kind, data[descriptor:end]
        position = -(-end // step) * step


def _setup_header() -> bytes:
    header = bytearray(SETUP_HEADER_END)
    struct.pack_into("<H", header, 0x1FE, 0xAA55)
    struct.pack_into("<4sH", header, 0x202, b"HdrS", 0x20C)
    header[0x211] = 1  # loadflags: LOADED_HIGH
    struct.pack_into("<I", header, 0x230, 2 * MIB)  # kernel_alignment
    struct.pack_into("<I", header, 0x238, ELF_COMMAND_LINE_MAXIMUM)
    return bytes(header[0x1F1:])
