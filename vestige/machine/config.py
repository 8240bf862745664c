"""What the user asked the machine to be, checked once; everything in this package follows it."""

from vestige.abi import CHUNK, GIB, MAX_CPUS, MIB
from vestige.errors import UsageError

MINIMUM_MEMORY = 64 * MIB
MAXIMUM_MEMORY = 30 * GIB  # the ring's table of buffers has room for 16,384 chunks
DEFAULT_MEMORY = 512 * MIB


class MachineConfig:
    """The machine's shape as far as tables must tell of it: PCI functions tell of themselves.

    `memory` is in bytes. `uart`, `ioapic` and `hpet` say which of these exist; an interrupt is
    described to the guest only where there is an IOAPIC to take it. Raises UsageError for a size
    or a count that no machine can have.
    """

    __slots__ = ("cpus", "hpet", "ioapic", "memory", "uart")

    def __init__(
        self,
        *,
        cpus: int = 1,
        memory: int = DEFAULT_MEMORY,
        uart: bool = True,
        ioapic: bool = True,
        hpet: bool = False,
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
        self.uart = uart
        self.ioapic = ioapic
        self.hpet = hpet
