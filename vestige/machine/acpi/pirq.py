"""A PC's PCI interrupts in the namespace: _PRT, and link devices that set the PIIX3's routing.

INTA to INTD of a device lead to the PIIX3's PIRQA to PIRQD, one further with each slot, and its
route registers (82371SB data sheet, 290550, 2.2) lead these to ISA's IRQs: to the 8259A's inputs
and the I/O APIC's pins of the same numbers. ACPI 6.5, 6.2.13, 6.2.14.
"""

from vestige.machine.acpi import aml, resources
from vestige.machine.acpi.dsdt import DEVICES_ON_BUS, EVERY_FUNCTION, LINKS
from vestige.monitor.devices.piix3_isa.spec import (
    FIRST_SLOT,
    NOT_ROUTED,
    PIRQS,
    ROUTE,
    Register,
)

PCI_CONFIG = 2  # an operation region's space, 5.5.2.4
IRQS = (5, 10, 11)  # those that no ISA device here has
ROUTES = ("PRQA", "PRQB", "PRQC", "PRQD")
PRESENT, ENABLED, SHOWN, WORKS = 1, 2, 4, 8  # _STA's bits, 6.3.7


def routing() -> bytes:
    """_PRT: which link a pin of a device leads to."""
    entries = [
        aml.package(
            aml.integer(device << 16 | EVERY_FUNCTION),
            aml.integer(pin),
            aml.path(f"\\_SB.{LINKS[(device - FIRST_SLOT + pin) % PIRQS]}"),
            aml.ZERO,
        )
        for device in range(DEVICES_ON_BUS)
        for pin in range(PIRQS)
    ]
    return aml.name("_PRT", aml.package(*entries))


def bridge() -> bytes:
    """The PIIX3 as a device below PCI's root, with its route registers."""
    function_address = FIRST_SLOT << 16
    return aml.device(
        "PIIX",
        aml.name("_ADR", aml.integer(function_address)),
        aml.region("PIRQ", PCI_CONFIG, Register.PIRQ_ROUTE, PIRQS),
        aml.field("PIRQ", *ROUTES),
    )


def links() -> bytes:
    """All link devices."""
    return b"".join(_link(index) for index in range(PIRQS))


def _link(index: int) -> bytes:
    """A link device: _CRS and _STA read a route register, _SRS and _DIS write it."""
    route = aml.path(f"\\_SB.PCI0.PIIX.{ROUTES[index]}")
    not_routed = aml.integer(NOT_ROUTED)
    line = aml.path("LINE")
    return aml.device(
        LINKS[index],
        aml.name("_HID", aml.eisa_id("PNP0C0F")),
        aml.name("_UID", aml.integer(index)),
        aml.name("_PRS", resources.template(resources.level_interrupt(*IRQS))),
        aml.method(
            "_STA",
            0,
            aml.if_(
                aml.less(route, not_routed), aml.return_(aml.integer(WORKS | ENABLED | PRESENT))
            ),
            aml.return_(aml.integer(WORKS | PRESENT)),
        ),
        aml.method("_DIS", 0, aml.store(not_routed, route)),
        aml.method(
            "_CRS",
            0,
            aml.store(resources.template(resources.level_interrupt(0)), aml.local(0)),
            aml.create_dword_field(aml.local(0), resources.FIRST_GSI, "LINE"),
            aml.if_(
                aml.less(route, not_routed),
                aml.and_into(line, route, aml.integer(ROUTE)),
            ),
            aml.return_(aml.local(0)),
        ),
        aml.method(
            "_SRS",
            1,
            aml.create_dword_field(aml.argument(0), resources.FIRST_GSI, "LINE"),
            aml.store(line, route),
        ),
    )
