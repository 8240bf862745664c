"""A driver's side of virtqueues, written from virtio 1.2 alone: nothing of the device's code.

A driver lays its queue out in guest RAM, makes buffers available, collects used ones, and says
when it wants interrupts. `poke` and `peek` reach guest RAM by guest-physical address.
"""

import ctypes
import struct
from typing import NamedTuple

from vestige.lang.memory import Memory

RAM_SIZE = 0x1A000
QUEUE_AREA = 0x1000  # where queue 0's areas begin; each queue has 0x4000 bytes
TABLES = 0x14000  # indirect tables: sixteen of 256 bytes for each queue
DATA = 0x16000

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15


class Buffer(NamedTuple):
    """One element of a chain."""

    address: int
    length: int
    writable: bool


class GuestRam:
    """RAM at guest-physical 0."""

    def __init__(self, memory: "ctypes.Array[ctypes.c_uint8] | None" = None) -> None:
        """Its own, or `memory`."""
        self.bytes = (ctypes.c_uint8 * RAM_SIZE)() if memory is None else memory
        self.memory = Memory(low=ctypes.addressof(self.bytes), low_size=len(self.bytes))

    def poke(self, address: int, layout: str, *values: int) -> None:
        """Store little-endian values."""
        struct.pack_into("<" + layout, self.bytes, address, *values)

    def peek(self, address: int, layout: str) -> int:
        """Load one little-endian value."""
        value: int = struct.unpack_from("<" + layout, self.bytes, address)[0]
        return value

    def put(self, address: int, data: bytes) -> None:
        """Store bytes."""
        self.bytes[address : address + len(data)] = list(data)

    def get(self, address: int, length: int) -> bytes:
        """Load bytes."""
        return bytes(self.bytes[address : address + length])


class Driver:
    """What both formats share: where things are, and what is outstanding by buffer's number."""

    packed = False

    def __init__(self, ram: GuestRam, size: int, *, event_index: bool, queue: int = 0) -> None:
        self.ram = ram
        self.size = size
        self.event_index = event_index
        self.descriptors = QUEUE_AREA + queue * 0x4000
        self.driver = self.descriptors + 0x1000
        self.device = self.descriptors + 0x2000
        self.tables = TABLES + queue * 0x1000
        self.outstanding: dict[int, list[Buffer]] = {}
        self.free = size

    def table(self, number: int, buffers: list[Buffer], *, chained: bool) -> tuple[int, int]:
        """Write an indirect table; where it is and how long."""
        place = self.tables + number % 16 * 0x100
        for index, buffer in enumerate(buffers):
            flags = WRITE if buffer.writable else 0
            following = 0
            if chained and index + 1 < len(buffers):
                flags |= NEXT
                following = index + 1
            words = (flags, following) if chained else (0, flags)
            self.ram.poke(place + 16 * index, "QIHH", buffer.address, buffer.length, *words)
        return place, 16 * len(buffers)

    def add(self, buffers: list[Buffer], *, indirect: bool = False) -> int | None:
        """Make a buffer available; its number, or None where there is no room."""
        raise NotImplementedError

    def kick(self) -> bool:
        """Whether the device is to be notified of what was added since this was last asked."""
        raise NotImplementedError

    def collect(self) -> list[tuple[int, int]]:
        """Numbers and written lengths of buffers used since this was last asked, in order."""
        raise NotImplementedError

    def want_interrupt(self) -> None:
        """From now on: at the next used buffer."""
        raise NotImplementedError

    def unwant_interrupt(self) -> None:
        """Rather not."""
        raise NotImplementedError


