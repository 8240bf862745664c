"""Page tables, GDT and IDT of the monitor: where its code starts and what it may touch.

Intel SDM vol. 3: 4.5 (4-level paging), 3.4.5 and 6.14.1 (descriptors). Everything is mapped
at its own address. The monitor is in ring 3: its code is read-only; all else, guest RAM first,
can't be executed; and these tables are ring 0's, so that no error of the monitor's can undo that.
In ring 0 are the handlers of runtime/monitor.s alone, which are few and short: a KVM that emulates
ring 0, instruction by instruction, lets ring 3 run.
"""

import struct
from _collections_abc import Sequence

from vestige import abi
from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import PrivateMemory
from vestige.lang import vcpu

PAGE, LARGE, GIB = 4 * abi.KIB, 2 * abi.MIB, abi.GIB
PRESENT, WRITABLE, USER, LARGE_PAGE, NO_EXECUTE = 1 << 0, 1 << 1, 1 << 2, 1 << 7, 1 << 63
# Set beforehand, so that the processor never has to write to a table.
USED = 1 << 5 | 1 << 6  # accessed, dirty
DATA = PRESENT | WRITABLE | USER | USED | NO_EXECUTE
REGISTERS = DATA | 1 << 4 | 1 << 3  # PCD, PWT: not cached
CONSTANT = PRESENT | USER | USED | NO_EXECUTE
CODE = PRESENT | USER | USED
PRIVILEGED = PRESENT | WRITABLE | USED | NO_EXECUTE
TABLE = PRESENT | WRITABLE | USER | 1 << 5

GDT = abi.TABLES
IDT = abi.TABLES + PAGE
TASKS = abi.TABLES + 2 * PAGE  # a TSS for each CPU
TASK_STRIDE = 0x80
TASK = struct.Struct("<4xQ24xQ58xH")  # 8.7: RSP of ring 0, IST 1, where the map of ports is
# 20.5.2: zeroes, which permit each port, and one byte more. A KVM that emulates ring 0 asks the map
# and no IOPL; all else asks the IOPL first.
PORTS, PORTS_SIZE = abi.TABLES + 4 * PAGE, (1 << 16) // 8 + 1
PRIVILEGED_STACKS = abi.TABLES + 7 * PAGE
ROOT = abi.TABLES + 16 * PAGE
GDT_ENTRIES = (  # null, ring 0's 64-bit code and data, ring 3's
    0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF,
    0x00AF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
)  # fmt: skip
PRIVILEGED_CODE, PRIVILEGED_DATA = 0x8, 0x10
RING_3 = 3
CODE_SELECTOR, DATA_SELECTOR = 0x18 | RING_3, 0x20 | RING_3
INTERRUPT_GATE = 0x8E00
OWN_STACK = 1  # IST: handlers have one even where ring 0 was at work
OPEN_TO_RING_3 = RING_3 << 13

CR0 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1 << 0  # PG, WP, NE, ET, MP, PE
CR4 = 1 << 5  # PAE
EFER = 1 << 11 | 1 << 10 | 1 << 8  # NXE, LMA, LME
APIC_BASE = abi.LOCAL_APIC | 1 << 11 | 1 << 10  # enabled, x2APIC
APIC_BOOT_PROCESSOR = 1 << 8
RFLAGS = RING_3 << 12 | 1 << 1  # IOPL, the bit that is always 1; interrupts are off

LARGE_DATA = (  # private memory in 2 MiB pages; the image has its own, small ones
    (abi.SHARED, abi.STATE + abi.MAX_DOMAINS * abi.STATE_SIZE - abi.SHARED),
    (abi.STACKS, (abi.MAX_CPUS + abi.MAX_DOMAINS) * abi.STACK_SIZE),
    (abi.RUN_PAGES, abi.MAX_CPUS * abi.RUN_STRIDE),
    (abi.RING, LARGE),
    (abi.RING_ENTRIES, LARGE),
)


