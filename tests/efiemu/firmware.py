"""A machine and its firmware as the shell finds them, in CPython: UEFI 2.10, as far as it asks."""

import ctypes
import struct
from collections.abc import Callable, Sequence
from uuid import UUID

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.main import efi_main
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import LoadedImage, SystemTable
from vestige.lang.intrinsics import Processor, running_on
from vestige.lang.types import Struct, u8, u64

AMD, INTEL = b"AuthenticAMD", b"GenuineIntel"
LOADED_IMAGE = UUID("5b1b31a1-9562-11d2-8e3f-00a0c969723b")  # UEFI 2.10, 9.1.1
DEVICE_PATH = UUID("09576e91-6d3f-11d2-8e39-00a0c969723b")  # 10.2
PCI_IO = UUID("4cf5b200-68b8-4ca5-9eec-b23e3f50029a")  # 14.4.2
ACPI_TABLE = UUID("ffe06bdd-6107-46a6-7bb2-5a9c7ec5275c")  # 20.3
ACPI = UUID("8868e871-e4f1-11d3-bc22-0080c73c8881")  # 4.6.1
IMAGE = 0x77  # our handle
(
    OUTPUT_STRING,
    HANDLE_PROTOCOL,
    ALLOCATE_PAGES,
    STALL,
    FREE_PAGES,
    GET_MEMORY_MAP,
    FREE_POOL,
    CONNECT,
    DISCONNECT,
    LOCATE_HANDLES,
    GET_LOCATION,
    LOAD_IMAGE,
    START_IMAGE,
    GET_VARIABLE,
    LOCATE_PROTOCOL,
    INSTALL_TABLE,
    UNLOAD_IMAGE,
) = range(1, 18)  # addresses of functions
NVME_CLASS, BRIDGE_CLASS = 0x01080200, 0x06000000
NO_MEMORY, BUFFER_TOO_SMALL, NOT_FOUND = 1 << 63 | 9, 1 << 63 | 5, 1 << 63 | 14
MEMORY = 2  # PCI's command
BAR, BAR_SIZE, VECTORS = 0x8_8000_0000, 0x4000, 0x2000
HANDLES = 0x1000  # the first of PCI's functions
LOW = 0x9_0000  # two pages below 1 MiB
ROW = 48  # bytes of one of the memory map's
Place = tuple[int, int, int]  # bus, device and function


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
            0x8000_0001: (0, 0, 1 << 2, 1 << 26),
            0x8000_000A: (1, 16, 0, 1),
            0x8000_001F: (0, 0, 0, 0),
            0x8000_0008: (0x3028, 0, 0, 0),
            1: (0xA20F10, 3 << 24, 0, 0),
        }
        self.msrs = {0xC001_0114: 0, 0xC001_0010: 0, 0xC001_0131: 0}
        self.functions: dict[Place, bytearray] = {}
        self.written: list[tuple[Place, int, int]] = []  # to configuration space
        self.written_msrs: list[tuple[int, int]] = []
        self.sizes = {0: BAR_SIZE}  # of functions' BARs, by number
        self.lines: list[str] = []
        self.address = 0
        self.shell = Shell()
        self._tables = [Functions(), Functions()]
        output, boot = self._tables
        output.address[uefi.OUTPUT_STRING // 8] = OUTPUT_STRING
        for offset, function in (
            (uefi.HANDLE_PROTOCOL, HANDLE_PROTOCOL), (uefi.ALLOCATE_PAGES, ALLOCATE_PAGES),
            (uefi.FREE_PAGES, FREE_PAGES), (uefi.GET_MEMORY_MAP, GET_MEMORY_MAP),
            (uefi.STALL, STALL), (uefi.FREE_POOL, FREE_POOL), (uefi.CONNECT, CONNECT),
            (uefi.LOAD_IMAGE, LOAD_IMAGE), (uefi.START_IMAGE, START_IMAGE),
            (uefi.UNLOAD_IMAGE, UNLOAD_IMAGE),
            (uefi.LOCATE_PROTOCOL, LOCATE_PROTOCOL),
            (uefi.DISCONNECT, DISCONNECT), (uefi.LOCATE_HANDLES, LOCATE_HANDLES),
        ):  # fmt: skip
            boot.address[offset // 8] = function
        self.services: dict[int, Callable[..., int]] = {
            OUTPUT_STRING: self._show, HANDLE_PROTOCOL: self._handle_protocol,
            ALLOCATE_PAGES: self._allocate, STALL: self._stall, FREE_PAGES: self._free,
            GET_MEMORY_MAP: self._map, FREE_POOL: self._free_pool, CONNECT: self._connect,
            DISCONNECT: self._disconnect, LOCATE_HANDLES: self._locate, GET_LOCATION: self._place,
            GET_VARIABLE: self._variable, LOCATE_PROTOCOL: self._locate_protocol,
            INSTALL_TABLE: self._install,
        }  # fmt: skip
        self.memory: list[tuple[int, int, int]] = []  # types, places and pages
        self.given: list[tuple[int, int]] = []  # what was given: place and pages
        self.free: list[tuple[int, int]] = []  # what was given back
        self.low = LOW  # address of two pages below 1 MiB; 0: they are not free
        self.room = 0  # address of what can be allocated; 0: nothing
        self.kept: set[int] = set()  # handles that a driver keeps
        self.connected: list[int] = []
        self.disconnected: list[int] = []
        self._pci = Functions()
        self._pci.address[uefi.GET_LOCATION // 8] = GET_LOCATION
        self.variables: dict[tuple[str, bytes], bytes] = {}
        self.tables: list[bytes] = []  # of ACPI, installed
        self._runtime, self._acpi = Functions(), Functions()
        self._runtime.address[uefi.GET_VARIABLE // 8] = GET_VARIABLE
        self._acpi.address[uefi.INSTALL_TABLE // 8] = INSTALL_TABLE
        self.has_acpi = True
        self._system = SystemTable(
            output=ctypes.addressof(output), boot=ctypes.addressof(boot),
            runtime=ctypes.addressof(self._runtime), entries=0,
        )  # fmt: skip
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

    def add(self, place: Place, kind: int, *, msix: bool = True) -> None:
        """A PCI function: its bus, device and function, and its class code with a revision."""
        space = bytearray(256)
        struct.pack_into("<HHHHI", space, 0, 0x1B36, 0x0010, 3, 0x10 if msix else 0, kind)
        space[0x0E] = 0x80 if place[2] else 0
        space[0x34], space[0x40:0x42], space[0x50:0x52] = 0x40, b"\x01\x50", b"\x11\x00"
        struct.pack_into("<II", space, 0x10, BAR & 0xFFFF_FFFF | 4, BAR >> 32)
        struct.pack_into("<II", space, 0x54, VECTORS, VECTORS + 0x1000)
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

    def is_untouched(self) -> bool:
        """Whether the machine is as it was: its functions, its processor, its tables, its memory.

        Memory that it has back is so, and a handle on which its drivers are again.
        """
        pages = [
            sorted(place + 4096 * n for place, count in pieces for n in range(count))
            for pieces in (self.given, self.free)
        ]
        given_back = pages[0] == pages[1]
        changed = self.written or self.written_msrs or self.tables
        return given_back and not changed and set(self.disconnected) <= set(self.connected)

    def port_out32(self, port: int, value: int) -> None:
        if port == 0xCF8:
            assert value >> 31
            self.address = value
            return
        assert port == 0xCFC
        place, space = self._function()
        offset = self.address & 0xFC
        if space is None:
            return
        if 0x10 <= offset < 0x28:
            assert not space[4] & MEMORY, "its memory is somewhere else"
            value = self._bar(space, offset, value)
        if offset == 4:
            space[4:6] = (value & 0xFFFF).to_bytes(2, "little")
        else:
            space[offset : offset + 4] = value.to_bytes(4, "little")
        self.written.append((place, offset, value))

    def _bar(self, space: bytearray, offset: int, value: int) -> int:
        """What is in a BAR once a value was written to it."""
        upper = offset > 0x10 and space[offset - 4] & 5 == 4
        start = offset - 4 if upper else offset
        mask = (1 << 64) - self.sizes.get((start - 0x10) // 4, 1 << 64)
        if upper:
            return value & mask >> 32
        return value & mask & 0xFFFF_FFF0 | space[offset] & 0xF

    def port_in32(self, port: int) -> int:
        if port == 0xCF8:
            return self.address
        assert port == 0xCFC
        _, space = self._function()
        if space is None or not self.address >> 31:
            return 0xFFFF_FFFF
        return int.from_bytes(space[self.address & 0xFC :][:4], "little")

    def _function(self) -> tuple[Place, bytearray | None]:
        place = (self.address >> 16 & 0xFF, self.address >> 11 & 31, self.address >> 8 & 7)
        return place, self.functions.get(place)

    # ---- the firmware's functions --------------------------------------------------------------

    def call_firmware(self, function: int, *arguments: int) -> int:
        return self.services[function](*arguments) or 0

    def _show(self, output: int, text: int, *_: int) -> int:
        assert output == self._system.output
        line, end, _rest = (
            ctypes.string_at(text, 1024).decode("utf-16-le", "replace").partition("\r\n\0")
        )
        assert end
        self.lines.append(line)
        return uefi.SUCCESS

    def _handle_protocol(self, handle: int, guid: int, answer: int, *_: int) -> int:
        wanted = ctypes.string_at(guid, 16)
        if wanted == PCI_IO.bytes_le:
            assert handle in self.handles()
            self._asked = handle
            return put(answer, ctypes.addressof(self._pci))
        assert handle == IMAGE
        assert wanted == LOADED_IMAGE.bytes_le
        return put(answer, ctypes.addressof(self._image))

    def _allocate(self, kind: int, type_: int, pages: int, answer: int, *_: int) -> int:
        assert type_ == 0
        assert kind == 1
        highest = ctypes.c_uint64.from_address(answer).value
        if pages == 2:
            assert highest == 0xF_FFFF
            return self._give(self.low, pages, answer)
        assert highest == (1 << 40) - 1, "what the host maps"
        return self._give(self.room, pages, answer)

    def _give(self, place: int, pages: int, answer: int) -> int:
        if place == 0:
            return NO_MEMORY
        self.given.append((place, pages))
        return put(answer, place)

    def _free(self, place: int, pages: int, *_: int) -> int:
        self.free.append((place, pages))
        return uefi.SUCCESS

    def _stall(self, microseconds: int, *_: int) -> int:
        self.stall(microseconds)
        return uefi.SUCCESS

    def stall(self, microseconds: int) -> None:
        """So much time passes."""
        raise NotImplementedError

    def _map(self, size: int, place: int, key: int, step: int, version: int, *_: int) -> int:
        rows = [
            struct.pack("<IIQQQQ", kind, 0, start, 0, pages, 0).ljust(ROW, b"\xee")
            for kind, start, pages in self.memory
        ]
        put(step, ROW)
        room = ctypes.c_uint64.from_address(size).value
        put(size, ROW * len(rows))
        if room < ROW * len(rows):
            return BUFFER_TOO_SMALL
        ctypes.memmove(place, b"".join(rows), ROW * len(rows))
        return put(key, 5) or put(version, 1)

    def handles(self) -> list[int]:
        """Of all functions, in order."""
        return [HANDLES + number for number in range(len(self.functions))]

    def handle_of(self, place: Place) -> int:
        """That of one."""
        return self.handles()[list(self.functions).index(place)]

    def _locate(self, kind: int, guid: int, key: int, count: int, table: int, *_: int) -> int:
        assert (kind, key) == (2, 0)
        assert ctypes.string_at(guid, 16) == PCI_IO.bytes_le
        rows = struct.pack(f"<{len(self.functions)}Q", *self.handles())
        return put(count, len(self.functions)) or put(table, self.put(rows))

    def _variable(
        self, name: int, guid: int, attributes: int, size: int, data: int, *_: int
    ) -> int:
        text = ctypes.string_at(name, 64).decode("utf-16-le", "replace").partition("\0")[0]
        value = self.variables.get((text, ctypes.string_at(guid, 16)))
        if value is None:
            return NOT_FOUND
        room = ctypes.c_uint64.from_address(size).value
        put(size, len(value))
        if room < len(value):
            return BUFFER_TOO_SMALL
        ctypes.memmove(data, value, len(value))
        return uefi.SUCCESS

    def _locate_protocol(self, guid: int, registration: int, answer: int, *_: int) -> int:
        assert registration == 0
        assert ctypes.string_at(guid, 16) == ACPI_TABLE.bytes_le
        return put(answer, ctypes.addressof(self._acpi)) if self.has_acpi else NOT_FOUND

    def _install(self, protocol: int, table: int, size: int, key: int, *_: int) -> int:
        assert protocol == ctypes.addressof(self._acpi)
        self.tables.append(ctypes.string_at(table, size))
        return put(key, 1)

    @property
    def table_of_system(self) -> SystemTable:
        """The system table."""
        return self._system

    def _free_pool(self, place: int, *_: int) -> int:
        return uefi.SUCCESS

    def _place(self, protocol: int, *places: int) -> int:
        bus, device, number = list(self.functions)[self._asked - HANDLES]
        for where, value in zip(places, (0, bus, device, number), strict=False):
            put(where, value)
        return uefi.SUCCESS

    def _disconnect(self, handle: int, *_: int) -> int:
        self.disconnected.append(handle)
        return NOT_FOUND if handle in self.kept else uefi.SUCCESS

    def _connect(self, handle: int, *_: int) -> int:
        self.connected.append(handle)
        return uefi.SUCCESS

    # ---- the processor -------------------------------------------------------------------------

    def cpuid_answer(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        if leaf == 0:
            ebx, edx, ecx = struct.unpack("<III", self.vendor)
            return 0x10, ebx, ecx, edx
        return self.leaves[leaf]

    def read_msr(self, number: int) -> int:
        return self.msrs[number]

    def write_msr(self, number: int, value: int) -> None:
        self.msrs[number] = value
        self.written_msrs.append((number, value))


def put(place: int, value: int) -> int:
    """Store an answer: SUCCESS."""
    ctypes.c_uint64.from_address(place).value = value
    return uefi.SUCCESS
