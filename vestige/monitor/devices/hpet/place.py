"""Where the HPET is, if there is one. Its registers have 64 bits.

Linux sets an HPET up only where ACPI has its fixed hardware too: hpet_time_init is left out for
hardware-reduced ACPI (arch/x86/kernel/acpi/boot.c).
"""

from vestige.abi import HPET, HPET_IDENTITY, HPET_SIZE, PINS
from vestige.monitor.devices.hpet.spec import ROUTES, TIMERS
from vestige.place import Access, MemoryRange, Node, Option, Place, Routed, Table

ROUTED_PINS = tuple(pin for pin in range(PINS) if ROUTES >> pin & 1)
MINIMUM_TICK = 100  # of a periodic timer, so that none is lost


def description() -> bytes:
    """3.2.4: one block, which has to be polled for its counter."""
    memory, width, offset, access = 0, 64, 0, 0
    number, no_page_protection = 0, 0
    address = bytes((memory, width, offset, access)) + HPET.to_bytes(8, "little")
    tick = MINIMUM_TICK.to_bytes(2, "little")
    identity = HPET_IDENTITY.to_bytes(4, "little")
    return identity + address + bytes((number,)) + tick + bytes((no_page_protection,))


HPET_TIMERS = Place(
    "hpet",
    "hpet",
    memory=MemoryRange(HPET, HPET_SIZE, Access.WHOLE),
    routed=(Routed("timers", TIMERS, ROUTED_PINS),),
    timed=True,
    option=Option("--hpet", help="give the guest a high precision event timer"),
    node=Node("HPET", "PNP0103"),
    table=Table(b"HPET", 1, description()),
    fixed_hardware=True,
)
