"""A static linker for a program's object files: a flat image, and an ELF file for debuggers.

The image is read-only code and constants, padded to a page, then zeroed memory. Relocation
types: System V ABI, AMD64 supplement 1.0, section 4.4.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

PAGE = 4096
FIRST = ".text"
ALLOCATED, EXECUTABLE, WRITABLE = 2, 4, 1  # SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE
R_64, R_PC32, R_PLT32, R_32, R_32S, R_PC64 = 1, 2, 4, 10, 11, 24
DROPPED = (".eh_frame", ".comment", ".note", ".llvm_addrsig")


class LinkError(Exception):
    """The object file holds what a flat image can't: writable data, unknown symbols."""


@dataclass(slots=True)
class Section:
    """One section of the output. `index` is its number in all object files, one after the other."""

    name: str
    index: int
    flags: int
    kind: str
    size: int
    alignment: int
    data: bytearray
    address: int = 0


@dataclass(slots=True)
class Linked:
    """What linking gives. Addresses in `symbols` are offsets from the base."""

    base: int
    code: bytes  # a whole number of pages
    memory_size: int
    symbols: dict[str, int]
    elf: bytes
    lines: list[tuple[int, str, int]]  # (offset, file, line), sorted; line 0: none


class _Object:
    """An object file. `first` is the index of its first section."""

    def __init__(self, file: bytes, first: int) -> None:
        self.elf: Any = ELFFile(io.BytesIO(file))
        self.first = first
        self.names: list[str] = []  # of its symbols
        self.values: list[int | None] = []  # their addresses; None: defined in no section kept

    @property
    def behind(self) -> int:
        """The index of the next object's first section."""
        return self.first + int(self.elf.num_sections())


def link(object_files: Sequence[bytes], base: int) -> Linked:
    """Place the objects' sections at `base` and resolve them. Raises LinkError."""
    objects: list[_Object] = []
    for file in object_files:
        objects.append(_Object(file, objects[-1].behind if objects else 0))
    sections = {index: found for each in objects for index, found in _sections(each).items()}
    code_size, memory_size = _lay_out(sections, base)
    symbols = _Symbols(objects, sections)
    for each in objects:
        _relocate(each, sections)
    code = bytearray(code_size)
    for section in sections.values():
        if section.flags & ALLOCATED and section.kind != "SHT_NOBITS":
            start = section.address - base
            code[start : start + section.size] = section.data
    executable = _executable(_joined(sections), symbols, base, code_size, memory_size)
    named = {name: value - base for name, value in symbols.defined.items() if value >= base}
    return Linked(base, bytes(code), memory_size, named, executable, _lines(executable, base))


def _sections(source: _Object) -> dict[int, Section]:
    """The sections worth keeping, by index: those of the image, and debug information."""
    found = {}
    for index, section in enumerate(source.elf.iter_sections(), source.first):
        flags, kind = section["sh_flags"], section["sh_type"]
        kept = flags & ALLOCATED or section.name.startswith(".debug_")
        if not kept or section.name.startswith(DROPPED) or not section["sh_size"]:
            continue
        if flags & WRITABLE and kind != "SHT_NOBITS":
            raise LinkError(f"section {section.name} is writable data; only zeroed memory can be")
        data = bytearray() if kind == "SHT_NOBITS" else bytearray(section.data())
        alignment = max(1, section["sh_addralign"])
        found[index] = Section(
            section.name, index, flags, kind, section["sh_size"], alignment, data
        )
    return found


def _lay_out(sections: dict[int, Section], base: int) -> tuple[int, int]:
    """Give addresses; the sizes of the read-only part and of all."""
    image = [section for section in sections.values() if section.flags & ALLOCATED]
    zeroed = [section for section in image if section.kind == "SHT_NOBITS"]
    fixed = [section for section in image if section.kind != "SHT_NOBITS"]
    fixed.sort(key=lambda section: (not section.flags & EXECUTABLE, section.index))
    end = _place(fixed, base)
    code_size = _aligned(end - base, PAGE)
    end = _place(zeroed, base + code_size)
    ends: dict[str, int] = {}  # of debug information, by name: see _joined
    for section in sections.values():
        if not section.flags & ALLOCATED:
            section.address = ends.get(section.name, 0)
            ends[section.name] = section.address + section.size
    return code_size, _aligned(end - base, PAGE)


