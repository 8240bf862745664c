"""A tablet: a pointer that is at a place, with five buttons and a wheel. Virtio 1.2, 5.8.

A report is the events from one SYN to the next. It waits in `report` until the driver has given
buffers for all of it; the next is taken from the stream then. So none is lost, and a driver that is
slow has the pointer come later.
"""

from vestige import abi
from vestige.abi import EVENT_BUTTONS, EVENT_WHEEL, EVENT_X, EVENT_Y, TABLET_END, EventKind
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_input.spec import (
    BUTTON_LEFT,
    BUTTONS,
    EVENT_SIZE,
    WHEEL,
    Config,
    Queue,
    Select,
    Type,
    X,
    Y,
)
from vestige.monitor.events import EventStream, Taken
from vestige.monitor.sized import byte_of

NAME = b"Vestige Tablet"
IDS = (0x06, 0x1AF4, 0x0012, 0x0001)  # BUS_VIRTUAL, and vendor, product, version of our own
LONGEST = BUTTONS + 4  # events of a report: buttons, two axes, wheel, SYN


class Length(IntEnum):
    """Bytes of what can be selected."""

    NAME = 14
    DEVICE_IDS = 8
    BUTTONS = (BUTTON_LEFT + BUTTONS + 7) // 8
    WHEEL = WHEEL // 8 + 1
    AXES = 1
    RANGE = 20


class VirtioTablet(Struct):
    """What the driver has selected, and what it has yet to be told."""

    select: u8
    subselect: u8
    buttons: u8  # that are down, as the driver was told
    count: u8  # events of the report
    sent: u8  # how many of them the driver has
    report: u64[LONGEST]  # as the driver gets them

    def configure(self, config: abi.Config) -> None:
        """There is nothing to tell it."""

    def features(self) -> u64:
        """It offers none of its own."""
        return 0

    # ---- the configuration structure --------------------------------------------------------

    def read_config(self, offset: u32) -> u32:
        """The 32 bits at `offset`, a multiple of 4."""
        size = self.size()
        if offset == Config.SELECT:
            return self.select | self.subselect << 8 | size << 16
        value = u32(0)
        for i in range(4):
            at = u32(offset + i)
            if Config.DATA <= at < Config.DATA + size:
                value |= self.datum(u8(at - Config.DATA)) << 8 * i
        return value

    def write_config(self, offset: u32, size: u8, value: u32) -> None:
        """Select; nothing else can be written."""
        for i in range(size):
            if offset + i == Config.SELECT:
                self.select = byte_of(value, i & 3)
            elif offset + i == Config.SUBSELECT:
                self.subselect = byte_of(value, i & 3)

    def size(self) -> u8:
        """Bytes of what is selected."""
        match self.select:
            case Select.NAME:
                return Length.NAME if self.subselect == 0 else 0
            case Select.DEVICE_IDS:
                return Length.DEVICE_IDS if self.subselect == 0 else 0
            case Select.EVENT_CODES:
                match self.subselect:
                    case Type.KEY:
                        return Length.BUTTONS
                    case Type.REL:
                        return Length.WHEEL
                    case Type.ABS:
                        return Length.AXES
                    case _:
                        return 0
            case Select.RANGE:
                return Length.RANGE if self.subselect in (X, Y) else 0
            case _:
                return 0

    def datum(self, place: u8) -> u8:
        """One of these bytes."""
        match self.select:
            case Select.NAME:
                return NAME[place % len(NAME)]
            case Select.DEVICE_IDS:
                return byte_of(IDS[place // 2 % len(IDS)], place & 1)
            case Select.EVENT_CODES:
                return self.codes(place)
            case _:  # min, max, fuzz, flat, resolution
                return byte_of(TABLET_END, place & 3) if place // 4 == 1 else 0

    def codes(self, place: u8) -> u8:
        """Eight bits of which codes the selected type has."""
        match self.subselect:
            case Type.KEY:
                return (1 << BUTTONS) - 1 if place == BUTTON_LEFT // 8 else 0
            case Type.REL:
                return 1 << WHEEL % 8 if place == WHEEL // 8 else 0
            case _:
                return 1 << X | 1 << Y

    # ---- events -----------------------------------------------------------------------------

    def take_event(
        self, stream: EventStream, device: VirtioDevice, chain: Chain, ram: Memory
    ) -> u8:
        """What is done at the tablet; a Taken. While nobody drives it nothing is done there."""
        if stream.byte(0) != EventKind.TABLET:
            return Taken.NOT_MINE
        if not device.running():
            self.count = 0
            self.sent = 0
            return Taken.DONE
        self.service(device, chain, ram)
        if self.sent < self.count:
            return Taken.LATER
        self.compose(stream)
        self.service(device, chain, ram)
        return Taken.DONE

    def compose(self, stream: EventStream) -> None:
        """The report of an event."""
        self.count = 0
        self.sent = 0
        self.add(Type.ABS, X, min(stream.word(EVENT_X), TABLET_END))
        self.add(Type.ABS, Y, min(stream.word(EVENT_Y), TABLET_END))
        buttons = stream.byte(EVENT_BUTTONS)
        changed = buttons ^ self.buttons
        self.buttons = buttons
        for i in range(BUTTONS):
            if changed >> i & 1:
                self.add(Type.KEY, u16(BUTTON_LEFT + i), buttons >> i & 1)
        wheel = stream.signed(EVENT_WHEEL)
        if wheel:
            self.add(Type.REL, WHEEL, u32(-wheel))
        self.add(Type.SYN, 0, 0)

    def add(self, kind: u16, code: u16, value: u32) -> None:
        """One more event of the report."""
        self.report[self.count % LONGEST] = kind | code << 16 | value << 32
        self.count += 1

    def service(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Give what waits, as long as there are buffers. What the driver tells of lamps is taken.

        5.8.6: a buffer is for one event. One that is to be read, or too small, breaks the device.
        """
        if device.take_reset():
            self.select = 0
            self.subselect = 0
            self.buttons = 0
            self.count = 0
            self.sent = 0
        while self.sent < self.count and device.take(Queue.EVENTS, chain, ram):
            written = u32(0)
            if chain.readable > 0 or chain.writable < EVENT_SIZE:
                device.fail()
            else:
                place = u64(address_of(self.report) + u64(EVENT_SIZE * self.sent))
                written = chain.fill(0, place, EVENT_SIZE, ram)
                self.sent += 1
            device.give(Queue.EVENTS, chain.identifier, chain.slots, written, ram)
        while device.take(Queue.STATUS, chain, ram):
            device.give(Queue.STATUS, chain.identifier, chain.slots, 0, ram)
