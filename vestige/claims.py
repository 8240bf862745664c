"""What places claim, as tables for the core, and what no place may claim.

A claim that is another place's, or of what is not there, is refused when `vestige/devices.py` is
imported, with the file and the line at which the place was made.
"""

from _collections_abc import Collection
from itertools import pairwise

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    FENCE_SIGNAL,
    HIGH_RAM,
    LOCAL_APIC,
    PCI_WINDOW,
    PINS,
    PORT_PCI_ADDRESS,
    PORT_PCI_DATA,
)
from vestige.errors import UsageError
from vestige.lang.records import made_at
from vestige.place import (
    CONFIG_PORTS,
    NOBODY,
    ROW_SHIFT,
    Access,
    Bar,
    MemoryRange,
    Node,
    Place,
    Ports,
    Space,
    always,
)

PORTS = 0x10000
OFFSETS = 0x100  # of one device's ports
PCI_PORTS = PORT_PCI_DATA + 4 - PORT_PCI_ADDRESS
SLOTS = 32  # device numbers of a PCI bus
BARS = 6  # of a PCI function
DEVICES_MEMORY = ECAM + ECAM_SIZE  # to 4 GiB
MOST_MEMORY = 1 << ROW_SHIFT  # bytes
LOCAL_APIC_SIZE = 0x1000  # bytes
MAX_PLACES = 253
OPTIONAL_ROWS = 64  # those that have a bit in Config.options
DIGITS, LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HEXADECIMAL = DIGITS + "ABCDEF"
# Names in ACPI that are the machine's own (machine/acpi); its CPUs are C000 and so on.
OWN_NODES = ("PCI0", "MBRD", "LNKA", "LNKB", "LNKC", "LNKD")
OWN_TABLES = (b"RSDT", b"XSDT", b"FACP", b"FACS", b"DSDT", b"APIC", b"MCFG")


def rows(places: tuple[Place, ...]) -> tuple[int, ...]:
    """By port, up to the last that is claimed: whose it is and its offset, as core/decode.py says.

    Raises UsageError, with file and line, for a claim to what is another place's or is not there.
    """
    last = max((p.end for place in places for p in place.ports), default=0)
    found = [NOBODY << ROW_SHIFT] * max(last, PORT_PCI_ADDRESS + PCI_PORTS)
    for offset in range(PCI_PORTS):
        found[PORT_PCI_ADDRESS + offset] = CONFIG_PORTS << ROW_SHIFT | offset
    for row, place in enumerate(places):
        offsets: dict[int, int] = {}  # the port at each
        for ports in place.ports:
            if ports.count == 0 or ports.end > PORTS:
                raise refused(
                    place, f"{ports.count} ports from {ports.first:#x}; there are {PORTS:#x}"
                )
            for port in range(ports.first, ports.end):
                owner = found[port] >> ROW_SHIFT
                if owner == CONFIG_PORTS:
                    raise refused(place, f"port {port:#x}, which is PCI's; give it another")
                if owner != NOBODY:
                    raise overlapping(place, f"port {port:#x}", places[owner])
                offset = offset_in(place, ports, port)
                if not 0 <= offset < OFFSETS:
                    raise refused(
                        place, f"port {port:#x}, whose offset is no byte; order its ports"
                    )
                if offset in offsets:
                    raise refused(
                        place,
                        f"port {port:#x} at offset {offset:#x}, where port {offsets[offset]:#x} is;"
                        " give it another",
                    )
                if ports.offset is None and place.memory and offset < place.memory.size:
                    raise refused(
                        place,
                        f"port {port:#x} at offset {offset:#x}, which its memory has too; say by"
                        " Ports(…, offset=…) whether it is the same register",
                    )
                offsets[offset] = port
                found[port] = row << ROW_SHIFT | offset
    return tuple(found)


def offset_in(place: Place, ports: Ports, port: int) -> int:
    """The offset of one of these ports to the place's model."""
    if ports.offset is None:
        return port - place.ports[0].first
    return ports.offset + port - ports.first


def slots(places: tuple[Place, ...]) -> tuple[int, ...]:
    """By device number on bus 0: whose it is, and which of its functions; raises likewise."""
    found = [NOBODY << ROW_SHIFT] * SLOTS
    for row, place in enumerate(places):
        if place.pci is not None:
            for number in range(place.pci.count):
                slot = place.pci.slot + number
                if slot >= SLOTS:
                    raise refused(place, f"slot {slot}; a bus has 0 to {SLOTS - 1}")
                owner = found[slot] >> ROW_SHIFT
                if owner != NOBODY:
                    raise overlapping(place, f"slot {slot}", places[owner])
                found[slot] = row << ROW_SHIFT | number
    return tuple(found)


