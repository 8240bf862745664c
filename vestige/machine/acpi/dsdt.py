"""The namespace: processors, PCI root, links, devices, soft-off. ACPI 6.5, chapters 5-7.

PCI's INTA to INTD go through interrupt link devices (6.2.14, 6.2.13) because only those can
say that a line is edge triggered, active high: a _PRT entry that names a GSI itself means PCI's
level, active low, whose end of interrupt would be one more exit from the guest. The lines are
not wires but messages sent once an edge, so nothing else would be true. Linux (drivers/acpi/
pci_link.c) takes trigger and polarity from _PRS, wants the same GSI in _CRS, and calls _SRS
with it when the first driver asks; there is nothing to switch, so _SRS and _DIS are empty. A PC's
lines are levels, and its link devices switch them: pirq.py.

What is the same on every machine but a PC is made once, at import: the constants at the end.
"""

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    MIB,
    PIN_PCI_INTA,
    PORT_PCI_ADDRESS,
    PORT_PM1_END,
    PORT_SLEEP_CONTROL,
    SLEEP_TYPE_S5,
    Board,
)
from vestige.machine.acpi import aml, resources
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import MemoryMap
from vestige.place import OWN_NODES, Node, Place

ROOT, RESERVED, *LINKS = OWN_NODES
EISA_LENGTH = 7  # of an EISA ID; ACPI's own IDs have one letter more
PCI_CONFIGURATION_PORTS = 8  # mechanism 1
POWER_PORTS = PORT_PM1_END - PORT_SLEEP_CONTROL
PORTS_END = 0x10000
DEVICES_ON_BUS = 32
EVERY_FUNCTION = 0xFFFF  # of a device, in _PRT's address

DEVICE_CHANGED = 0x80  # the first value that a device may give a meaning of its own, 5.6.6
OSC_UUID_PCI = "33DB4D5B-1FF7-401C-9657-7441C03DD766"  # PCI Firmware Specification 3.3, 4.5.1
OSC_UNRECOGNIZED_UUID = 1 << 2  # 6.2.11: status bits of the first double word
OSC_UNRECOGNIZED_REVISION = 1 << 3


def definition_block(config: MachineConfig) -> bytes:
    """The DSDT's AML."""
    devices = [_processor(cpu) for cpu in range(config.cpus)]
    if config.board == Board.PC:
        from vestige.machine.acpi import pirq  # noqa: PLC0415 - a PC's alone
        from vestige.monitor.devices.piix4_pm.spec import PORTS, SOFT_OFF  # noqa: PLC0415

        identity = aml.name("_HID", aml.eisa_id("PNP0A03")) + aml.name("_UID", aml.ZERO)
        routing = pirq.routing() + pirq.bridge()
        root = aml.device(ROOT, identity, _pci_windows_of(config), routing)
        motherboard = _motherboard(resources.ports(config.power_ports, PORTS))
        devices += [pirq.links(), root, motherboard, *_nodes(config)]
        return aml.scope("\\_SB", *devices) + _soft_off(SOFT_OFF)
    if config.ioapic:
        devices.append(INTERRUPT_LINKS)
    terms = (ROOT_IDENTITY, _pci_windows_of(config), ROOT_CAPABILITIES)
    root = aml.device(ROOT, *terms, ROUTING if config.ioapic else b"")
    devices += [root, MOTHERBOARD, *_nodes(config)]
    return aml.scope("\\_SB", *devices) + _soft_off(SLEEP_TYPE_S5)


def _processor(cpu: int) -> bytes:
    """Processor device (8.4): its UID is the MADT's."""
    return aml.device(
        f"C{cpu:03X}",
        aml.name("_HID", aml.string("ACPI0007")),
        aml.name("_UID", aml.integer(cpu)),
    )


def _pci_windows_of(config: MachineConfig) -> bytes:
    """What leads to the bus (_CRS)."""
    layout = MemoryMap(config.memory, config.board)
    low = resources.memory_window(layout.window, layout.window_size)
    high = resources.memory_window_64(layout.window_64, layout.window_64_size)
    return aml.name("_CRS", resources.template(PCI_WINDOWS, low, high))


