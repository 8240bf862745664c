"""The block device: a driver's requests become requests of the block driver below. Virtio 1.2, 5.2.

Up to DISK_REQUESTS are under way at once, from all queues together, taken in turns. Data moves
between the drive and the guest's own memory: what this model touches of it is the request's
header and its status byte.
"""

from vestige.abi import Disk
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import DISK_REQUESTS, MAX_SEGMENTS, SECTOR_SHIFT, BlockRequest, Operation
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_blk.spec import (
    HEADER_SIZE,
    IDENTITY_SIZE,
    RANGE_SIZE,
    UNMAP,
    Answer,
    Config,
    Feature,
    Request,
)

SEGMENTS = MAX_SEGMENTS - 2  # told to the driver: with header and status they are 128
SEGMENT_SIZE = 1 << 22  # bytes of one, likewise
RANGES = 64  # of one DISCARD
DISCARD_SECTORS = 1 << 22  # of one range: 2 GiB
ZEROES = 0x1_0000  # bytes of the buffer that WRITE_ZEROES writes from
ZEROES_SECTORS = MAX_SEGMENTS * ZEROES >> SECTOR_SHIFT
SPACE = 0x20
NOT_SUPPORTED = 95  # EOPNOTSUPP: what is below the image has no holes after all


class Flight(Struct):
    """Where the buffer of a request under way came from, and where its answer goes."""

    queue: u16
    identifier: u16
    slots: u16
    written: u32  # bytes of data that it sets, and the status byte
    status: u64  # guest-physical address of that


