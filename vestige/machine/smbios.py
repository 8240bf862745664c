"""What SMBIOS tells of a PC: its structures, and the entry point that leads to them.

Source: DMTF DSP0134, System Management BIOS Reference Specification 3.0: 5.2.1 (the 32-bit entry
point), clause 7 by the structures' types. There are as many as Windows and dmidecode ask for; what
a machine has no number for is 0 or the specification's "unknown".
"""

import struct

from vestige.abi import KIB, MIB
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import MemoryMap

VERSION = (2, 8)
ENTRY_SIZE = 0x1F
NONE = 0xFFFF  # a handle of nothing
LARGEST_ARRAY = 1 << 31  # KiB; from there on the extended field says it
MAKER = "Vestige"

BIOS, SYSTEM, CHASSIS, PROCESSOR, ARRAY, DEVICE, MAPPED, BOOT, END = (
    *(0, 1, 3, 4),
    *(16, 17, 19, 32, 127),
)


class Structures:
    """Structures one behind the other, each with its strings."""

    def __init__(self) -> None:
        self.data = b""
        self.count = 0
        self.largest = 0

    def add(self, type_: int, handle: int, form: str, *values: "int | bytes | str") -> None:
        """One whose fields behind the handle are `form`; text is a string's number there."""
        texts: list[str] = []
        fields: list[int | bytes] = []
        for value in values:
            if isinstance(value, str):
                texts.append(value)
                fields.append(len(texts))
            else:
                fields.append(value)
        body = struct.pack(f"<{form}", *fields)
        strings = b"".join(text.encode() + b"\0" for text in texts) or b"\0"
        whole = struct.pack("<BBH", type_, 4 + len(body), handle) + body + strings + b"\0"
        self.data += whole
        self.count += 1
        self.largest = max(self.largest, len(whole))


def structures(config: MachineConfig, *, with_bios: bool) -> Structures:
    """All of a machine's. A firmware says itself what it is: SeaBIOS adds the first of all."""
    made = Structures()
    if with_bios:
        # 7.1: 64 KiB at 0xF0000; PCI, Plug and Play; ACPI; a virtual machine
        made.add(BIOS, 0x000, "BBHBBQBBBBBB", MAKER, "1", 0xF000, "01/01/2026", 0,
                 1 << 7 | 1 << 9, 1 << 0, 1 << 4, 0, 0, 0xFF, 0xFF)  # fmt: skip
    # 7.2: no UUID; started by its power switch
    made.add(SYSTEM, 0x100, "BBBB16sBBB", MAKER, "PC", "1", 0, bytes(16), 6, 0, 0)
    # 7.4: of another kind; in a safe state, no lock on it
    made.add(CHASSIS, 0x300, "BBBBBBBBBIBBBBB", MAKER, 1, 0, 0, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 0)
    for cpu in range(config.cpus):
        # 7.5: a central processor of another family, enabled, of one core and one thread; no caches
        made.add(
            *(PROCESSOR, 0x400 + cpu, "BBBBQBBHHHBBHHHBBBBBBHH"),
            *(f"CPU {cpu}", 3, 1, MAKER, 0, 0, 0, 0, 0, 0, 0x41, 1, NONE, NONE, NONE, 0, 0, 0),
            *(1, 1, 1, 1 << 2, 1),
        )
    kib = config.memory // KIB
    # 7.17: on the main board, for the system, without error correction
    size = (kib, 0) if kib < LARGEST_ARRAY else (LARGEST_ARRAY, config.memory)
    made.add(ARRAY, 0x1000, "BBBIHHQ", 3, 3, 3, size[0], NONE - 1, 1, size[1])
    # 7.18: one module of RAM
    made.add(
        *(DEVICE, 0x1100, "HHHHHBBBBBHHBBBBBIHHHH"),
        *(0x1000, NONE - 1, NONE, NONE, config.memory // MIB, 9, 0, "DIMM 0", 0, 7, 1 << 1, 0),
        *(MAKER, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    )
    ranges = MemoryMap(config.memory, config.board).ram
    for number, (start, length) in enumerate(ranges):
        first, last = start // KIB, (start + length) // KIB - 1
        made.add(MAPPED, 0x1300 + number, "IIHBQQ", first, last, 0x1000, 1, 0, 0)  # 7.20
    made.add(BOOT, 0x2000, "6sB", bytes(6), 0)  # 7.33: no error
    made.add(END, 0x7F00, "")
    return made


def entry_point(made: Structures, address: int) -> bytes:
    """The 32-bit entry point to structures that are at `address`; where a firmware puts them, 0."""
    rest = struct.pack("<5sBHIHB", b"_DMI_", 0, len(made.data), address, made.count, 0x28)
    rest = rest[:5] + bytes([-sum(rest) & 0xFF]) + rest[6:]
    major, minor = VERSION
    start = struct.pack("<4sBBBBHB5s", b"_SM_", 0, ENTRY_SIZE, major, minor, made.largest, 0, b"")
    whole = start + rest
    return whole[:4] + bytes([-sum(whole) & 0xFF]) + whole[5:]


def firmware_files(config: MachineConfig) -> dict[str, bytes]:
    """fw_cfg's files, which SeaBIOS puts where it likes."""
    made = structures(config, with_bios=False)
    return {
        "etc/smbios/smbios-anchor": entry_point(made, 0),
        "etc/smbios/smbios-tables": made.data,
    }


def in_low_memory(config: MachineConfig, address: int) -> bytes:
    """Entry point and structures for `address`, which a kernel searches: from 0xF0000 on."""
    made = structures(config, with_bios=True)
    return entry_point(made, address + ENTRY_SIZE + 1) + b"\0" + made.data
