"""What places claim, as tables for the core, and what no place may claim.

A claim that is another place's, or of what is not there, is refused when `vestige/tables.py` is
imported, as compiling the monitor does, with the file and the line at which the place was made.
"""

from _collections_abc import Callable, Collection
from itertools import pairwise

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    FENCE_SIGNAL,
    HIGH_RAM,
    LOCAL_APIC,
    LOG_SIZE,
    MAX_VIRTIO,
    PCI_WINDOW,
    PINS,
    PORT_PCI_ADDRESS,
    PORT_PCI_DATA,
    REGIONS,
    WINDOW_SIZE,
    Board,
    Bus,
)
from vestige.errors import UsageError
from vestige.lang.records import made_at
from vestige.lang.types import TYPE_CHECKING
from vestige.monitor.block import DISK_REQUESTS, REQUESTS
from vestige.place import (
    CONFIG_PORTS,
    FUNCTION_SHIFT,
    NOBODY,
    OWN_NODES,
    ROW_SHIFT,
    Access,
    Bar,
    Function,
    MemoryRange,
    Node,
    Pci,
    Place,
    Ports,
    Requests,
    Space,
    VirtioType,
    always,
)

if TYPE_CHECKING:
    from typing import TypeVar

    Key = TypeVar("Key")
    Owner = TypeVar("Owner", bound=Place | VirtioType)

PORTS = 0x10000
OFFSETS = 0x100  # of one device's ports
PCI_PORTS = PORT_PCI_DATA + 4 - PORT_PCI_ADDRESS
SLOTS = 32  # device numbers of a PCI bus
BARS = 6  # of a PCI function
REGION_SIZES = [(number, size) for number, (_, size) in enumerate(REGIONS)]
DEVICES_MEMORY = ECAM + ECAM_SIZE  # to 4 GiB
MOST_MEMORY = 1 << ROW_SHIFT  # bytes
LOCAL_APIC_SIZE = 0x1000  # bytes
MOST_TABLE = 0x8000  # bytes of an ACPI table: all have 128 KiB
MAX_PLACES = 253
OPTIONAL_ROWS = 64  # those that have a bit in Config.options
DIGITS, LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HEXADECIMAL = DIGITS + "ABCDEF"
OWN_TABLES = (b"RSDT", b"XSDT", b"FACP", b"FACS", b"DSDT", b"APIC", b"MCFG")


def rows(places: tuple[Place, ...]) -> tuple[int, ...]:
    """By port, up to the last that is claimed: whose it is and its offset, as core/decode.py says.

    PCI's first register is one of 32 bits alone, so the three ports behind its first are free (PCI
    Local Bus Specification 3.0, 3.2.2.3.2).
    Raises UsageError, with file and line, for a claim to what is another place's or is not there.
    """
    last = max((p.end for place in places for p in place.ports), default=0)
    found = [NOBODY << ROW_SHIFT] * max(last, PORT_PCI_ADDRESS + PCI_PORTS)
    for offset in (0, *range(PORT_PCI_DATA - PORT_PCI_ADDRESS, PCI_PORTS)):
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


def functions(places: tuple[Place, ...], board: Board) -> tuple[int, ...]:
    """By function on bus 0: whose it is, and which of its functions; raises likewise."""
    found = [NOBODY << ROW_SHIFT] * (SLOTS << FUNCTION_SHIFT)
    for row, place in enumerate(places):
        if place.pci is None or place.board not in (None, board):
            continue
        first = place.pci.first(board)
        if first.number >> FUNCTION_SHIFT:
            raise refused(place, f"function {first.number}; a device has 0 to 7")
        for number in range(place.pci.count):
            slot = first.slot + number
            if slot >= SLOTS:
                raise refused(place, f"slot {slot}; a bus has 0 to {SLOTS - 1}")
            index = Function(slot, first.number).index
            owner = found[index] >> ROW_SHIFT
            if owner != NOBODY:
                name = f"slot {slot}" + (f", function {first.number}" if first.number else "")
                raise overlapping(place, name, places[owner])
            found[index] = row << ROW_SHIFT | number
    return tuple(found)


