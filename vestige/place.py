"""Where a device is in the machine: a record of what it claims and of what a guest is told of it.

Each device has one, in `monitor/devices/NAME/place.py`, and `vestige/devices.py` lists them. The
core loops over that list, which the compiler unrolls: what a device does not claim costs nothing.
Its ACPI node and its option follow from the same record. The shapes that models have by what their
places say are in `vestige/shapes.py`.
"""

from _collections_abc import Callable, Collection
from itertools import pairwise

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    FENCE_SIGNAL,
    PCI_WINDOW,
    PINS,
    PORT_PCI_ADDRESS,
    PORT_PCI_DATA,
    Bus,
    Config,
)
from vestige.lang.enumeration import IntEnum
from vestige.lang.records import Record, made_at
from vestige.lang.types import u8, u16, u32, u64

PORTS = 0x10000
OFFSETS = 0x100  # of one device's ports
PCI_PORTS = PORT_PCI_DATA + 4 - PORT_PCI_ADDRESS
SLOTS = 32  # device numbers of a PCI bus
MAX_PLACES = 253
ROW_SHIFT = 24  # of a row, above an offset: a device has 16 MiB of registers at most
# Rows of what is no device's.
CONFIG_PORTS = 253  # PCI's mechanism 1
CONFIG_MEMORY = 254  # PCI's ECAM
NOBODY = 255
NOWHERE = 0xFFFF_FFFF  # the offset of what a device does not claim, the number of no function
GOES_ON = 255  # the machine, as no abi.Power
OPTIONAL_ROWS = 64  # those that have a bit in Config.options
DIGITS, LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HEXADECIMAL = DIGITS + "ABCDEF"
# Names in ACPI that are the machine's own (machine/acpi); its CPUs are C000 and so on.
OWN_NODES = ("PCI0", "MBRD", "LNKA", "LNKB", "LNKC", "LNKD")
OWN_TABLES = (b"RSDT", b"XSDT", b"FACP", b"FACS", b"DSDT", b"APIC", b"MCFG")


class Ports(Record):
    """Ports of byte-wide registers: a wider access is one byte after the other.

    `offset` is that of the first to the model; None: as far from it as from the place's first port.
    """

    first: u16
    count: u16
    offset: int | None = None

    @property
    def end(self) -> int:
        """The port after the last."""
        return self.first + self.count


class Access(IntEnum):
    """What an access to memory is when it comes to the model."""

    NATURAL = 0  # 1, 2 or 4 bytes of one aligned 32-bit register; others are taken apart to bytes
    WHOLE = 1  # 1 to 8 bytes, as the guest made it
    BYTES = 2  # one byte after the other


class MemoryRange(Record):
    """A range of guest-physical addresses outside RAM."""

    address: u64
    size: u64
    access: u8 = Access.NATURAL

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + self.size


class Space(IntEnum):
    """What a BAR claims."""

    MEMORY = 0
    PORTS = 1


class Bar(Record):
    """A base address register, and where it is at power-on: of each further function `size` on."""

    number: u8  # 0 to 5
    address: u64  # or first port
    size: u32
    space: u8 = Space.MEMORY

    @property
    def end(self) -> int:
        """The address, or port, after the last of the first function."""
        return self.address + self.size


class Pci(Record):
    """Functions on PCI bus 0: function 0 of the device at `slot` and of those that follow.

    Those may be different devices to the guest. `spread`: each may live in another domain.
    """

    slot: u8
    count: u8 = 1
    bars: tuple[Bar, ...] = ()
    access: u8 = Access.NATURAL  # to its memory
    spread: bool = False

    @property
    def has_ports(self) -> bool:
        """Whether there is a BAR of ports."""
        return any(bar.space == Space.PORTS for bar in self.bars)

    @property
    def has_memory(self) -> bool:
        """Whether there is a BAR of memory."""
        return any(bar.space == Space.MEMORY for bar in self.bars)


class Wire(Record):
    """One of the model's lines, and where it leads."""

    line: str  # the Line's field
    pin: u8  # of the I/O APIC


class Routed(Record):
    """An array of parts, each with a `line` that leads to the pin its `route()` says."""

    parts: str  # the array's field
    count: u8
    within: str = ""  # the part's field that has the line, if it isn't the part


class Requests(Record):
    """An array of parts, each with a `request` to a disk."""

    parts: str  # the array's field
    count: u8
    first: u8  # the number of the first part's request: block.REQUESTS


class Post(Record):
    """A write of the guest that becomes an interrupt of the worker, and no exit."""

    address: u64
    value: u8


class Option(Record):
    """The option of `vestige run` that gives the guest the device."""

    name: str  # as it is typed
    help: str


class Node(Record):
    """The device in ACPI's namespace; what its place claims is its _CRS."""

    name: str
    hid: str  # PNP0501, as EISA has it, or QEMU0001, as ACPI has it


class Table(Record):
    """An ACPI table of the device's own, without its header."""

    signature: bytes
    revision: u8
    body: bytes


def always(config: Config) -> bool:
    """What every machine has, or every one whose user asks for it."""
    return True


