"""The commands under way on one controller, each in a place whose number is its identifier.

A place has two pages of the controller's memory: one for a PRP list, one to bounce data
through. Sets of places are bitmaps.
"""

from enum import IntEnum

from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.drivers.nvme.spec import PAGE

COUNT = 32
PAGES = 2 * PAGE  # of memory for each


class Kind(IntEnum):
    """How a command's data gets where it belongs."""

    NONE = 0  # it has none
    DIRECT = 1  # PRPs name the request's own memory
    BOUNCED = 2  # whole blocks through the bounce page
    PARTIAL = 3  # part of a block, which is read into the bounce page first


class CommandSlot(Struct):
    """One command, from when it is cut off its request until it is answered for good."""

    tag: u8  # number of the request
    queue: u8  # which I/O queue pair, from 0
    kind: u8
    opcode: u8
    attempts: u8  # times it was given to the controller
    aborting: u8
    into: u16  # of PARTIAL: bytes into the block
    length: u32  # bytes of the request
    segment: u32  # where in the request's segments they begin
    position: u32
    blocks: u32
    first: u64  # block
    prp1: u64  # the monitor's address
    prp2: u64  # as the controller takes it
    deadline: u64


class CommandSlots(Struct):
    """All places of a controller."""

    memory: u64
    free: u32  # sets of places
    waiting: u32  # to be given to the controller (again)
    busy: u32  # given to it
    place: CommandSlot[COUNT]

    def reset(self, memory: u64, most: u32) -> None:
        """All free; `most` may be in use at once."""
        self.memory = memory
        self.free = u32((1 << min(most, COUNT)) - 1)
        self.waiting = 0
        self.busy = 0

    def take(self) -> u8:
        """A free place; there must be one."""
        number = lowest(self.free)
        self.free &= ~u32(1 << number)
        return number

    def release(self, number: u8) -> None:
        """The place is free."""
        self.busy &= ~u32(1 << (number & 31))
        self.waiting &= ~u32(1 << (number & 31))
        self.free |= u32(1 << (number & 31))

    def is_busy(self, number: u32) -> bool:
        """Whether the controller has a command with this identifier."""
        return number < COUNT and self.busy >> (number & 31) & 1 != 0

    def list_page(self, number: u8) -> u64:
        """Where this place's PRP list goes."""
        return u64(self.memory + PAGES * number)

    def bounce_page(self, number: u8) -> u64:
        """This place's page of data."""
        return u64(self.memory + PAGES * number + PAGE)


def lowest(places: u32) -> u8:
    """The lowest number in a set that is not empty."""
    for number in range(COUNT):
        if places >> number & 1:
            return number
    return COUNT - 1