def accesses(places: tuple[Place, ...]) -> bytes:
    """By row: how accesses to memory come to who is there."""
    found = bytearray([Access.NATURAL] * NOBODY + [Access.TAKEN])  # nobody takes anything
    found[: len(places)] = bytes(place.memory_access for place in places)
    return bytes(found)


def check(places: tuple[Place, ...]) -> None:
    """What is not about fixed ports: refused where claims overlap, or a pin is not there.

    So it is where a name is no name, or another's: of an option, in ACPI.
    """
    for row, place in enumerate(places):
        if not isinstance(place, Place):
            raise UsageError(f"vestige/devices.py: row {row} of DEVICES is {place!r}, no Place")
    if len(places) > MAX_PLACES:
        raise refused(places[MAX_PLACES], f"row {MAX_PLACES}; there are 0 to {MAX_PLACES - 1}")
    check_options(places)
    check_acpi(places)
    check_fields_and_pins(places)
    check_posts(places)
    for board in Board:
        check_ranges([place for place in places if place.board in (None, board)], board)


def check_ranges(places: list[Place], board: Board) -> None:
    """Memory and ports of one kind of machine."""
    ports = [(each.first, each.end, place) for place in places for each in place.ports]
    memory: list[tuple[int, int, Place]] = []
    for place in places:
        if place.memory is not None:
            memory.append(memory_range(place, place.memory))
        if place.pci is not None:
            check_functions(place, place.pci)
            for bar in place.pci.bars:
                first, end = bar_range(place, bar, place.pci.count)
                if bar.board in (None, board):
                    (ports if bar.space == Space.PORTS else memory).append((first, end, place))
    disjoint("address", memory)
    disjoint("port", ports)


def check_fields_and_pins(places: tuple[Place, ...]) -> None:
    """Each row has a field and a link of its own, and each of its lines a pin of its own."""
    fields: dict[str, Place] = {}
    links: dict[str, Place] = {}
    pins: dict[int, Place] = {}
    for place in places:
        note(fields, place.field, place, f"field {place.field} of Machine")
        if place.link:
            note(links, place.link, place, f"the link {place.link}")
        routed_to = [pin for routed in place.routed for pin in routed.pins]
        for pin in (*(wire.pin for wire in place.wires), *routed_to):
            if pin >= PINS:
                raise refused(place, f"pin {pin}; the I/O APIC has 0 to {PINS - 1}")
        for wire in place.wires:
            note(pins, wire.pin, place, f"pin {wire.pin}")
        lines = [wire.line for wire in place.wires]
        if twice := {line for line in lines if lines.count(line) > 1}:
            raise refused(place, f"two pins for its {min(twice)}; a line leads to one")
        if len(place.notice) > LOG_SIZE:
            raise refused(place, f"a notice of {len(place.notice)} bytes; {LOG_SIZE} is the most")
    for place in places:
        for wire in place.wires:
            for other in places:
                if any(wire.pin in routed.pins for routed in other.routed):
                    raise overlapping(place, f"pin {wire.pin}", other)
    check_one(places, "the pins' control", lambda place: place.controls_pins)
    check_one(places, "the boot CPU's ExtINT", lambda place: place.injects)
    check_one(places, "the screen", lambda place: place.displays)
    check_one(places, "the way of PCI's lines", lambda place: place.steers)
    check_one(places, "a region", lambda place: place.pci and place.pci.region is not None)
    check_one(places, "the firmware's flash memory", lambda place: place.flash)
    check_one(places, "the answers given beforehand", lambda place: place.shows)
    check_one(places, "the gate of bit 20", lambda place: place.gates)
    check_one(places, "functions that are spread", lambda place: place.pci and place.pci.spread)
    check_one(places, "disks of bus IDE", lambda place: place.disks == Bus.IDE)
    check_one(places, "disks of bus FLOPPY", lambda place: place.disks == Bus.FLOPPY)
    check_one(places, "the DMA controllers", lambda place: place.carries)
    check_one(places, "disks of bus VIRTIO", lambda place: place.disks == Bus.VIRTIO)
    check_answers(places)


def check_one(places: tuple[Place, ...], what: str, has: Callable[[Place], object]) -> None:
    """Refuse a second device that has something which one can have."""
    having = [place for place in places if has(place)]
    for place in having[1:]:
        file, line = made_at(having[0])
        raise refused(place, f"{what}, as {having[0].field} does ({file}:{line}); one device can")