class PageTables:
    """Builds 4-level page tables in private memory, from ROOT up."""

    def __init__(self, memory: PrivateMemory) -> None:
        self._memory = memory
        self._next = ROOT
        self._tables: dict[tuple[int, int], int] = {}  # (level, first address) to table
        self.root = self._new()

    def _new(self) -> int:
        table = self._next
        self._next += PAGE
        return table

    def _table(self, address: int, level: int) -> int:
        """The table whose entries span 2**(12 + 9 * level) bytes at `address`; made if absent."""
        if level == 3:
            return self.root
        span = 12 + 9 * (level + 1)
        key = (level, address >> span)
        if key not in self._tables:
            table = self._tables[key] = self._new()
            parent = self._table(address, level + 1)
            self._store(parent, address >> span & 511, [table | TABLE])
        return self._tables[key]

    def _store(self, table: int, index: int, entries: Sequence[int]) -> None:
        self._memory.write(table + 8 * index, struct.pack(f"<{len(entries)}Q", *entries))

    def map(self, start: int, size: int, attributes: int, *, page: int = LARGE) -> None:
        """Map [start, start + size) at itself, in pages of `page` bytes, rounded outwards."""
        level, shift = {PAGE: (0, 12), LARGE: (1, 21), GIB: (2, 30)}[page]
        attributes |= LARGE_PAGE if level else 0
        address, end = start // page * page, start + size
        while address < end:
            index = address >> shift & 511
            count = min(512 - index, -(-(end - address) // page))
            stop = address + count * page
            entries = range(address, stop, page)
            self._store(
                self._table(address, level), index, [entry | attributes for entry in entries]
            )
            address = stop


def build(
    memory: PrivateMemory,
    ram: Sequence[tuple[int, int]],
    code_size: int,
    image_size: int,
    interrupts: bytes,
    cpus: int,
    devices: Sequence[tuple[int, int, int]] = (),
    items: int = 0,
    *,
    regions: Sequence[tuple[int, int]] = (),
    flash: Sequence[tuple[int, int]] = (),
    maps: Sequence[tuple[int, int]] = (),
    ram_page: int = LARGE,
) -> None:
    """Write all tables.

    `ram` is (address, size) of each stretch of guest RAM; the image's first `code_size` bytes
    are code and constants, the rest to `image_size` its data; `interrupts` is the IDT; so many
    `cpus` have a TSS; `devices` are (address, size, attributes) of what else there is; `items`: the
    bytes of fw_cfg's items; `regions` are as abi.REGIONS, `flash` is, if there is one, (address,
    size), and so is each of the `maps` of overlays; `ram_page`: of the pages for RAM.
    """
    tables = PageTables(memory)
    for start, size in ram:
        tables.map(start, size, DATA, page=ram_page)
    for start, size in LARGE_DATA:
        tables.map(start, size, DATA)
    code_end = -(-code_size // PAGE) * PAGE
    tables.map(abi.IMAGE, code_size, CODE, page=PAGE)
    if image_size > code_end:
        tables.map(abi.IMAGE + code_end, image_size - code_end, DATA, page=PAGE)
    for start, size, attributes in devices:
        tables.map(start, size, attributes, page=PAGE)
    for start, size in (*regions, *maps):
        tables.map(start, size, DATA)
    for start, size in flash:
        tables.map(start, size, DATA, page=PAGE)
    tables.map(abi.TABLES, LARGE, PRIVILEGED)
    tables.map(abi.FIRMWARE_ITEMS, items, CONSTANT)
    memory.write(GDT, struct.pack("<5Q", *GDT_ENTRIES))
    memory.write(IDT, interrupts)
    for index in range(cpus):
        _add_cpu(memory, index)


def interrupt_table(handlers: dict[int, int], gate: int) -> bytes:
    """The IDT: `handlers` maps a vector to the address of its entry; `gate` is ring 3's INT3."""
    table = bytearray(16 * (max(handlers, default=0) + 1))
    for vector, address in handlers.items():
        table[16 * vector : 16 * vector + 16] = _gate(address, INTERRUPT_GATE | OWN_STACK)
    open_gate = _gate(gate, INTERRUPT_GATE | OPEN_TO_RING_3)
    table[16 * vcpu.GATE_VECTOR : 16 * vcpu.GATE_VECTOR + 16] = open_gate
    return bytes(table)


def _gate(address: int, attributes: int) -> bytes:
    low, middle, high = address & 0xFFFF, address >> 16 & 0xFFFF, address >> 32
    return struct.pack("<HHHHII", low, PRIVILEGED_CODE, attributes, middle, high, 0)


def _add_cpu(memory: PrivateMemory, index: int) -> None:
    """Give monitor vCPU `index` its TSS and the stacks that its ring 0 has, in two halves."""
    bottom = PRIVILEGED_STACKS + index * vcpu.PRIVILEGED_STACK
    middle, top = bottom + vcpu.PRIVILEGED_STACK // 2, bottom + vcpu.PRIVILEGED_STACK
    memory.write(bottom, struct.pack("<Q", abi.STACKS + index * abi.STACK_SIZE))
    task = TASKS + index * TASK_STRIDE
    memory.write(task, TASK.pack(middle, top, PORTS - task))


def entry_registers(entry: int, index: int) -> kvm.Registers:
    """The registers of monitor vCPU `index` before its first instruction, at `entry`."""
    cpu = abi.STACKS + index * abi.STACK_SIZE
    return kvm.Registers(rip=entry, rdi=cpu, rsp=cpu + abi.STACK_SIZE - 8, rflags=RFLAGS)


def system_registers(index: int) -> kvm.SystemRegisters:
    """Monitor vCPU `index` in 64-bit mode on these tables, its APIC in x2APIC mode."""
    registers = kvm.SystemRegisters.from_buffer_copy(COMMON_REGISTERS)
    registers.tr.base = task = TASKS + index * TASK_STRIDE
    registers.tr.limit = PORTS + PORTS_SIZE - 1 - task
    registers.apic_base = APIC_BASE | (APIC_BOOT_PROCESSOR if index == 0 else 0)
    return registers


def _common_registers() -> kvm.SystemRegisters:
    flat = {"limit": 0xFFFF_FFFF, "present": 1, "dpl": RING_3, "s": 1, "g": 1}
    registers = kvm.SystemRegisters(cr0=CR0, cr3=ROOT, cr4=CR4, efer=EFER)
    registers.cs = kvm.Segment(selector=CODE_SELECTOR, type=0xB, l=1, **flat)
    data = kvm.Segment(selector=DATA_SELECTOR, type=0x3, db=1, **flat)
    registers.ds = registers.es = registers.fs = registers.gs = registers.ss = data
    registers.tr = kvm.Segment(type=0xB, present=1)
    registers.ldt = kvm.Segment(unusable=1)
    registers.gdt = kvm.DescriptorTable(base=GDT, limit=8 * len(GDT_ENTRIES) - 1)
    registers.idt = kvm.DescriptorTable(base=IDT, limit=16 * 256 - 1)
    return registers


COMMON_REGISTERS = bytes(_common_registers())