class SplitDriver(Driver):
    """2.7."""

    def __init__(self, ram: GuestRam, size: int, *, event_index: bool, queue: int = 0) -> None:
        super().__init__(ram, size, event_index=event_index, queue=queue)
        self.free_list = list(range(size))
        self.heads: dict[int, list[int]] = {}
        self.index = 0
        self.kicked = 0
        self.seen = 0

    def add(self, buffers: list[Buffer], *, indirect: bool = False) -> int | None:
        needed = 1 if indirect else len(buffers)
        if len(self.free_list) < needed:
            return None
        places = [self.free_list.pop() for _ in range(needed)]
        head = places[0]
        if indirect:
            address, length = self.table(head, buffers, chained=True)
            self.ram.poke(self.descriptors + 16 * head, "QIHH", address, length, INDIRECT, 0)
        else:
            for number, (place, buffer) in enumerate(zip(places, buffers, strict=True)):
                last = number + 1 == needed
                flags = (WRITE if buffer.writable else 0) | (0 if last else NEXT)
                following = 0 if last else places[number + 1]
                self.ram.poke(
                    self.descriptors + 16 * place, "QIHH",
                    buffer.address, buffer.length, flags, following,
                )  # fmt: skip
        self.heads[head] = places
        self.outstanding[head] = buffers
        self.ram.poke(self.driver + 4 + 2 * (self.index % self.size), "H", head)
        self.index = (self.index + 1) % (1 << 16)
        self.ram.poke(self.driver + 2, "H", self.index)
        return head

    def kick(self) -> bool:
        old, self.kicked = self.kicked, self.index
        if not self.event_index:
            return self.ram.peek(self.device, "H") & 1 == 0 and old != self.index
        event = self.ram.peek(self.device + 4 + 8 * self.size, "H")
        return (self.index - event - 1) % 65536 < (self.index - old) % 65536

    def collect(self) -> list[tuple[int, int]]:
        done = []
        while self.seen != self.ram.peek(self.device + 2, "H"):
            element = self.device + 4 + 8 * (self.seen % self.size)
            head, written = self.ram.peek(element, "I"), self.ram.peek(element + 4, "I")
            self.free_list += self.heads.pop(head)
            del self.outstanding[head]
            done.append((head, written))
            self.seen = (self.seen + 1) % (1 << 16)
        return done

    def want_interrupt(self) -> None:
        self.ram.poke(self.driver, "H", 0)
        if self.event_index:
            self.ram.poke(self.driver + 4 + 2 * self.size, "H", self.seen)

    def unwant_interrupt(self) -> None:
        self.ram.poke(self.driver, "H", 1)
        if self.event_index:
            self.ram.poke(self.driver + 4 + 2 * self.size, "H", (self.seen - 1) % 65536)


class PackedDriver(Driver):
    """2.8."""

    packed = True

    def __init__(self, ram: GuestRam, size: int, *, event_index: bool, queue: int = 0) -> None:
        super().__init__(ram, size, event_index=event_index, queue=queue)
        self.place = 0
        self.wrap = 1
        self.seen = 0
        self.seen_wrap = 1
        self.slots: dict[int, int] = {}
        self.added = 0  # slots since the last kick
        self.number = 0

    def add(self, buffers: list[Buffer], *, indirect: bool = False) -> int | None:
        needed = 1 if indirect else len(buffers)
        if self.free < needed:
            return None
        number = self.number
        while number in self.outstanding:
            number = (number + 7) % 65536
        self.number = (number + 1) % 65536
        elements = buffers
        if indirect:
            elements = [Buffer(*self.table(number, buffers, chained=False), writable=False)]
        head_place, head_flags = self.place, 0
        for index, element in enumerate(elements):
            flags = WRITE if element.writable else 0
            if indirect:
                flags |= INDIRECT
            if index + 1 < needed:
                flags |= NEXT
            flags |= AVAIL if self.wrap else USED
            place = self.descriptors + 16 * self.place
            self.ram.poke(place, "QIH", element.address, element.length, number)
            if index == 0:
                head_flags = flags
            else:
                self.ram.poke(place + 14, "H", flags)
            self.place += 1
            if self.place == self.size:
                self.place, self.wrap = 0, 1 - self.wrap
        self.ram.poke(self.descriptors + 16 * head_place + 14, "H", head_flags)
        self.free -= needed
        self.added += needed
        self.slots[number] = needed
        self.outstanding[number] = buffers
        return number

    def kick(self) -> bool:
        added, self.added = self.added, 0
        flags = self.ram.peek(self.device + 2, "H")
        if flags != 2:
            return flags == 0 and added > 0
        event = self.ram.peek(self.device, "H")
        offset, wrap = event & 0x7FFF, event >> 15
        # Counted from the last place added, backwards: how long ago the event's place was passed.
        new = self.place + (0 if wrap == self.wrap else self.size)
        return 0 < new - offset <= added

    def collect(self) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []
        while True:
            place = self.descriptors + 16 * self.seen
            flags = self.ram.peek(place + 14, "H")
            if flags >> 7 & 1 != self.seen_wrap or flags >> 15 & 1 != self.seen_wrap:
                return done
            written, number = self.ram.peek(place + 8, "I"), self.ram.peek(place + 12, "H")
            del self.outstanding[number]
            slots = self.slots.pop(number)
            self.free += slots
            self.seen += slots
            if self.seen >= self.size:
                self.seen, self.seen_wrap = self.seen - self.size, 1 - self.seen_wrap
            done.append((number, written))

    def want_interrupt(self) -> None:
        if self.event_index:
            self.ram.poke(self.driver, "HH", self.seen | self.seen_wrap << 15, 2)
        else:
            self.ram.poke(self.driver, "HH", 0, 0)

    def unwant_interrupt(self) -> None:
        self.ram.poke(self.driver, "HH", 0, 1)