class Place(Record):
    """One device. The first of its ports, or its memory's address, is offset 0 to its model.

    It is there if its `option` is given; without one, if `present` says so: `is_present`.
    """

    field: str  # of core.machine.Machine
    page: str  # docs/devices/PAGE.md
    ports: tuple[Ports, ...] = ()
    memory: MemoryRange | None = None
    pci: Pci | None = None
    wires: tuple[Wire, ...] = ()
    routed: tuple[Routed, ...] = ()
    timed: bool = False
    present: Callable[[Config], bool] = always
    option: Option | None = None
    node: Node | None = None
    table: Table | None = None
    fixed_hardware: bool = False  # guests look for it only where ACPI has its fixed hardware
    configured: bool = False
    wide: bool = False  # it has registers at ports that are wider than a byte
    quiet: bool = False  # it knows of accesses that move nothing
    controls_pins: bool = False  # wires lead to it
    ends: bool = False  # the guest ends its machine by it
    notice: bytes = b""  # that it may have told to the user
    link: str = ""  # what is between it and its files: the field of Machine
    disks: Bus | None = None  # of which bus they are attached to it
    requests: Requests | None = None
    posts: tuple[Post, ...] = ()
    posting: Callable[[Config], bool] = always  # whether those are used
    shows: bool = False  # its registers, in pages that the guest reads
    in_use: str = ""  # a field of its that is 0 while it has nothing

    @property
    def has_registers(self) -> bool:
        """Whether accesses come to its model by offset."""
        return bool(self.ports or self.memory or (self.pci is not None and self.pci.bars))

    @property
    def byte_wide(self) -> bool:
        """Whether all registers are of a byte, at ports."""
        return bool(self.ports) and self.memory is None and not self.wide

    @property
    def memory_access(self) -> int:
        """How accesses to its memory come to its model."""
        if self.memory is not None:
            return self.memory.access
        return Access.NATURAL if self.pci is None else self.pci.access


def is_present(place: Place, row: u8, config: Config) -> bool:
    """Whether the machine has the device; `row` is its number in `vestige/devices.py`."""
    if place.option is not None:
        return config.options >> row & 1 != 0
    return place.present(config)


def options_for(places: tuple[Place, ...], fields: Collection[str]) -> int:
    """Config.options where the user asks for the devices of these fields."""
    return sum(
        1 << row
        for row, place in enumerate(places)
        if place.option is not None and place.field in fields
    )


class VirtioType(Record):
    """One type of device behind virtio functions: its models are an array in the virtio device."""

    kind: u8  # abi.VirtioKind
    field: str  # of devices.virtio.devices.Virtio
    page: str  # docs/devices/PAGE.md
    count: u8
    class_code: u16  # of the PCI function
    requests: Requests | None = None  # a disk's
    link: str = ""  # what is between the models and their files: the field of Machine


def rows(places: tuple[Place, ...]) -> tuple[int, ...]:
    """By port, up to the last that is claimed: whose it is and its offset, as core/decode.py says.

    Raises ValueError, with file and line, for a claim to what is another place's or is not there.
    """
    last = max((p.end for place in places for p in place.ports), default=0)
    found = [NOBODY << ROW_SHIFT] * max(last, PORT_PCI_ADDRESS + PCI_PORTS)
    for offset in range(PCI_PORTS):
        found[PORT_PCI_ADDRESS + offset] = CONFIG_PORTS << ROW_SHIFT | offset
    for row, place in enumerate(places):
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
    check_options(places)
    check_acpi(places)
    if len(places) > MAX_PLACES:
        raise refused(places[MAX_PLACES], f"row {MAX_PLACES}; there are 0 to {MAX_PLACES - 1}")
    for place in places:
        for wire in place.wires:
            if wire.pin >= PINS:
                raise refused(place, f"pin {wire.pin}; the I/O APIC has 0 to {PINS - 1}")
    posting = [place for place in places if place.posts]
    for place in posting[1:]:
        raise refused(place, f"posted writes, which {posting[0].field} has; one device can")
    for place in posting:
        if len(place.posts) > FENCE_SIGNAL:
            raise refused(place, f"{len(place.posts)} posted writes; there are {FENCE_SIGNAL}")
    memory: list[tuple[int, int, Place]] = []
    ports = [(each.first, each.end, place) for place in places for each in place.ports]
    for place in places:
        if place.memory is not None:
            claimed = place.memory
            if claimed.address < ECAM + ECAM_SIZE and claimed.end > PCI_WINDOW:
                raise refused(
                    place, f"address {claimed.address:#x}, which is PCI's; give it another"
                )
            if claimed.size > 1 << ROW_SHIFT:
                raise refused(place, f"{claimed.size:#x} bytes; {1 << ROW_SHIFT:#x} is the most")
            memory.append((claimed.address, claimed.end, place))
        if place.pci is not None:
            for bar in place.pci.bars:
                end = bar.address + bar.size * place.pci.count
                if bar.space == Space.PORTS:
                    ports.append((bar.address, end, place))
                elif bar.address >= PCI_WINDOW and end <= ECAM:
                    memory.append((bar.address, end, place))
                else:
                    raise refused(
                        place,
                        f"address {bar.address:#x} by BAR {bar.number}; PCI has"
                        f" {PCI_WINDOW:#x} to {ECAM - 1:#x}",
                    )
    disjoint("address", memory)
    disjoint("port", ports)


def disjoint(what: str, claims: list[tuple[int, int, Place]]) -> None:
    """Refuse ranges [first, end) that overlap."""
    claims.sort(key=lambda claim: claim[:2])
    for (_, end, place), (first, _, other) in pairwise(claims):
        if first < end:
            raise overlapping(other, f"{what} {first:#x}", place)


def check_options(places: tuple[Place, ...]) -> None:
    """Raise ValueError, with file and line, for an option that can't be one, or is another's."""
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


def overlapping(place: Place, what: str, other: Place) -> ValueError:
    """What `place` claims is `other`'s."""
    file, line = made_at(other)
    return refused(place, f"{what}, which is {other.field}'s ({file}:{line}); give each its own")


def refused(place: Place, what: str) -> ValueError:
    """An error that says where the claim was made."""
    file, line = made_at(place)
    return ValueError(f"{file}:{line}: {place.field} claims {what}")
