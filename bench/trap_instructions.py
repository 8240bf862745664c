"""How many instructions the monitor takes for a trap: no clock, so any machine says the same.

    python -m bench.trap_instructions

The core is compiled into this process, and a child of it is stepped. Prints, for some accesses,
what finding the device and its answer take (dispatch.handle), then what one settling takes that has
nothing to do, and one look for the next deadline: both follow most traps.
"""

import argparse
import ctypes
import sys

from tests.lang.stepping import NoSteppingError, instructions
from tests.monitor.test_compiled import CONFIG, Pair, native
from vestige import abi
from vestige.monitor.core.trap import Kind, Trap

NOW = 1000
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


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count the monitor's instructions for a trap.")
    parser.parse_args()
    pair = Pair(ide_in_memory=False, virtio=False)
    machine, shared = pair.rig.machine, pair.rig.shared
    shared.config.hpet = 1
    pair.out(abi.PORT_PCI_ADDRESS, CONFIG | 4, 4)
    pair.out(abi.PORT_PCI_DATA, 7, 2)  # the IDE decodes
    data = ctypes.create_string_buffer(8)
    try:
        for write, rows in enumerate((READS, WRITES)):
            for name, kind, address, size in rows:
                trap = Trap(kind=kind, write=write, size=size, count=1, address=address)
                trap.data = ctypes.addressof(data)
                count = instructions(native()["handle"], machine, shared, trap, NOW)
                print(f"{count:6} {name}, {'written' if write else 'read'}")
        settle, config = native()["settle"], shared.config
        print(f"{instructions(settle, machine, config, shared.statistics, NOW, 0):6} settle")
        print(f"{instructions(native()['Machine.next_deadline'], machine):6} next_deadline")
    except NoSteppingError as error:
        print(f"trap_instructions: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