class VirtioBlock(Struct):
    """One drive. `requests[i]` is free where bit i of `busy` is 0."""

    number: u8  # of the drive: BlockRequest.drive
    read_only: u8
    can_discard: u8
    can_unmap: u8  # what is given back reads as zeroes
    queue_count: u16
    turn: u16  # the queue to look at first
    sectors: u64
    serial: u8[IDENTITY_SIZE]  # NULs behind it
    busy: u32
    flights: Flight[DISK_REQUESTS]
    requests: BlockRequest[DISK_REQUESTS]
    zeroes: u64  # address of ZEROES bytes that are 0

    # ---- set-up ---------------------------------------------------------------------------

    def attach(self, number: u8, disk: Disk, queues: u16, zeroes: u64) -> None:
        """Be drive `number`; at `zeroes` are ZEROES bytes that are 0 and stay so."""
        self.zeroes = zeroes
        self.number = number
        self.read_only = disk.read_only
        self.can_discard = disk.can_discard
        self.can_unmap = disk.discards_to_zeroes
        self.sectors = disk.sectors
        self.queue_count = queues
        length = u32(IDENTITY_SIZE)
        while length > 0 and disk.serial[length - 1] == SPACE:
            length = u32(length - 1)
        for i in range(IDENTITY_SIZE):
            self.serial[i] = disk.serial[i] if i < length else 0

    def features(self) -> u64:
        """What of the block device's own is offered."""
        features = (
            1 << Feature.SIZE_MAX
            | 1 << Feature.SEG_MAX
            | 1 << Feature.BLK_SIZE
            | 1 << Feature.FLUSH
            | 1 << Feature.MQ
        )
        if self.read_only:
            return u64(features | 1 << Feature.RO)
        if self.can_discard:
            features |= 1 << Feature.DISCARD
        return u64(features | 1 << Feature.WRITE_ZEROES)

    # ---- the device configuration structure -------------------------------------------------

    def read_config(self, offset: u32) -> u32:
        """The 32 bits at `offset`, a multiple of 4. 5.2.4."""
        match offset:
            case Config.CAPACITY:
                return self.sectors & 0xFFFF_FFFF
            case 4:
                return self.sectors >> 32
            case Config.SIZE_MAX:
                return SEGMENT_SIZE
            case Config.SEG_MAX:
                return SEGMENTS
            case Config.BLK_SIZE:
                return 1 << SECTOR_SHIFT
            case 32:  # NUM_QUEUES is its upper half
                return self.queue_count << 16
            case Config.MAX_DISCARD_SECTORS:
                return DISCARD_SECTORS
            case Config.MAX_DISCARD_SEG:
                return RANGES
            case Config.DISCARD_SECTOR_ALIGNMENT:
                return 1
            case Config.MAX_WRITE_ZEROES_SECTORS:
                return ZEROES_SECTORS
            case Config.MAX_WRITE_ZEROES_SEG:
                return 1
            case Config.WRITE_ZEROES_MAY_UNMAP:
                return self.can_unmap
            case _:
                return 0

    # ---- requests ---------------------------------------------------------------------------

    def service(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Take what the driver made available, from each queue in turn, while there is room."""
        idle = u32(0)
        while idle < self.queue_count and self.busy != 0xFFFF_FFFF:
            queue = self.turn
            self.turn = (queue + 1) % max(self.queue_count, 1)
            if device.take(queue, chain, ram):
                self.begin(device, queue, chain, ram)
                idle = u32(0)
            else:
                idle = u32(idle + 1)

    def begin(self, device: VirtioDevice, queue: u16, chain: Chain, ram: Memory) -> None:
        """Begin a request, or answer it at once. One without header or status is no request."""
        if chain.readable < HEADER_SIZE or chain.writable == 0:
            device.fail()
            device.give(queue, chain.identifier, chain.slots, 0, ram)
            return
        number = lowest_clear(self.busy)
        flight = self.flights[number]
        flight.queue = queue
        flight.identifier = chain.identifier
        flight.slots = chain.slots
        flight.written = 1
        flight.status = chain.place(u64(chain.writable - 1))
        self.busy |= u32(1 << number)
        answer = self.ask(self.requests[number], flight, chain, ram)
        if answer != UNDER_WAY:
            self.finish(device, number, answer, ram)

    def ask(self, request: BlockRequest, flight: Flight, chain: Chain, ram: Memory) -> u8:
        """Make it a request of the block driver: UNDER_WAY, or the answer there is already."""
        sector = chain.read64(8, ram)
        match chain.read32(0, ram):
            case Request.IN:
                length = u64(chain.writable - 1)
                flight.written = u32(length + 1)
                return self.transfer(request, Operation.READ, sector, length, chain, ram)
            case Request.OUT:
                length = u64(chain.readable - HEADER_SIZE)
                if self.read_only:
                    return Answer.IOERR
                return self.transfer(request, Operation.WRITE, sector, length, chain, ram)
            case Request.FLUSH:
                request.prepare(Operation.FLUSH, self.number, 0, 0)
                request.submit()
                return UNDER_WAY
            case Request.GET_ID:
                length = u64(chain.writable - 1)
                size = u32(min(length, IDENTITY_SIZE))
                flight.written = u32(chain.fill(0, address_of(self.serial), size, ram) + 1)
                return Answer.OK
            case Request.DISCARD:
                return self.discard(request, chain, ram)
            case Request.WRITE_ZEROES:
                return self.write_zeroes(request, chain, ram)
            case _:
                return Answer.UNSUPP

    def transfer(
        self,
        request: BlockRequest,
        operation: Operation,
        sector: u64,
        length: u64,
        chain: Chain,
        ram: Memory,
    ) -> u8:
        """READ into the writable part, WRITE from the readable part behind the header."""
        if length & ((1 << SECTOR_SHIFT) - 1) or not self.inside(sector, length >> SECTOR_SHIFT):
            return Answer.IOERR
        if length == 0:
            return Answer.OK
        request.prepare(operation, self.number, sector, u32(length >> SECTOR_SHIFT))
        reading = operation == Operation.READ
        number, into = chain.find(0 if reading else HEADER_SIZE, reading)
        while length > 0 and number < chain.count:
            run = chain.runs[number]
            size = u32(min(u32(run.length - into), length))
            if request.full():
                return Answer.IOERR
            request.add(ram.pointer(u64(run.address + into), size), size)
            length = u64(length - size)
            number = u32(number + 1)
            into = u32(0)
        request.submit()
        return UNDER_WAY

    def discard(self, request: BlockRequest, chain: Chain, ram: Memory) -> u8:
        """Forget ranges of sectors.

        5.2.6.2: UNSUPP if any range has a flag, whatever is wrong with the ranges besides.
        """
        size = u64(chain.readable - HEADER_SIZE)
        count = size // RANGE_SIZE
        if self.read_only or not self.can_discard:
            return Answer.UNSUPP
        answer = whole_ranges(size, RANGES)
        if answer != Answer.OK:
            return answer
        request.prepare(Operation.DISCARD, self.number, 0, 0)
        for i in range(count):
            place = u64(HEADER_SIZE + RANGE_SIZE * i)
            sector = chain.read64(place, ram)
            sectors = chain.read32(u64(place + 8), ram)
            if chain.read32(u64(place + 12), ram) != 0:
                return Answer.UNSUPP
            if sectors > DISCARD_SECTORS or not self.inside(sector, sectors):
                answer = Answer.IOERR
            elif sectors > 0:
                request.add(sector, sectors)
        if answer != Answer.OK or request.segment_count == 0:
            return answer
        request.submit()
        return UNDER_WAY

    def write_zeroes(self, request: BlockRequest, chain: Chain, ram: Memory) -> u8:
        """Write a range full of zeroes, or give it back where that is allowed and does the same."""
        if self.read_only:
            return Answer.IOERR
        answer = whole_ranges(u64(chain.readable - HEADER_SIZE), 1)
        if answer != Answer.OK:
            return answer
        sector = chain.read64(HEADER_SIZE, ram)
        sectors = chain.read32(HEADER_SIZE + 8, ram)
        flags = chain.read32(HEADER_SIZE + 12, ram)
        if flags & ~UNMAP:
            return Answer.UNSUPP
        if sectors > ZEROES_SECTORS or not self.inside(sector, sectors):
            return Answer.IOERR
        if sectors == 0:
            return Answer.OK
        if flags & UNMAP and self.can_unmap:
            request.prepare(Operation.DISCARD, self.number, 0, 0)
            request.add(sector, sectors)
            request.submit()
            return UNDER_WAY
        request.prepare(Operation.WRITE, self.number, sector, sectors)
        left = u32(sectors << SECTOR_SHIFT)
        while left > 0:
            size = min(left, ZEROES)
            request.add(self.zeroes, size)
            left = u32(left - size)
        request.submit()
        return UNDER_WAY

    def inside(self, sector: u64, count: u64) -> bool:
        """Whether so many sectors from there on are on the drive."""
        return sector <= self.sectors and count <= u64(self.sectors - sector)

    # ---- answers ----------------------------------------------------------------------------

    def request_done(self, device: VirtioDevice, number: u8, ram: Memory) -> None:
        """`requests[number]` is answered. Without FLUSH every change is flushed: 5.2.6.2."""
        request = self.requests[number]
        error = request.error
        request.release()
        changed = request.operation in (Operation.WRITE, Operation.DISCARD)
        if changed and error == 0 and not device.has(Feature.FLUSH):
            request.prepare(Operation.FLUSH, self.number, 0, 0)
            request.submit()
            return
        answer = Answer.IOERR if error else Answer.OK
        if request.operation == Operation.DISCARD and error == NOT_SUPPORTED:
            answer = Answer.UNSUPP
        self.finish(device, number, answer, ram)

    def finish(self, device: VirtioDevice, number: u8, answer: u8, ram: Memory) -> None:
        """Set the status byte and give the buffer back."""
        flight = self.flights[number]
        self.busy &= ~u32(1 << (number & 31))
        if not device.lost(flight.queue):
            ram.store8(flight.status, answer)
        written = flight.written if answer == Answer.OK else 1
        device.give(flight.queue, flight.identifier, flight.slots, written, ram)


UNDER_WAY = 255  # no Answer


def whole_ranges(size: u64, most: u32) -> u8:
    """Whether `size` bytes are one range or several, up to `most`. 5.2.6.

    IOERR is for an error of the driver's, such as a part of a range; UNSUPP for what the device
    does not support, such as more ranges than it says it takes. QEMU decides likewise.
    """
    if size == 0 or size % RANGE_SIZE:
        return Answer.IOERR
    return Answer.OK if size // RANGE_SIZE <= most else Answer.UNSUPP


def lowest_clear(places: u32) -> u8:
    """The lowest bit that is 0, of a number that has one."""
    for number in range(DISK_REQUESTS):
        if not places >> number & 1:
            return number
    return DISK_REQUESTS - 1
