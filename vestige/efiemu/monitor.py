"""The monitor in the application: its private memory and its processor, as KVM's hosts have them.

The image is the one that `vestige run` has, and so are tables and registers before its first
instruction.
"""

from collections.abc import Iterator

from vestige import abi
from vestige.efiemu.shell import block
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.vmcb import DEBUG_CONTROL, DEBUG_STATUS, SVM_ENABLED, Segment, Vmcb
from vestige.host.kvm import api as kvm
from vestige.host.kvm import monitor_tables
from vestige.host.kvm.memory import PRIVATE, PrivateMemory
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.lang.image import Image

PAT = 0x0007_0406_0007_0406  # after a reset: APM volume 2, 7.8.1
GAP = 32  # zeroes between two loads, at least
Load = tuple[int, bytes]  # a place in the block, and what is there


def loads(image: Image) -> list[Load]:
    """All that is in the block before the monitor runs, zeroes apart."""
    code = MonitorCode(image)
    if image.memory_size > block.MONITOR_IMAGE_SIZE:
        raise MemoryError("the monitor is larger than what efiemu/shell/block.py leaves for it")
    private = PrivateMemory()
    try:
        fill(private, code)
        found = list(private_loads(private))
    finally:
        private.close()
    for index in range(CPUS):
        place = block.MONITOR_CPUS + index * block.MONITOR_CPU_SIZE
        found += pieces(place, bytes(vmcb(code, index)))
        found += pieces(place + block.MONITOR_REGISTERS, bytes(registers(code, index)))
    return found


def fill(private: PrivateMemory, code: MonitorCode) -> None:
    """Write what there is in the monitor's private memory."""
    private.write(abi.IMAGE, code.code)
    devices = [
        (abi.NVME_QUEUES, abi.NVME_QUEUES_SIZE, monitor_tables.DATA),
        (abi.BARS, block.REGISTERS_SIZE, monitor_tables.REGISTERS),
    ]
    ram = [(block.RAM_WINDOW, block.RAM_WINDOW_SIZE)]
    monitor_tables.build(
        private, ram, len(code.code), code.memory_size, code.interrupts, CPUS, devices,
        ram_page=abi.GIB,
    )  # fmt: skip
    config = private.shared().config
    config.domains = 1
    config.coalesced, config.coalesced_entries = block.WRITES, block.WRITE_COUNT
    disk, nvme = config.disks[0], config.nvme[0]
    disk.present, disk.bus, disk.kind = 1, abi.Bus.IDE, abi.DiskKind.NVME
    nvme.present, nvme.vectors, nvme.moved, nvme.sectors = 1, 1, 1, 1
    nvme.bar, nvme.bar_size = abi.BARS, block.REGISTERS_SIZE
    nvme.queues = abi.NVME_QUEUES
    for index in range(CPUS):
        cpu = private.cpu(index)
        cpu.index, cpu.run = index, abi.RUN_PAGES + index * abi.RUN_STRIDE


def private_loads(private: PrivateMemory) -> Iterator[Load]:
    """What of it is not zero. Raises MemoryError where that is in no piece of the block."""
    covered = 0
    for piece in block.PIECES:
        begin = piece.address - PRIVATE
        data = bytes(private.region.view[begin : begin + piece.size])
        covered += len(data) - data.count(0)
        yield from pieces(piece.place, data)
    everything = bytes(private.region.view)
    if len(everything) - everything.count(0) != covered:
        raise MemoryError("there is no room in the block for all of the monitor's memory")


def pieces(place: int, data: bytes) -> Iterator[Load]:
    """The parts of `data` between many zeroes."""
    at = 0
    while at < len(data):
        end = data.find(bytes(GAP), at)
        part = data[at : end if end >= 0 else len(data)]
        if part.strip(b"\0"):
            yield place + at, part
        at += len(part)
        while at < len(data) and data[at] == 0:
            at += 1


def vmcb(code: MonitorCode, index: int) -> Vmcb:
    """A CPU's registers before its first instruction, as VMRUN and VMLOAD have them."""
    general = monitor_tables.entry_registers(code.vcpu_main, index)
    system = monitor_tables.system_registers(index)
    state = Vmcb(
        cr0=system.cr0, cr3=system.cr3, cr4=system.cr4, efer=system.efer | SVM_ENABLED,
        flags=general.rflags, instruction=general.rip, stack=general.rsp, rax=general.rax,
        dr6=DEBUG_STATUS, dr7=DEBUG_CONTROL, pat=PAT, privilege=system.ss.dpl,
    )  # fmt: skip
    for name in ("cs", "ds", "es", "fs", "gs", "ss", "tr"):
        setattr(state, name, segment(getattr(system, name)))
    state.ldtr = segment(system.ldt)
    state.gdtr = Segment(limit=system.gdt.limit, base=system.gdt.base)
    state.idtr = Segment(limit=system.idt.limit, base=system.idt.base)
    return state


def segment(of: kvm.Segment) -> Segment:
    """The same register as a VMCB has it."""
    attributes = of.type | of.s << 4 | of.dpl << 5 | of.present << 7
    attributes |= of.avl << 8 | of.l << 9 | of.db << 10 | of.g << 11
    if of.unusable:
        attributes = 0
    return Segment(selector=of.selector, attributes=attributes, limit=of.limit, base=of.base)


def registers(code: MonitorCode, index: int) -> Registers:
    """The others."""
    general = monitor_tables.entry_registers(code.vcpu_main, index)
    names = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
    found = Registers()
    for number, name in enumerate((*names, *(f"r{number}" for number in range(8, 16)))):
        found.number[number] = getattr(general, name)
    return found
