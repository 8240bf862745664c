"""How many instructions the monitor takes for a trap: no clock, so any machine says the same.

    python -m bench.trap_instructions

The core is compiled into this process, and a child of it is stepped. Prints, for some accesses,
what finding the device and its answer take (dispatch.locate, handle), then what one settling takes
that has nothing to do, and one look for the next deadline: both follow most traps. Then come whole
turns, from KVM's record of a read to the answer in it, and some of a PC's. Last is what the run
loop takes for each of them, between two runs of the guest; the kernel is left out of it.
"""

import argparse
import ctypes
import mmap
import sys

from tests.host.loop.stepped import between_runs
from tests.lang.stepping import NoSteppingError, instructions
from tests.monitor.rig import DATA_OFFSET, Rig
from tests.monitor.test_compiled import CONFIG, Pair, native
from tests.monitor.test_core import CoalescedPage, queue
from vestige import abi
from vestige.devices import DEVICES
from vestige.lang.build import compile_functions
from vestige.lang.image import Image
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct
from vestige.monitor.core.dispatch import locate
from vestige.monitor.core.trap import Kind, Trap
from vestige.monitor.core.trap_turn import serve
from vestige.place import options_for

NOW = 1000
MAP_FIXED_NOREPLACE = 0x10_0000
EVERY_ACCESS = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
READS = (
    ("IDE Status", Kind.PORT, abi.PORT_IDE + 7, 1),
    ("UART line status", Kind.PORT, abi.PORT_UART + 5, 1),
    ("CONFIG_DATA", Kind.PORT, abi.PORT_PCI_DATA, 4),
    ("PM1 status", Kind.PORT, abi.PORT_PM1_EVENT, 1),
    ("pvpanic", Kind.PORT, abi.PORT_PVPANIC, 1),
    ("nobody's port", Kind.PORT, 0x60, 1),
    ("ECAM", Kind.MEMORY, abi.ECAM + 0x8000, 4),
    ("I/O APIC window", Kind.MEMORY, abi.IOAPIC + 0x10, 4),
    ("HPET counter", Kind.MEMORY, abi.HPET + 0xF0, 8),
)
WRITES = (
    ("UART data", Kind.PORT, abi.PORT_UART, 1),
    ("UART scratch", Kind.PORT, abi.PORT_UART + 7, 1),
    ("CONFIG_ADDRESS", Kind.PORT, abi.PORT_PCI_ADDRESS, 4),
    ("I/O APIC select", Kind.MEMORY, abi.IOAPIC, 4),
)
TURNS = (  # and how many writes are queued before
    ("IDE Status", Kind.PORT, abi.PORT_IDE + 7, 1, 0),
    ("IDE Status, 3 queued writes", Kind.PORT, abi.PORT_IDE + 7, 1, 3),
    ("UART line status", Kind.PORT, abi.PORT_UART + 5, 1, 0),
    ("CONFIG_DATA", Kind.PORT, abi.PORT_PCI_DATA, 4, 0),
    ("nobody's port", Kind.PORT, 0x60, 1, 0),
    ("ECAM", Kind.MEMORY, abi.ECAM + 0x8000, 4, 0),
    ("I/O APIC window", Kind.MEMORY, abi.IOAPIC + 0x10, 4, 0),
    ("HPET counter", Kind.MEMORY, abi.HPET + 0xF0, 8, 0),
)

TURNS_OF_A_PC = (  # of its firmware, without queued writes
    ("UART line status", abi.PORT_UART + 5, 1),
    ("CONFIG_DATA", abi.PORT_PCI_DATA, 4),
    ("port 0x92", 0x92, 1),
    ("port 0x70", 0x70, 1),
    ("keyboard controller's status", 0x64, 1),
    ("clock's data", 0x71, 1),
    ("PIC's mask", 0x21, 1),
)

_map = ctypes.CDLL(None, use_errno=True).mmap
_map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_map.restype = ctypes.c_void_p