def check_answers(places: tuple[Place, ...]) -> None:
    """Whose reads are answered beforehand is the first that decode.find_port looks at."""
    placed = [each for each in places if each.pci is not None and each.pci.has_ports]
    first = next((each for each in placed if each.board != Board.PC), None)
    for place in places:
        if place.shows and first is not None and first is not place:
            raise refused(
                place,
                f"answers given beforehand, behind {first.field}, which a guest may place at the"
                " same ports; put its row before that",
            )


def check_posts(places: tuple[Place, ...]) -> None:
    """One device has posted writes, and as many as the worker has signals for."""
    check_one(places, "posted writes", lambda place: place.posts)
    for place in places:
        if len(place.posts) > FENCE_SIGNAL:
            raise refused(place, f"{len(place.posts)} posted writes; there are {FENCE_SIGNAL}")
        for post in place.posts:
            if place.posts.count(post) > 1:
                raise refused(place, f"two posted writes of {post.value:#x} to {post.address:#x}")


def check_types(places: tuple[Place, ...], types: tuple[VirtioType, ...]) -> None:
    """The types of virtio functions, and everybody's requests to disks."""
    kinds: dict[int, VirtioType] = {}
    fields: dict[str, VirtioType] = {}
    tags: dict[int, Place | VirtioType] = {}
    for row in types:
        if not isinstance(row, VirtioType):
            raise UsageError(f"vestige/devices.py: {row!r} in VIRTIO_TYPES is no VirtioType")
        note(kinds, row.kind, row, f"virtio's type {row.kind}")
        if not 0 < row.kind < 1 << 6:
            raise refused(row, f"virtio's type {row.kind}; types are 1 to 63")
        if row.count == 0:
            raise refused(row, "0 models; give it one")
        note(fields, row.field, row, f"field {row.field} of Virtio")
    for place in places:
        if place.requests is not None:
            check_requests(place, place.requests, 1, tags)
    for row in types:
        if row.requests is not None:
            check_requests(row, row.requests, row.count, tags)


def check_requests(
    owner: Place | VirtioType,
    requests: Requests,
    count: int,
    tags: dict[int, Place | VirtioType],
) -> None:
    """Refuse numbers of requests that are another's, or beyond the drivers' tables."""
    if not 0 < requests.count <= DISK_REQUESTS:
        raise refused(owner, f"{requests.count} requests; give 1 to {DISK_REQUESTS}")
    for tag in range(requests.first, requests.first + count * requests.count):
        if tag >= REQUESTS:
            raise refused(owner, f"request {tag}; drivers know 0 to {REQUESTS - 1}")
        note(tags, tag, owner, f"request {tag}")


def memory_range(place: Place, memory: MemoryRange) -> tuple[int, int, Place]:
    """A range that a device may have: above PCI's, below RAM's second part; or the window."""
    first, end, size = memory.address, memory.end, memory.size
    if memory.is_window:
        if size != WINDOW_SIZE or memory.offset + size > MOST_MEMORY:
            raise refused(place, f"{size:#x} bytes at {first:#x}; the window has {WINDOW_SIZE:#x}")
        check_access(place, memory.access)
        return first, end, place
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
    check_access(place, memory.access)
    if memory.access == Access.NATURAL and (first | size) & 3:
        raise refused(place, f"{size:#x} bytes at {first:#x}; its registers have 32 bits")
    return first, end, place


def check_access(place: Place, access: int) -> None:
    """Refuse what is no Access, or one of which the model does not say more."""
    if access not in (Access.NATURAL, Access.WHOLE, Access.TAKEN):
        raise refused(place, f"access {access}; see place.Access")
    if access == Access.TAKEN and not place.wide:
        raise refused(place, "accesses that its model takes, and is not wide; say so")


def check_functions(place: Place, pci: Pci) -> None:
    """Refuse functions that can't be, but for their slots and BARs."""
    check_access(place, pci.access)
    if pci.count == 0:
        raise refused(place, "0 functions; give it one")
    for space in (Space.MEMORY, Space.PORTS):
        numbers = [bar.number for bar in pci.bars if bar.space == space]
        if len(set(numbers)) < len(numbers):
            raise refused(place, "one BAR twice; give each a number of its own")
    alike = len(pci.bars) == 1 and pci.bars[0].space == Space.MEMORY
    if pci.spread and (pci.count > MAX_VIRTIO or not alike):
        raise refused(
            place,
            f"{pci.count} functions that are spread; those are 1 to {MAX_VIRTIO}, with one BAR of"
            " memory",
        )


