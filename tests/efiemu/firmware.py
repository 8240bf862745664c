"""A machine and its firmware as the shell finds them, in CPython: UEFI 2.10, as far as it asks."""

import ctypes
import struct
from collections.abc import Sequence
from uuid import UUID

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.main import efi_main
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import LoadedImage, SystemTable
from vestige.lang.intrinsics import Processor, running_on
from vestige.lang.types import Struct, u8, u64

AMD, INTEL = b"AuthenticAMD", b"GenuineIntel"
LOADED_IMAGE = UUID("5b1b31a1-9562-11d2-8e3f-00a0c969723b")  # UEFI 2.10, 9.1.1
ACPI = UUID("8868e871-e4f1-11d3-bc22-0080c73c8881")  # 4.6.1
IMAGE = 0x77  # our handle
OUTPUT_STRING, HANDLE_PROTOCOL, ALLOCATE_PAGES, STALL = range(1, 5)  # addresses of functions
NVME_CLASS, BRIDGE_CLASS = 0x01080200, 0x06000000
NO_MEMORY = 1 << 63 | 9


class Functions(Struct):
    """A table of functions."""

    address: u64[64]


class Bytes(Struct):
    """Memory for tables and text."""

    byte: u8[8192]


class Firmware(Processor):
    """What the shell may ask of it, and the lines it has shown."""

    def __init__(self, options: str = "") -> None:
        self.vendor = AMD
        self.leaves = {
            0x8000_0000: (0x8000_001F, 0, 0, 0),
            0x8000_0001: (0, 0, 1 << 2, 0),
            0x8000_000A: (1, 16, 0, 1),
            0x8000_001F: (0, 0, 0, 0),
        }
        self.msrs = {0xC001_0114: 0, 0xC001_0010: 0, 0xC001_0131: 0}
        self.functions: dict[tuple[int, int, int], bytearray] = {}
        self.lines: list[str] = []
        self._address = 0
        self.shell = Shell()
        self._tables = [Functions(), Functions()]
        output, boot = self._tables
        output.address[uefi.OUTPUT_STRING // 8] = OUTPUT_STRING
        boot.address[uefi.HANDLE_PROTOCOL // 8] = HANDLE_PROTOCOL
        boot.address[uefi.ALLOCATE_PAGES // 8] = ALLOCATE_PAGES
        boot.address[uefi.STALL // 8] = STALL
        self._system = SystemTable(
            output=ctypes.addressof(output), boot=ctypes.addressof(boot), entries=0
        )
        self._memory = Bytes()
        self._used = 0
        text = self.put(options.encode("utf-16-le"))
        self._image = LoadedImage(options=text, options_size=2 * len(options))

    @property
    def system(self) -> int:
        """Where the system table is."""
        return ctypes.addressof(self._system)

    @property
    def boot(self) -> int:
        """Where the boot services are."""
        return self._system.boot

    def put(self, data: bytes) -> int:
        """Where a copy of `data` is."""
        place = ctypes.addressof(self._memory) + self._used
        ctypes.memmove(place, data, len(data))
        self._used += -(-len(data) // 8) * 8
        return place

    def add(self, place: tuple[int, int, int], kind: int, *, msix: bool = True) -> None:
        """A PCI function: its bus, device and function, and its class code with a revision."""
        space = bytearray(256)
        struct.pack_into("<HHHHI", space, 0, 0x1B36, 0x0010, 0, 0x10 if msix else 0, kind)
        space[0x0E] = 0x80 if place[2] else 0
        space[0x34], space[0x40:0x42], space[0x50:0x52] = 0x40, b"\x01\x50", b"\x11\x00"
        self.functions[place] = space
        if place[2]:
            self.functions[(*place[:2], 0)][0x0E] = 0x80

    def add_acpi(self, signatures: Sequence[bytes]) -> None:
        """Tables with these signatures, and what leads to them."""
        tables = [self.put(each.ljust(8, b"\0")) for each in signatures]
        header = b"XSDT" + struct.pack("<I", 36 + 8 * len(tables)) + bytes(28)
        root = self.put(header + b"".join(struct.pack("<Q", each) for each in tables))
        pointer = self.put(b"RSD PTR " + bytes(16) + struct.pack("<Q", root))
        other = struct.pack("<QQQ", 1, 2, 0)
        self._system.configuration = self.put(other + ACPI.bytes_le + struct.pack("<Q", pointer))
        self._system.entries = 2

    def start(self) -> int:
        """Start the application: its status."""
        with running_on(self):
            return efi_main(IMAGE, self.system, ctypes.addressof(self.shell), 0)

    def stall(self, microseconds: int) -> None:
        """So much time passes."""
        raise NotImplementedError

    def cpuid_answer(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        if leaf == 0:
            ebx, edx, ecx = struct.unpack("<III", self.vendor)
            return 0x10, ebx, ecx, edx
        return self.leaves[leaf]

    def read_msr(self, number: int) -> int:
        return self.msrs[number]

    def port_out32(self, port: int, value: int) -> None:
        assert port == 0xCF8
        assert value >> 31
        self._address = value

    def port_in32(self, port: int) -> int:
        assert port == 0xCFC
        place = (self._address >> 16 & 0xFF, self._address >> 11 & 31, self._address >> 8 & 7)
        space = self.functions.get(place)
        if space is None:
            return 0xFFFF_FFFF
        return int.from_bytes(space[self._address & 0xFC :][:4], "little")

    def call_firmware(self, function: int, *arguments: int) -> int:
        if function == OUTPUT_STRING:
            assert arguments[0] == self._system.output
            text = ctypes.string_at(arguments[1], 1024).decode("utf-16-le", "replace")
            line, end, _ = text.partition("\r\n\0")
            assert end
            self.lines.append(line)
            return uefi.SUCCESS
        if function == HANDLE_PROTOCOL:
            assert arguments[0] == IMAGE
            assert ctypes.string_at(arguments[1], 16) == LOADED_IMAGE.bytes_le
            ctypes.c_uint64.from_address(arguments[2]).value = ctypes.addressof(self._image)
            return uefi.SUCCESS
        if function == STALL:
            self.stall(arguments[0])
            return uefi.SUCCESS
        assert function == ALLOCATE_PAGES
        return NO_MEMORY
