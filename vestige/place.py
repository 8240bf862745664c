"""Where a device is in the machine: a record of what it claims: ports, memory, pins.

Each device with a fixed place has one, in `monitor/devices/NAME/place.py`, and `vestige/devices.py`
lists them. The core loops over that list, which the compiler unrolls: what a device does not claim
costs nothing.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

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
from vestige.lang.types import u8, u16, u32, u64

PORTS = 0x10000
OFFSETS = 0x100  # of one device's ports
NOBODY = 255  # the row of a port that no device claims


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


def always(config: Config) -> bool:
    """What every machine has."""
    return True


class Place(Record):
    """One device. The first of its ports, or its memory's address, is offset 0 to its model."""

    field: str  # of core.machine.Machine
    page: str  # docs/devices/PAGE.md
    ports: tuple[Ports, ...] = ()
    memory: Block | None = None
    wires: tuple[Wire, ...] = ()
    routed: tuple[Routed, ...] = ()
    timed: bool = False
    present: Callable[[Config], bool] = always


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
    """What is not about ports: the same, where addresses overlap or a pin is not there."""
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


def overlapping(place: Place, what: str, other: Place) -> ValueError:
    """What `place` claims is `other`'s."""
    file, line = made_at(other)
    return refused(place, f"{what}, which is {other.field}'s ({file}:{line}); give each its own")


def refused(place: Place, what: str) -> ValueError:
    """An error that says where the claim was made."""
    file, line = made_at(place)
    return ValueError(f"{file}:{line}: {place.field} claims {what}")