def mapped(image: Image) -> None:
    """Have this process find the core where the monitor finds it. Raises NoSteppingError."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    if _map(abi.IMAGE, image.memory_size, EVERY_ACCESS, flags, -1, 0) != abi.IMAGE:
        raise NoSteppingError(f"this process can have no memory at {abi.IMAGE:#x}")
    ctypes.memmove(abi.IMAGE, image.code, len(image.code))


class Turn:
    """`serve`, mapped where the monitor's image is: for turns that leave for nobody.

    What would call the host, ring a doorbell or wake a worker can't run in a process.
    """

    def __init__(self) -> None:
        image = compile_functions([serve], base=abi.IMAGE, runtime="monitor")
        mapped(image)
        self.address = abi.IMAGE + image.symbols["serve"]
        self._call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(self.address)

    def __call__(self, *arguments: Struct) -> None:
        """Answer a trap."""
        self._call(*(ctypes.addressof(argument) for argument in arguments))

    def count(self, rig: Rig, kind: Kind, address: int, size: int, queued: int) -> int:
        """The instructions of a turn that reads so many bytes, behind so many queued writes."""
        page = CoalescedPage()
        rig.shared.config.coalesced = address_of(page)
        rig.shared.config.coalesced_entries = len(page.entries)
        for number in range(queued):
            queue(page, abi.PORT_IDE + 2 + number, 1)
        run = rig.cpus[0].exit
        union = address_of(run.union)
        if kind == Kind.PORT:
            run.reason = abi.ExitReason.IO
            port = abi.RunIo.at(union)
            port.direction, port.size, port.port = 0, size, address
            port.count, port.data_offset = 1, DATA_OFFSET
        else:
            run.reason = abi.ExitReason.MMIO
            memory = abi.RunMmio.at(union)
            memory.address, memory.length, memory.is_write = address, size, 0
        return instructions(self, rig.cpus[0], rig.machine, rig.shared)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count the monitor's instructions for a trap.")
    parser.parse_args()
    pair = Pair(ide_in_memory=False, virtio=False)
    machine, shared = pair.rig.machine, pair.rig.shared
    shared.config.options = options_for(DEVICES, ["hpet"])
    pair.out(abi.PORT_PCI_ADDRESS, CONFIG | 4, 4)
    pair.out(abi.PORT_PCI_DATA, 7, 2)  # the IDE decodes
    data = ctypes.create_string_buffer(8)
    try:
        for write, rows in enumerate((READS, WRITES)):
            for name, kind, address, size in rows:
                trap = Trap(kind=kind, write=write, size=size, count=1, address=address)
                trap.data = ctypes.addressof(data)
                count = instructions(native()["locate"], machine, trap)
                locate(machine, trap)  # the count was a child's
                count += instructions(native()["handle"], machine, shared, trap, NOW)
                print(f"{count:6} {name}, {'written' if write else 'read'}")
        settle, config = native()["settle"], shared.config
        print(f"{instructions(settle, machine, config, shared.statistics, NOW, 0):6} settle")
        print(f"{instructions(native()['show'], machine, shared):6} show, which follows it")
        print(f"{instructions(native()['Machine.next_deadline'], machine):6} next_deadline")
        turn = Turn()
        for name, kind, address, size, queued in TURNS:
            count = turn.count(pair.rig, kind, address, size, queued)
            print(f"{count:6} turn: {name}, read")
        pc = Pair(ide_in_memory=False, virtio=False, board=abi.Board.PC)
        pc.out(abi.PORT_PCI_ADDRESS, CONFIG, 4)
        for name, port, size in TURNS_OF_A_PC:
            count = turn.count(pc.rig, Kind.PORT, port, size, 0)
            print(f"{count:6} turn of a PC: {name}, read")
        for name, reason in (("a port", abi.ExitReason.IO), ("memory", abi.ExitReason.MMIO)):
            print(f"{between_runs(reason):6} run loop: {name}, read")
        print(f"{between_runs(abi.ExitReason.IO, answered=True):6} run loop: answered before")
    except NoSteppingError as error:
        print(f"trap_instructions: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