def _place(sections: list[Section], address: int) -> int:
    for section in sections:
        section.address = _aligned(address, section.alignment)
        address = section.address + section.size
    return address


def _aligned(value: int, alignment: int) -> int:
    return (value + alignment - 1) // alignment * alignment


class _Symbols:
    """What the objects define, as addresses; each of them is told its own symbols' addresses."""

    def __init__(self, objects: Sequence[_Object], sections: dict[int, Section]) -> None:
        self.functions: list[tuple[str, int, int]] = []  # name, address, size
        self.defined: dict[str, int] = {}
        for each in objects:
            for symbol in each.elf.get_section_by_name(".symtab").iter_symbols():
                each.names.append(symbol.name)
                each.values.append(self._define(symbol, each.first, sections))
        for each in objects:
            each.values = [
                self.defined.get(name) if value is None else value
                for name, value in zip(each.names, each.values, strict=True)
            ]

    def _define(self, symbol: Any, first: int, sections: dict[int, Section]) -> int | None:
        index = symbol["st_shndx"]
        if index == "SHN_ABS":
            return int(symbol["st_value"])
        section = None if isinstance(index, str) else sections.get(first + index)
        if section is None:
            return None
        value = section.address + int(symbol["st_value"])
        if symbol.name and section.flags & ALLOCATED:
            self.defined[symbol.name] = value
            self.functions.append((symbol.name, value, symbol["st_size"]))
        return value


def _relocate(source: _Object, sections: dict[int, Section]) -> None:
    for table in source.elf.iter_sections():
        section = sections.get(source.first + table["sh_info"])
        if table["sh_type"] == "SHT_RELA" and section is not None:
            for entry in table.iter_relocations():
                _apply(section, source, entry)


def _apply(section: Section, source: _Object, entry: Any) -> None:
    value, kind, offset = (
        source.values[entry["r_info_sym"]],
        entry["r_info_type"],
        entry["r_offset"],
    )
    if value is None:
        if section.flags & ALLOCATED:
            name = source.names[entry["r_info_sym"]]
            raise LinkError(f"{name} is used in {section.name} and defined nowhere")
        value = 0  # debug information about code that was dropped
    target = value + entry["r_addend"]
    place = section.address + offset
    try:
        if kind == R_64:
            struct.pack_into("<Q", section.data, offset, target % (1 << 64))
        elif kind in (R_PC32, R_PLT32):
            struct.pack_into("<i", section.data, offset, target - place)
        elif kind == R_PC64:
            struct.pack_into("<q", section.data, offset, target - place)
        elif kind == R_32:
            struct.pack_into("<I", section.data, offset, target)
        elif kind == R_32S:
            struct.pack_into("<i", section.data, offset, target)
        else:
            raise LinkError(f"relocation type {kind} in {section.name} is not known")
    except struct.error as error:
        raise LinkError(f"a relocation in {section.name} does not fit: {error}") from None


# ---- the ELF file --------------------------------------------------------------------------------
def _joined(sections: dict[int, Section]) -> dict[int, Section]:
    """The same with one section of each name of debug information, which is all objects'."""
    joined: dict[int, Section] = {}
    of_name: dict[str, Section] = {}
    for index, section in sections.items():
        found = of_name.get(section.name)
        if section.flags & ALLOCATED or found is None:
            joined[index] = section
            if not section.flags & ALLOCATED:
                of_name[section.name] = section
        else:
            found.data += section.data
            found.size += section.size
    return joined


