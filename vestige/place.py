"""Where a device is in the machine: a record of what it claims and of what a guest is told of it.

Each device with a fixed place has one, in `monitor/devices/NAME/place.py`, and `vestige/devices.py`
lists them. The core loops over that list, which the compiler unrolls: what a device does not claim
costs nothing. Its ACPI node and its option follow from the same record.
"""

from _collections_abc import Callable, Collection
from itertools import pairwise

from vestige.abi import (
    ECAM,
    ECAM_SIZE,
    PCI_WINDOW,
    PINS,
    PORT_PCI_ADDRESS,
    PORT_PCI_DATA,
    Config,
)
from vestige.lang.enumeration import IntEnum
from vestige.lang.records import Record, made_at
from vestige.lang.types import TYPE_CHECKING, u8, u16, u32, u64

if TYPE_CHECKING:
    from typing import Protocol
else:

    class Protocol:
        """typing's own takes longer to import than all else here; the compiler asks for no more."""

        _is_protocol = True


PORTS = 0x10000
OFFSETS = 0x100  # of one device's ports
NOBODY = 255  # the row of a port that no device claims
OPTIONAL_ROWS = 64  # those that have a bit in Config.options
DIGITS, LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HEXADECIMAL = DIGITS + "ABCDEF"
# Names in ACPI that are the machine's own (machine/acpi); its CPUs are C000 and so on.
OWN_NODES = ("PCI0", "MBRD", "LNKA", "LNKB", "LNKC", "LNKD")
OWN_TABLES = (b"RSDT", b"XSDT", b"FACP", b"FACS", b"DSDT", b"APIC", b"MCFG")


class Device(Protocol):
    """What every model can do. `size` is in bytes, `now` in nanoseconds."""

    def reset(self) -> None:
        """Power on; the struct is all zeroes before."""

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A register read."""

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A register write."""


class Timed(Protocol):
    """What those can do to which something happens though nobody asks; nanoseconds."""

    def next_deadline(self) -> u64:
        """When to call `expire`; line.NEVER: no need."""

    def expire(self, now: u64) -> None:
        """Time has passed."""


class Ports(Record):
    """Ports of byte-wide registers: a wider access is one byte after the other."""

    first: u16
    count: u16

    @property
    def end(self) -> int:
        """The port after the last."""
        return self.first + self.count


class Access(IntEnum):
    """What an access to memory is when it comes to the model."""

    NATURAL = 0  # 1, 2 or 4 bytes of one aligned 32-bit register; others are taken apart to bytes
    WHOLE = 1  # 1 to 8 bytes, as the guest made it


class Block(Record):
    """A range of guest-physical addresses outside RAM."""

    address: u64
    size: u64
    access: u8 = Access.NATURAL

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + self.size


class Wire(Record):
    """One of the model's lines, and where it leads."""

    line: str  # the Line's field
    pin: u8  # of the I/O APIC


class Routed(Record):
    """An array of parts, each with a `line` that leads to the pin its `route()` says."""

    parts: str  # the array's field
    count: u8


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
    memory: Block | None = None
    wires: tuple[Wire, ...] = ()
    routed: tuple[Routed, ...] = ()
    timed: bool = False
    present: Callable[[Config], bool] = always
    option: Option | None = None
    node: Node | None = None
    table: Table | None = None
    fixed_hardware: bool = False  # guests look for it only where ACPI has its fixed hardware


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


def rows(places: tuple[Place, ...]) -> bytes:
    """By port, up to the last that is claimed: the index of the place that claims it, or NOBODY.

    Raises ValueError, with file and line, for a claim to what is another place's or is not there.
    """
    owners = bytearray([NOBODY] * max((p.end for place in places for p in place.ports), default=0))
    for number, place in enumerate(places):
        for ports in place.ports:
            if ports.count == 0 or ports.end > PORTS:
                raise refused(
                    place, f"{ports.count} ports from {ports.first:#x}; there are {PORTS:#x}"
                )
            for port in range(ports.first, ports.end):
                if owners[port] != NOBODY:
                    raise overlapping(place, f"port {port:#x}", places[owners[port]])
                if not 0 <= port - place.ports[0].first < OFFSETS:
                    raise refused(
                        place, f"port {port:#x}, whose offset is no byte; order its ports"
                    )
                if PORT_PCI_ADDRESS <= port < PORT_PCI_DATA + 4:
                    raise refused(place, f"port {port:#x}, which is PCI's; give it another")
                owners[port] = number
    return bytes(owners)


def check(places: tuple[Place, ...]) -> None:
    """What is not about ports: the same, where addresses overlap or a pin is not there.

    So it is where a name is no name, or another's: of an option, in ACPI.
    """
    check_options(places)
    check_acpi(places)
    for place in places:
        for wire in place.wires:
            if wire.pin >= PINS:
                raise refused(place, f"pin {wire.pin}; the I/O APIC has 0 to {PINS - 1}")
    blocks = [(place.memory, place) for place in places if place.memory is not None]
    for block, place in blocks:
        if block.address < ECAM + ECAM_SIZE and block.end > PCI_WINDOW:
            raise refused(place, f"address {block.address:#x}, which is PCI's; give it another")
    blocks.sort(key=lambda pair: pair[0].address)
    for (block, place), (following, other) in pairwise(blocks):
        if following.address < block.end:
            raise overlapping(other, f"address {following.address:#x}", place)


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
