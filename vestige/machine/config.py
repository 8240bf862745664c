"""What the user asked the machine to be, checked once; everything in this package follows it."""

from vestige.abi import CHUNK, GIB, MAX_CPUS, MIB
from vestige.errors import UsageError

MINIMUM_MEMORY = 64 * MIB
MAXIMUM_MEMORY = 512 * GIB  # RAM and the 64-bit PCI window stay below 2**40
DEFAULT_MEMORY = 512 * MIB


class MachineConfig:
    """The machine's shape. Memory is in bytes; `tsc_khz` is the guest's TSC frequency.

    `uart`, `ide` and `ioapic` say which devices exist; an interrupt is described to the guest
    only where there is an IOAPIC to take it. Raises UsageError for a size or a count that no
    machine can have.
    """

    __slots__ = ("cpus", "ide", "ioapic", "memory", "tsc_khz", "uart")

    def __init__(
        self,
        *,
        cpus: int = 1,
        memory: int = DEFAULT_MEMORY,
        tsc_khz: int = 0,
        uart: bool = True,
        ide: bool = True,
        ioapic: bool = True,
    ) -> None:
        if not 1 <= cpus <= MAX_CPUS:
            raise UsageError(f"{cpus} CPUs: a machine has 1 to {MAX_CPUS}; give such a number")
        if not MINIMUM_MEMORY <= memory <= MAXIMUM_MEMORY:
            raise UsageError(
                f"memory of {memory} bytes: a machine has {MINIMUM_MEMORY // MIB} MiB to "
                f"{MAXIMUM_MEMORY // GIB} GiB; give such a size"
            )
        if memory % CHUNK:
            raise UsageError(
                f"memory of {memory} bytes: not a multiple of {CHUNK // MIB} MiB; "
                f"give {-(-memory // CHUNK) * (CHUNK // MIB)}M"
            )
        self.cpus = cpus
        self.memory = memory
        self.tsc_khz = tsc_khz
        self.uart = uart
        self.ide = ide
        self.ioapic = ioapic