def accesses(places: tuple[Place, ...]) -> bytes:
    """By row: how accesses to memory come to who is there."""
    return bytes(place.memory_access for place in places).ljust(NOBODY + 1, bytes([Access.NATURAL]))


def check(places: tuple[Place, ...]) -> None:
    """What is not about fixed ports: refused where claims overlap, or a pin is not there.

    So it is where a name is no name, or another's: of an option, in ACPI.
    """
    if len(places) > MAX_PLACES:
        raise refused(places[MAX_PLACES], f"row {MAX_PLACES}; there are 0 to {MAX_PLACES - 1}")
    check_options(places)
    check_acpi(places)
    check_fields_and_pins(places)
    check_posts(places)
    ports = [(each.first, each.end, place) for place in places for each in place.ports]
    memory: list[tuple[int, int, Place]] = []
    for place in places:
        if place.memory is not None:
            memory.append(memory_range(place, place.memory))
        if place.pci is not None:
            for bar in place.pci.bars:
                first, end = bar_range(place, bar, place.pci.count)
                (ports if bar.space == Space.PORTS else memory).append((first, end, place))
    disjoint("address", memory)
    disjoint("port", ports)


def check_fields_and_pins(places: tuple[Place, ...]) -> None:
    """Each row has a field of its own, and what it is wired to is its own pin."""
    fields: dict[str, Place] = {}
    pins: dict[int, Place] = {}
    for place in places:
        if place.field in fields:
            raise overlapping(place, f"field {place.field} of Machine", fields[place.field])
        fields[place.field] = place
        for wire in place.wires:
            if wire.pin >= PINS:
                raise refused(place, f"pin {wire.pin}; the I/O APIC has 0 to {PINS - 1}")
            if wire.pin in pins:
                raise overlapping(place, f"pin {wire.pin}", pins[wire.pin])
            pins[wire.pin] = place


def check_posts(places: tuple[Place, ...]) -> None:
    """One device has posted writes, and as many as the worker has signals for."""
    posting = [place for place in places if place.posts]
    for place in posting[1:]:
        raise refused(place, f"posted writes, which {posting[0].field} has; one device can")
    for place in posting:
        if len(place.posts) > FENCE_SIGNAL:
            raise refused(place, f"{len(place.posts)} posted writes; there are {FENCE_SIGNAL}")


def memory_range(place: Place, memory: MemoryRange) -> tuple[int, int, Place]:
    """A range of memory that a device may have: above PCI's, below RAM's second part."""
    first, end, size = memory.address, memory.end, memory.size
    if first < DEVICES_MEMORY and end > PCI_WINDOW:
        raise refused(place, f"address {first:#x}, which is PCI's; give it another")
    if not DEVICES_MEMORY <= first < end <= HIGH_RAM:
        raise refused(
            place,
            f"{size:#x} bytes at {first:#x}; devices have {DEVICES_MEMORY:#x} to {HIGH_RAM - 1:#x}",
        )
    if first < LOCAL_APIC + LOCAL_APIC_SIZE and end > LOCAL_APIC:
        raise refused(place, f"address {LOCAL_APIC:#x}, which is the local APICs'; give it another")
    if size > MOST_MEMORY:
        raise refused(place, f"{size:#x} bytes; a device has {MOST_MEMORY:#x} at most")
    return first, end, place


def bar_range(place: Place, bar: Bar, count: int) -> tuple[int, int]:
    """What a BAR claims for all functions: PCI Local Bus Specification 3.0, 6.2.5.1."""
    least, most = (4, 256) if bar.space == Space.PORTS else (16, MOST_MEMORY)
    end = bar.address + bar.size * count
    if bar.number >= BARS:
        raise refused(place, f"BAR {bar.number}; a function has 0 to {BARS - 1}")
    if not least <= bar.size <= most or bar.size & bar.size - 1:
        what = "ports" if bar.space == Space.PORTS else "bytes"
        raise refused(
            place,
            f"{bar.size} {what} by BAR {bar.number}; give a power of 2 from {least} to {most}",
        )
    if bar.address % bar.size:
        raise refused(
            place, f"{bar.address:#x} by BAR {bar.number}; give a multiple of its {bar.size}"
        )
    if bar.space == Space.PORTS and end > PORTS:
        raise refused(place, f"ports to {end:#x} by BAR {bar.number}; there are {PORTS:#x}")
    if bar.space == Space.MEMORY and not PCI_WINDOW <= bar.address < end <= ECAM:
        raise refused(
            place,
            f"address {bar.address:#x} by BAR {bar.number}; PCI has"
            f" {PCI_WINDOW:#x} to {ECAM - 1:#x}",
        )
    return bar.address, end


