"""What the user asked the machine to be, checked once; everything in this package follows it."""

from _collections_abc import Collection

from vestige.abi import PORT_RESET, RESET_VALUE, Board
from vestige.bounds import (
    CHUNK,
    DEFAULT_MEMORY,
    GIB,
    MAX_CPUS,
    MAXIMUM_MEMORY,
    MIB,
    MINIMUM_MEMORY,
)
from vestige.errors import UsageError
from vestige.place import standard
from vestige.rows import ROWS


class MachineConfig:
    """The machine's shape as far as tables must tell of it: PCI functions tell of themselves.

    `memory` is in bytes. `devices` has those that are there, by their fields in core.machine; an
    interrupt is described to the guest only where there is an I/O APIC to take it. Raises
    UsageError for a size, a count or a device that no machine can have. A PC has ACPI's fixed
    hardware, and its old chips beside; `uefi`: as its firmware is one.
    """

    __slots__ = ("board", "cpus", "devices", "memory", "uefi")

    def __init__(
        self,
        *,
        cpus: int = 1,
        memory: int = DEFAULT_MEMORY,
        devices: Collection[str] | None = None,
        board: Board = Board.MODERN,
        uefi: bool = False,
    ) -> None:
        """`devices` None: those that each such machine has."""
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
        self.board = board
        self.uefi = uefi
        if devices is None:
            devices = standard(ROWS, board)
        fields = [place.field for place in ROWS]
        for field in devices:
            if field not in fields:
                raise UsageError(f"no device {field!r}: there are {', '.join(fields)}")
        self.devices = tuple(place for place in ROWS if place.field in devices)

    @property
    def has_screen(self) -> bool:
        """Whether there is a screen."""
        return any(place.displays for place in self.devices)

    @property
    def ioapic(self) -> bool:
        """Whether there is an I/O APIC."""
        return any(place.controls_pins for place in self.devices)

    @property
    def reset_register(self) -> tuple[int, int]:
        """The port by which a guest resets the machine, and what it writes there."""
        if self.board == Board.PC:
            from vestige.monitor.devices.i8042.place import PORT_COMMAND  # noqa: PLC0415
            from vestige.monitor.devices.i8042.spec import PULSE_RESET  # noqa: PLC0415 - a PC's

            return PORT_COMMAND, PULSE_RESET
        return PORT_RESET, RESET_VALUE

    @property
    def power_ports(self) -> int:
        """The first of a PC's ports for power management."""
        from vestige.monitor.devices.piix4_pm.spec import (  # noqa: PLC0415 - a PC's
            PORT_PM,
            PORT_PM_UEFI,
        )

        return PORT_PM_UEFI if self.uefi else PORT_PM
