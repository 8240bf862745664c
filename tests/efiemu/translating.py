"""A processor's own paging, as KVM has it: one access through tables, and what comes of it.

    python -m tests.efiemu.translating --count 500 2 3 4

judges 500 random accesses by two levels of tables, and so on.
"""

import argparse
import errno
import random
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from tests.efiemu.walks import (
    LEGACY,
    MODES,
    PAGE,
    PAGES,
    PHYSICAL_EXTENSION,
    RAM_SIZE,
    TABLES,
    Case,
    Mode,
    Ram,
    interpret,
    new_walk,
    random_case,
)
from vestige import abi
from vestige.efiemu.shell.fault import Outcome, Vector
from vestige.efiemu.shell.walk import Access, Entry, PageError, Walk
from vestige.host.kvm import api as kvm
from vestige.host.kvm.vm import VirtualMachine
from vestige.lang.intrinsics import syscall

# Where all is, physically as well as linearly; what is from USER_CODE on is the user's, too.
STUBS, PROBE, GDT, TSS, IDT, STACK = 0x1000, 0x1800, 0x2000, 0x2800, 0x3000, 0x5000
USER_CODE, USER_STACK, END = 0x6000, 0x7FF0, 0x8000
OWN_TABLES = 0x8000
VECTORS, AT_VECTOR = 32, 0x20  # the stub of a vector has this port, plus its number
WENT_ON, EXECUTED, DISK = 0x11, 0x10, 0x1F0  # ports
OUT, HLT = 0xE6, 0xF4
PROBES = {Access.READ: "8a07", Access.WRITE: "8807", Access.FETCH: "ffd7"}  # of what RDI tells
WRITTEN = 0xA5
CODE_64, CODE_32, DATA, TASK = 0x08, 0x10, 0x18, 0x20
DESCRIPTORS = (0, 0x00AF_9B00_0000_FFFF, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
Leaf = tuple[int, int, int, int, int, int, int]  # of CPUID, as kvm.System has it


class Happened(NamedTuple):
    """What came of the access."""

    vector: int | None  # None: it was made
    error: int
    address: int  # CR2
    value: int  # AL
    far: int | None  # the physical address, where there is no RAM


class Disk:
    """Bytes that come out of a port, each another one, and those that went into it."""

    def __init__(self) -> None:
        self._given, self.taken = 0, bytearray()

    def give(self, size: int) -> bytes:
        """The next ones."""
        self._given += size
        return bytes((7 * each + 3) % 251 for each in range(self._given - size, self._given))

    def take(self, data: bytes) -> None:
        """One more access."""
        self.taken += data


def _of_amds(entry: Leaf) -> Leaf:
    """With AMD's name, whose processors the shell runs on: KVM follows the named one's quirks.

    Of Intel's, a string instruction of 32-bit addresses that does nothing clears RCX (Linux,
    arch/x86/kvm/emulate.c, string_registers_quirk).
    """
    if entry[0] != 0:
        return entry
    ebx, ecx, edx = struct.unpack("<3I", b"AuthcAMDenti")
    return *entry[:4], ebx, ecx, edx


class Prober:
    """A processor of KVM's, which makes one access at a time."""

    def __init__(self, system: kvm.System, machine: VirtualMachine, ram: Ram) -> None:
        machine.map(0, RAM_SIZE, ram.address)
        self._machine, self._cpu, self._ram = machine, machine.add_cpu(), ram
        self._region = kvm.MemoryRegion(size=RAM_SIZE, host_address=ram.address)
        entries = [_of_amds(entry) for entry in system.supported_cpuid()]
        self._cpu.set_cpuid(kvm.cpuid_table(entries))
        self._cpu.make_runnable()
        leaf = {entry[0]: entry[3:] for entry in entries if entry[1] == 0}
        self.address_bits = leaf[0x8000_0008][0] & 0xFF
        self.gibibyte_pages = bool(leaf[0x8000_0001][3] >> 26 & 1)
        self.cr4 = (leaf[7][1] >> 7 & 1) << 20 | (leaf[7][1] >> 20 & 1) << 21  # SMEP, SMAP
        self._fresh = self._cpu.system_registers()
        for vector in range(VECTORS):
            ram.put(STUBS + 4 * vector, OUT | AT_VECTOR + vector << 8 | HLT << 16, 4)
        for number, descriptor in enumerate(DESCRIPTORS):
            ram.put(GDT + 8 * number, descriptor, 8)

    def probe(self, case: Case) -> Happened:
        """Make the access; the case's tables are there."""
        ram, cpu, user = self._ram, self._cpu, case.vmcb.privilege
        self._plug()
        self._map_own(case)
        self._fill_gates(case)
        code = bytes.fromhex(PROBES[case.access]) + bytes((OUT, WENT_ON))
        place = USER_CODE if user else PROBE
        ram.bytes[place : place + len(code)] = code
        registers = kvm.Registers(
            rax=WRITTEN, rdi=case.linear, rip=place, rsp=USER_STACK if user else STACK,
            rflags=case.vmcb.flags,
        )  # fmt: skip
        cpu.set_system_registers(self._system_registers(case))
        cpu.set_registers(registers)
        kvm.call(cpu.descriptor, kvm.Request.RUN)
        happened = self._happened()
        self._end()
        return happened

    def strings(
        self, case: Case, code: bytes, registers: kvm.Registers, disk: Disk
    ) -> tuple[kvm.Registers, Happened]:
        """Execute an instruction that has `disk` at a port: registers and what came of it."""
        self._plug()
        self._map_own(case)
        self._fill_gates(case)
        place, stack = (USER_CODE, USER_STACK) if case.vmcb.privilege else (PROBE, STACK)
        self._ram.bytes[place : place + len(code) + 2] = code + bytes((OUT, WENT_ON))
        registers.rip, registers.rsp, cpu = place, stack, self._cpu
        cpu.set_system_registers(self._system_registers(case))
        cpu.set_registers(registers)
        while True:
            kvm.call(cpu.descriptor, kvm.Request.RUN)
            access = abi.RunIo.from_buffer_copy(cpu.mapping, abi.RUN_UNION)
            if access.port != DISK:
                happened, after = self._happened(), cpu.registers()
                self._end()
                return after, happened
            begin, size = access.data_offset, access.size
            for place in range(begin, begin + size * access.count, size):
                if access.direction:
                    disk.take(bytes(cpu.mapping[place : place + size]))
                else:
                    cpu.mapping[place : place + size] = disk.give(size)

    def _end(self) -> None:
        """End what was begun, and begin nothing else."""
        cpu = self._cpu
        cpu.interrupt()
        assert syscall(kvm.SYS_IOCTL, cpu.descriptor, kvm.Request.RUN, 0, 0, 0, 0) == -errno.EINTR
        cpu.mapping[kvm.IMMEDIATE_EXIT] = 0

    def _plug(self) -> None:
        """Have KVM forget tables that it has a shadow of: they were not changed by its guest."""
        nothing = kvm.MemoryRegion()
        for region in (nothing, self._region):
            kvm.call(self._machine.descriptor, kvm.Request.SET_USER_MEMORY_REGION, region)

    def _happened(self) -> Happened:
        cpu = self._cpu
        reason = abi.RunPage.from_buffer_copy(cpu.mapping).exit_reason
        registers, system = cpu.registers(), cpu.system_registers()
        if reason == kvm.Exit.MMIO:
            access = abi.RunMmio.from_buffer_copy(cpu.mapping, abi.RUN_UNION)
            return Happened(None, 0, 0, 0, access.address)
        assert reason == kvm.Exit.IO, kvm.exit_name(reason)
        port = abi.RunIo.from_buffer_copy(cpu.mapping, abi.RUN_UNION).port
        if port in (WENT_ON, EXECUTED):
            return Happened(None, 0, 0, registers.rax & 0xFF, None)
        error = self._ram.get(registers.rsp, 4)
        return Happened(port - AT_VECTOR, error, system.cr2, 0, None)

    def _map_own(self, case: Case) -> None:
        """What the processor itself needs, by the first entry of the case's root."""
        ram, mode = self._ram, case.mode
        size = 4 if mode is LEGACY else 8
        for page in range(0, END, PAGE):
            rights = 0x67 if page >= USER_CODE else 0x63
            ram.put(OWN_TABLES + page // PAGE * size, page | rights, size)
        below = OWN_TABLES
        for _ in range(mode.levels - 2):
            ram.put(below + PAGE, below | 0x67, 8)
            below += PAGE
        rights = 1 if mode is PHYSICAL_EXTENSION else 0x67
        ram.put(TABLES + PAGE * mode.levels, below | rights, size)

    def _fill_gates(self, case: Case) -> None:
        ram = self._ram
        for vector in range(VECTORS):
            stub = STUBS + 4 * vector
            if case.mode.efer:
                ram.put(IDT + 16 * vector, stub | CODE_64 << 16 | 0x8E00 << 32, 16)
            else:
                ram.put(IDT + 8 * vector, stub | CODE_32 << 16 | 0x8E00 << 32, 8)
        stack = (STACK, 0) if case.mode.efer else (STACK, DATA)
        ram.bytes[TSS + 4 : TSS + 12] = struct.pack("<II", *stack)

    def _system_registers(self, case: Case) -> kvm.SystemRegisters:
        long, ring = bool(case.mode.efer), case.vmcb.privilege
        registers = kvm.SystemRegisters.from_buffer_copy(self._fresh)
        flat = {"limit": 0xFFFF_FFFF, "present": 1, "dpl": ring, "s": 1, "g": 1}
        code = CODE_64 if long else CODE_32
        registers.cs = kvm.Segment(**flat, selector=code | ring, type=11, l=long, db=not long)
        data = kvm.Segment(**flat, selector=DATA | ring, type=3, db=1)
        registers.ds = registers.es = registers.ss = data
        kind = 11 if long else 9  # QEMU's emulator (10.0) ends at a busy one when user mode is left
        registers.tr = kvm.Segment(base=TSS, limit=0x67, selector=TASK, type=kind, present=1)
        registers.gdt = kvm.DescriptorTable(base=GDT, limit=0x2F)
        registers.idt = kvm.DescriptorTable(base=IDT, limit=0x1FF)
        registers.cr0, registers.cr3 = case.vmcb.cr0, case.vmcb.cr3
        registers.cr4, registers.efer = case.vmcb.cr4, case.vmcb.efer
        return registers


@contextmanager
def prober(ram: Ram) -> Iterator[Prober]:
    """In a VM with this RAM."""
    with closing(kvm.open_system()) as system, closing(VirtualMachine(system, 0)) as machine:
        yield Prober(system, machine, ram)


def judge(case: Case, ram: Ram, prober: Prober, walk: Walk) -> str:
    """Whether the processor does what the walk says: in a word, what that is.

    Raises AssertionError where they differ.
    """
    seen = interpret(case, ram, walk)
    if seen.outcome == Outcome.REFUSED:
        return "tables outside RAM"  # where KVM has a way of its own
    made = seen.outcome == Outcome.DONE
    near = made and seen.physical < RAM_SIZE
    if made and not near and case.access == Access.FETCH:
        return "code outside RAM"
    if near:
        ram.put(seen.physical, OUT | EXECUTED << 8, 2)
    case.put(ram)
    happened = prober.probe(case)
    if not made:
        vector, error, address = seen.fault
        if vector != Vector.PAGE_FAULT:
            address = happened.address
        if happened.error & PageError.RESERVED:  # QEMU's emulator (10.0) leaves Present out
            happened = happened._replace(error=happened.error | PageError.PRESENT)
        told = (happened.vector, happened.error, happened.address)
        assert told == (vector, error, address), f"{told}, not {seen.fault}: {case}"
        return f"vector {vector}"
    assert happened.vector is None, f"{happened}: {case}"
    if not near:
        assert happened.far == seen.physical, f"{happened}, not {seen.physical:#x}: {case}"
    elif case.access == Access.READ:
        assert happened.value == OUT, f"read elsewhere than {seen.physical:#x}: {case}"
    elif case.access == Access.WRITE:
        value = ram.get(seen.physical, 1)
        assert value == WRITTEN, f"written elsewhere than {seen.physical:#x}: {case}"
    ram.put(TABLES + PAGE * case.mode.levels, 0, 4 if case.mode is LEGACY else 8)
    if case.mode is PHYSICAL_EXTENSION:  # QEMU's emulator (10.0) marks PAE's root, too
        ram.put(*case.entries[0], 8)
    assert ram.bytes[TABLES:PAGES] == seen.tables, f"other marks: {case}"
    return "made"


def suited(case: Case) -> bool:
    """Whether KVM can say of it what the processor would.

    PAE's root is looked at when CR3 is set (APM 2, 5.2.3). kvm-pvm says of the upper half, where it
    is itself, that nothing is there when user mode asks.
    """
    if case.linear >> 63 and case.vmcb.privilege:
        return False
    _, root = case.entries[0]
    wrong = root & 0x1E6 or root >> 32
    return case.mode is not PHYSICAL_EXTENSION or not (root & Entry.PRESENT and wrong)


def judge_many(mode: Mode, count: int, chance: random.Random) -> Counter[str]:
    """So many random accesses in one mode, and what they were. Raises AssertionError."""
    ram, found = Ram(), Counter[str]()
    with prober(ram) as processor:
        walk = new_walk(processor.address_bits, gibibyte_pages=processor.gibibyte_pages)
        while found.total() < count:
            case = random_case(chance, mode, processor.address_bits)
            case.vmcb.cr4 &= mode.cr4 | processor.cr4
            if suited(case):
                found[judge(case, ram, processor, walk)] += 1
    return found


def main() -> int:
    """Judge random accesses on this machine's KVM."""
    words = argparse.ArgumentParser(description=main.__doc__)
    words.add_argument("--count", type=int, default=500, help="accesses a mode (default 500)")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("levels", nargs="+", type=int, choices=[mode.levels for mode in MODES])
    options = words.parse_args()
    for mode in MODES:
        if mode.levels in options.levels:
            found = judge_many(mode, options.count, random.Random(options.seed))
            print(mode.levels, "levels:", dict(found), "as the walk says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