def _pci_windows() -> bytes:
    """What leads to the bus, but for its windows in memory."""
    after = PORT_PCI_ADDRESS + PCI_CONFIGURATION_PORTS
    return b"".join(
        (
            resources.bus_numbers(0, ECAM_SIZE // MIB),
            resources.ports(PORT_PCI_ADDRESS, PCI_CONFIGURATION_PORTS),
            resources.port_window(0, PORT_PCI_ADDRESS),
            resources.port_window(after, PORTS_END - after),
        )
    )


def _root_identity() -> bytes:
    return b"".join(
        (
            aml.name("_HID", aml.eisa_id("PNP0A08")),  # PCI Express root, so ECAM
            aml.name("_CID", aml.eisa_id("PNP0A03")),
            aml.name("_UID", aml.ZERO),
        )
    )


def _routing() -> bytes:
    """_PRT (6.2.13): INTA to INTD of every device on links A to D, unswizzled."""
    lines = [
        (aml.integer(pin), aml.path(f"\\_SB.{link}"), aml.ZERO) for pin, link in enumerate(LINKS)
    ]
    devices = [aml.integer(number << 16 | EVERY_FUNCTION) for number in range(DEVICES_ON_BUS)]
    table = aml.package(*(aml.package(device, *line) for device in devices for line in lines))
    return aml.name("_PRT", table)


def _operating_system_capabilities() -> bytes:
    """_OSC (6.2.11): whatever control of PCI Express the system asks for it gets, all of it.

    There is no firmware that would want to keep any. Without _OSC Linux says that the platform
    keeps control and turns ASPM off.
    """
    status = aml.path("STS_")
    capabilities = aml.argument(3)
    return aml.method(
        "_OSC",
        4,
        aml.create_dword_field(capabilities, 0, "STS_"),
        aml.if_(
            aml.not_equal(aml.argument(0), aml.uuid(OSC_UUID_PCI)),
            aml.or_into(status, aml.integer(OSC_UNRECOGNIZED_UUID)),
        ),
        aml.if_(
            aml.not_equal(aml.argument(1), aml.ONE),
            aml.or_into(status, aml.integer(OSC_UNRECOGNIZED_REVISION)),
        ),
        aml.return_(capabilities),
        serialized=True,
    )


def _motherboard(*claims: bytes) -> bytes:
    """Reserves what no device driver owns: Linux ignores an ECAM that nothing reserves."""
    return aml.device(
        RESERVED,
        aml.name("_HID", aml.eisa_id("PNP0C02")),
        aml.name("_UID", aml.ZERO),
        aml.name("_CRS", resources.template(*claims)),
    )


def _link(index: int) -> bytes:
    line = resources.template(resources.edge_interrupt(PIN_PCI_INTA + index))
    return aml.device(
        LINKS[index],
        aml.name("_HID", aml.eisa_id("PNP0C0F")),
        aml.name("_UID", aml.integer(index)),
        aml.name("_PRS", line),
        aml.name("_CRS", line),
        aml.method("_SRS", 1),
        aml.method("_DIS", 0),
    )


def _nodes(config: MachineConfig) -> list[bytes]:
    """The devices that have one, in the order of their rows; _UID counts those of one _HID."""
    nodes: list[bytes] = []
    same: list[str] = []
    for place in config.devices:
        for node in place.nodes:
            nodes.append(_node(place, node, same.count(node.hid), config.ioapic))
            same.append(node.hid)
    return nodes


def _node(place: Place, node: Node, number: int, ioapic: bool) -> bytes:
    """One of them, with what its place claims."""
    claims = []
    if node.has_registers:
        claims = [resources.ports(ports.first, ports.count) for ports in place.ports]
        if place.memory is not None:
            claims.append(resources.memory(place.memory.address, place.memory.size))
        if place.dma is not None:
            claims.append(resources.dma(place.dma))
    if ioapic:
        lines = [wire.pin for wire in place.wires if node.claims(wire.line)]
        claims += [resources.edge_interrupt(pin) for pin in lines]
    is_eisa = len(node.hid) == EISA_LENGTH
    return aml.device(
        node.name,
        aml.name("_HID", aml.eisa_id(node.hid) if is_eisa else aml.string(node.hid)),
        aml.name("_UID", aml.integer(number)),
        aml.name("_CRS", resources.template(*claims)),
        *_more(place, node),
    )


def _more(place: Place, node: Node) -> list[bytes]:
    """What few of them have."""
    more = []
    if node.also:
        more.append(aml.name("_CID", aml.package(*map(aml.string, node.also))))
    if node.has_address and place.memory is not None:
        low, high = place.memory.address & 0xFFFF_FFFF, place.memory.address >> 32
        more.append(aml.name("ADDR", aml.package(aml.integer(low), aml.integer(high))))
    if node.notifies:
        told = aml.notify(aml.path(node.notifies), DEVICE_CHANGED)
        more.append(aml.method("_EVT", 1, told, serialized=True))
    return more


def _soft_off(sleep_type: int) -> bytes:
    kind = aml.integer(sleep_type)
    return aml.name("\\_S5", aml.package(kind, kind, aml.ZERO, aml.ZERO))


PCI_WINDOWS = _pci_windows()
ROOT_IDENTITY = _root_identity()
ROOT_CAPABILITIES = _operating_system_capabilities()
ROUTING = _routing()
INTERRUPT_LINKS = b"".join(_link(index) for index in range(len(LINKS)))
MOTHERBOARD = _motherboard(
    resources.memory(ECAM, ECAM_SIZE), resources.ports(PORT_SLEEP_CONTROL, POWER_PORTS)
)
