"""pvpanic's one register. QEMU, docs/specs/pvpanic.rst: the ISA form, ACPI device QEMU0001."""

from enum import IntFlag


class Event(IntFlag):
    """RW, 8 bits at abi.PORT_PVPANIC: reads tell what the device knows, a write what happened."""

    PANICKED = 1 << 0  # the kernel has panicked
    CRASH_LOADED = 1 << 1  # it has panicked, and a crash kernel takes over


KNOWN = Event.PANICKED | Event.CRASH_LOADED