def bar_range(place: Place, bar: Bar, count: int) -> tuple[int, int]:
    """What a BAR claims for all functions: PCI Local Bus Specification 3.0, 6.2.5.1."""
    if bar.space not in (Space.MEMORY, Space.PORTS):
        raise refused(place, f"space {bar.space} by BAR {bar.number}; see place.Space")
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
    if bar.region is not None and (
        bar.space != Space.MEMORY or (bar.region, bar.size) not in REGION_SIZES
    ):
        raise refused(place, f"region {bar.region} by BAR {bar.number}; give one of abi.REGIONS")
    if bar.address % bar.size or bar.address == 0:
        raise refused(
            place, f"{bar.address:#x} by BAR {bar.number}; give a multiple of its {bar.size}, not 0"
        )
    if bar.size * count > MOST_MEMORY:
        raise refused(place, f"{bar.size * count:#x} bytes by BARs; {MOST_MEMORY:#x} is the most")
    if bar.space == Space.PORTS and end > PORTS:
        raise refused(place, f"ports to {end:#x} by BAR {bar.number}; there are {PORTS:#x}")
    if (
        bar.space == Space.PORTS
        and bar.address < PORT_PCI_ADDRESS + PCI_PORTS
        and (end > PORT_PCI_ADDRESS)
    ):
        raise refused(place, f"port {PORT_PCI_ADDRESS:#x}, which is PCI's; give it another")
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
        if (
            word in ("", name)
            or word[0] == "-"
            or not consists(word, LETTERS.lower() + DIGITS + "-")
        ):
            raise refused(place, f"option {name!r}; give one like --hpet")
        note(owners, name, place, f"option {name}")
        if place.present is not always:
            raise refused(place, f"option {name}, and says itself when it is there; give one")
        if row >= OPTIONAL_ROWS:
            raise refused(place, f"option {name} in row {row}; those with an option go first")


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
        table = place.table
        for node in place.nodes:
            check_node(place, node)
            note(owners, node.name, place, f"ACPI name {node.name}")
        if table is not None:
            what = f"ACPI table {table.signature!r}"
            letters = consists(table.signature.decode("latin-1"), LETTERS + DIGITS)
            if len(table.signature) != 4 or not letters or table.signature in OWN_TABLES:
                raise refused(place, f"{what}; give four of A to Z that are not the machine's own")
            if len(table.body) > MOST_TABLE:
                raise refused(place, f"{what} of {len(table.body)} bytes; {MOST_TABLE} is the most")
            note(owners, table.signature, place, what)


def check_node(place: Place, node: Node) -> None:
    """The same for one node, and for claims that its resource descriptors have no room for."""
    name, hid = node.name, node.hid
    lines = [wire.line for wire in place.wires]
    for line in node.lines or ():
        if line not in lines:
            raise refused(place, f"line {line!r} in ACPI, which it has not; it has {lines}")
    if len(name) != 4 or name[0] not in LETTERS or not consists(name, LETTERS + DIGITS + "_"):
        what = f"ACPI name {name!r}; give four of A to Z, 0 to 9 and _, a letter first"
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


def note(owners: "dict[Key, Owner]", key: "Key", owner: "Owner", what: str) -> None:
    """Note that `key` is this owner's; raise UsageError where it is another's. `what` names it."""
    if key in owners:
        raise overlapping(owner, what, owners[key])
    owners[key] = owner


def overlapping(place: Place | VirtioType, what: str, other: Place | VirtioType) -> UsageError:
    """What `place` claims is `other`'s."""
    file, line = made_at(other)
    return refused(place, f"{what}, which is {other.field}'s ({file}:{line}); give each its own")


def refused(place: Place | VirtioType, what: str) -> UsageError:
    """An error that says where the claim was made."""
    file, line = made_at(place)
    return UsageError(f"{file}:{line}: {place.field} claims {what}")