def disjoint(what: str, claims: list[tuple[int, int, Place]]) -> None:
    """Refuse ranges [first, end) that overlap."""
    claims.sort(key=lambda claim: claim[:2])
    for (_, end, place), (first, _, other) in pairwise(claims):
        if first < end:
            raise overlapping(other, f"{what} {first:#x}", place)


def check_options(places: tuple[Place, ...]) -> None:
    """Raise UsageError, with file and line, for an option that can't be one, or is another's."""
    owners: dict[str, Place] = {}
    for row, place in enumerate(places):
        if place.option is None:
            continue
        name = place.option.name
        word = name.removeprefix("--")
        if word in ("", name) or not consists(word, LETTERS.lower() + DIGITS + "-"):
            raise refused(place, f"option {name!r}; give one like --hpet")
        if name in owners:
            raise overlapping(place, f"option {name}", owners[name])
        if place.present is not always:
            raise refused(place, f"option {name}, and says itself when it is there; give one")
        if row >= OPTIONAL_ROWS:
            raise refused(place, f"option {name} in row {row}; those with an option go first")
        owners[name] = place


def check_words(places: tuple[Place, ...], names: Collection[str]) -> None:
    """The same, for one that is among the command's own, `names`."""
    for place in places:
        if place.option is not None and place.option.name in names:
            raise refused(
                place, f"option {place.option.name}, which `vestige run` has; give another"
            )


def check_acpi(places: tuple[Place, ...]) -> None:
    """The same for what ACPI's tables can't say, or say already."""
    owners: dict[str | bytes, Place] = {}
    for place in places:
        node, table = place.node, place.table
        if node is not None:
            check_node(place, node)
            if node.name in owners:
                raise overlapping(place, f"ACPI name {node.name}", owners[node.name])
            owners[node.name] = place
        if table is not None:
            if len(table.signature) != 4 or table.signature in OWN_TABLES:
                what = f"ACPI table {table.signature!r}"
                raise refused(place, f"{what}; give four characters that are not the machine's own")
            if table.signature in owners:
                raise overlapping(place, f"ACPI table {table.signature!r}", owners[table.signature])
            owners[table.signature] = place


def check_node(place: Place, node: Node) -> None:
    """The same for one node, and for claims that its resource descriptors have no room for."""
    name, hid = node.name, node.hid
    if len(name) != 4 or name[0] in DIGITS or not consists(name, LETTERS + DIGITS + "_"):
        what = f"ACPI name {name!r}; give four of A to Z, 0 to 9 and _, no digit first"
        raise refused(place, what)
    if name in OWN_NODES or (name[0] == "C" and consists(name[1:], HEXADECIMAL)):
        raise refused(place, f"ACPI name {name}, which is the machine's own; give another")
    letters = {7: LETTERS, 8: LETTERS + DIGITS}.get(len(hid), "")  # of the vendor
    if not letters or not (consists(hid[:-4], letters) and consists(hid[-4:], HEXADECIMAL)):
        raise refused(place, f"ACPI hardware ID {hid!r}; give one like PNP0501 or QEMU0001")
    if any(ports.count > 0xFF for ports in place.ports):
        raise refused(
            place, "more than 255 ports in a row, which no ACPI node can; give two groups"
        )
    if place.memory is not None and place.memory.end > 1 << 32:
        raise refused(place, f"address {place.memory.address:#x} in ACPI; its nodes end at 4 GiB")


def consists(text: str, characters: str) -> bool:
    """Whether `text` has no other than these characters."""
    return not text.strip(characters)


def overlapping(place: Place, what: str, other: Place) -> UsageError:
    """What `place` claims is `other`'s."""
    file, line = made_at(other)
    return refused(place, f"{what}, which is {other.field}'s ({file}:{line}); give each its own")


def refused(place: Place, what: str) -> UsageError:
    """An error that says where the claim was made."""
    file, line = made_at(place)
    return UsageError(f"{file}:{line}: {place.field} claims {what}")