def _executable(
    sections: dict[int, Section], symbols: _Symbols, base: int, code_size: int, memory_size: int
) -> bytes:
    """An ELF executable with the same code at the same addresses, and its debug information."""
    names, strings = bytearray(b"\0"), bytearray(b"\0")
    body = bytearray(PAGE)  # headers; then the image, at a page of its own
    headers = [bytes(64)]
    for section in sorted(sections.values(), key=lambda item: (item.address, item.index)):
        if section.flags & ALLOCATED:
            offset = PAGE + section.address - base
            body.extend(bytes(max(0, offset + len(section.data) - len(body))))
            body[offset : offset + len(section.data)] = section.data
    order = {}
    for section in sections.values():
        offset = PAGE + section.address - base if section.flags & ALLOCATED else len(body)
        if not section.flags & ALLOCATED:
            body.extend(section.data)
        order[section.index] = len(headers)
        kind = 8 if section.kind == "SHT_NOBITS" else 1
        headers.append(
            _section_header(
                names, section.name, kind, section.flags & 7, section.address, offset,
                section.size, section.alignment,
            )
        )  # fmt: skip
    table, local_count = _symbol_table(sections, symbols, strings, order)
    for name, kind, data, link_to, info, entry in (
        (".symtab", 2, table, len(headers) + 1, local_count, 24),
        (".strtab", 3, strings, 0, 0, 0),
    ):
        headers.append(
            _section_header(
                names, name, kind, 0, 0, len(body), len(data), 8 if entry else 1,
                link_to, info, entry,
            )
        )  # fmt: skip
        body.extend(data)
    headers.append(_section_header(names, ".shstrtab", 3, 0, 0, len(body), 0, 1))
    headers[-1] = headers[-1][:32] + struct.pack("<Q", len(names)) + headers[-1][40:]
    body.extend(names)
    body.extend(bytes(-len(body) % 8))
    section_offset = len(body)
    body.extend(b"".join(headers))
    body[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, base, 64, section_offset, 0,
        64, 56, 1, 64, len(headers), len(headers) - 1,
    )  # fmt: skip
    body[64:120] = struct.pack("<IIQQQQQQ", 1, 5, PAGE, base, base, code_size, memory_size, PAGE)
    return bytes(body)


def _section_header(
    names: bytearray, name: str, kind: int, flags: int, address: int, offset: int, size: int,
    alignment: int, link_to: int = 0, info: int = 0, entry: int = 0,
) -> bytes:  # fmt: skip
    position = len(names)
    names.extend(name.encode() + b"\0")
    return struct.pack(
        "<IIQQQQIIQQ", position, kind, flags, address, offset, size, link_to, info, alignment,
        entry,
    )  # fmt: skip


def _symbol_table(
    sections: dict[int, Section], symbols: _Symbols, strings: bytearray, order: dict[int, int]
) -> tuple[bytes, int]:
    """The functions, all global; and the number of the first global symbol."""
    table = bytearray(24)
    for name, value, size in symbols.functions:
        home = next(
            section for section in sections.values()
            if section.flags & ALLOCATED
            and section.address <= value <= section.address + section.size
        )  # fmt: skip
        kind = 0x12 if home.flags & EXECUTABLE else 0x11  # global function or object
        table += struct.pack("<IBBHQQ", len(strings), kind, 0, order[home.index], value, size)
        strings.extend(name.encode() + b"\0")
    return bytes(table), 1


def _lines(executable: bytes, base: int) -> list[tuple[int, str, int]]:
    """The line table, from the linked file's own DWARF 4: section 6.2. Files are full paths."""
    information = ELFFile(io.BytesIO(executable)).get_dwarf_info()
    found: list[tuple[int, str, int]] = []
    for unit in information.iter_CUs():
        program = information.line_program_for_CU(unit)
        if program is None:
            continue
        home = Path(unit.get_top_DIE().attributes["DW_AT_comp_dir"].value.decode())
        folders = [home, *(home / name.decode() for name in program["include_directory"])]
        files = [
            str(folders[file.dir_index] / file.name.decode()) for file in program["file_entry"]
        ]
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            line = 0 if state.end_sequence else state.line
            found.append((state.address - base, files[state.file - 1] if line else "", line))
    found.sort(key=lambda row: row[0])
    return found
