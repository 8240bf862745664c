"""The block driver over the host's io_uring: requests of the models become its operations.

A request is cut where guest RAM is: the ring knows RAM as buffers of one chunk each. Every
operation in flight has an `OperationSlot` in `places`, whose number is its user_data; there are
no more places than the completion ring has, so that can't overflow.

Nothing here calls the host. What the caller must do before the entries are published is in
`pins`: those chunks have to be registered with Call.PIN.
"""

from enum import IntEnum

from vestige.abi import (
    DISCARD_ANSWER_SIZE,
    DISCARD_ORDER_SIZE,
    FIRST_CHUNK_BUFFER,
    MAX_NET_PAIRS,
    SECTOR,
    STATE_BUFFER,
    STATE_SIZE,
    DiscardAnswer,
    DiscardOrder,
    Disk,
    Ring,
    Statistics,
)
from vestige.lang.intrinsics import address_of, check, fill
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, i32, u8, u16, u32, u64
from vestige.monitor.block import REQUESTS, BlockRequest, Operation
from vestige.monitor.drivers.ring.chain import CHAIN, Chain
from vestige.monitor.drivers.ring.overlay import end_of_layer, is_written, mark_done
from vestige.monitor.drivers.ring.queue import Queue
from vestige.monitor.drivers.ring.spec import (
    DATA_ONLY,
    FIXED_FILE,
    HARD_LINK,
    MAX_BUFFERS,
    OWN_POSITION,
    Errno,
    Opcode,
)

PLACES = 256  # operations in flight
RETRIES = 64  # of one operation; see `RingDriver.answer`
STREAM_PLACES = 2  # kept free for the console
FIRST_STREAM = 192  # operations' owners below are requests of disks, by number
STREAMS = 64
CHUNK_WORDS = MAX_BUFFERS // 64
NET_TRANSMITS = 6  # of a pair of the network's queues


class Owner(IntEnum):
    """Whose an operation is, if it is no disk's: a file's that is read or written as a stream."""

    CONSOLE_OUTPUT = FIRST_STREAM
    CONSOLE_INPUT = FIRST_STREAM + 1
    ENTROPY = FIRST_STREAM + 2
    DISCARD_ORDER = FIRST_STREAM + 3
    DISCARD_ANSWER = FIRST_STREAM + 4
    EVENTS = FIRST_STREAM + 5
    PORT_OUTPUT = FIRST_STREAM + 16  # of the virtio console's port p: + 2 * p
    PORT_INPUT = FIRST_STREAM + 17
    NET_READ = FIRST_STREAM + 8  # of pair p: + p, a chain's
    NET_WRITE = FIRST_STREAM + 32  # of pair p: + NET_TRANSMITS * p, and behind it the others


class OperationSlot(Struct):
    """One operation, from when it is first submitted until it is answered in full."""

    owner: u8
    opcode: u8
    retries: u8
    flags: u8  # of its entry
    buffer: u16
    file: u32
    length: u32
    offset: u64
    address: u64  # in the host process


class Transfer(Struct):
    """How far one request is."""

    active: u8
    error: u8  # the first errno
    segment: u32  # next to be submitted
    position: u32  # bytes of that segment already submitted
    offset: u64  # on the disk, of the next operation
    layer_end: u64  # byte of the disk up to where the file is known that has it
    in_overlay: u8  # 1: that file is the overlay
    pending: u32  # operations not answered


class Stream(Struct):
    """The one operation each owner of a stream may have."""

    busy: u8
    writes: u8  # 1: that is a write
    answered: u8
    result: i32


class RingDriver(Struct):
    """The driver's state; `state` is the address of the memory that is buffer STATE_BUFFER."""

    queue: Queue
    state: u64
    places: OperationSlot[PLACES]
    free: u16[PLACES]  # stack of free places, each stored as what it differs by from its position
    free_count: u32
    again: u16[PLACES]  # stack of places to be submitted (once more)
    again_count: u32
    transfers: Transfer[REQUESTS]
    streams: Stream[STREAMS]  # owner FIRST_STREAM + n has the nth
    chains: Chain[MAX_NET_PAIRS]  # owner NET_READ + n has the nth, and no stream
    pinned: u64[CHUNK_WORDS]  # bitmap of chunks registered
    pins: u16[PLACES]  # chunks to be registered before the entries are published
    pin_count: u32
    order: DiscardOrder  # the one that the host has
    verdict: DiscardAnswer
    ordered_by: u16  # the request's number + 1; 0: the host has none
    ordered: u8  # 1: the order is written, and its answer awaited
    is_deaf: u8  # 1: the host can't be asked any more
    under_way: u32  # requests
    handed: u8  # 1: the kernel hands one of the entries since the last KICK to another thread
    moved: u64  # bytes of the network since the last KICK: read, and to be written

    def reset(self, ring: Ring, state: u64) -> None:
        """Begin with an empty ring, all places free: `free`, being zero, has each at its own."""
        self.queue.reset(ring)
        self.state = state
        self.free_count = min(PLACES, ring.completion_entries)

    # ---- freezing -------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Whether nothing is under way but reads of streams, which lose nothing by being lost."""
        for tag in range(REQUESTS):
            if self.transfers[tag].active:
                return False
        for number in range(STREAMS):
            stream = self.streams[number]
            if stream.busy and stream.writes:
                return False
        return True

    def renew(self, ring: Ring) -> None:
        """Go on with another ring, which is empty, and in which nothing is registered.

        Whose read was under way in the one before is answered EINTR, as a signal would have it.
        """
        self.queue.reset(ring)
        self.queue.kickers = 0
        fill(address_of(self.free), 0, 2 * PLACES)
        self.free_count = min(PLACES, ring.completion_entries)
        self.again_count = 0
        fill(address_of(self.pinned), 0, 8 * CHUNK_WORDS)
        self.pin_count = 0
        self.handed = 0
        self.is_deaf = 0
        for number in range(STREAMS):
            stream = self.streams[number]
            if stream.busy:
                stream.busy = 0
                stream.answered = 1
                stream.result = -Errno.EINTR
        for number in range(MAX_NET_PAIRS):
            chain = self.chains[number]
            while chain.pending > 0:
                chain.answer(-Errno.EINTR)

    # ---- requests of the models -----------------------------------------------------------

    def start(self, tag: u8, request: BlockRequest) -> None:
        """Take over a request, `tag` being its number; `advance` submits it."""
        transfer = self.transfers[tag]
        check(not transfer.active)
        transfer.active = 1
        self.under_way += 1
        transfer.error = 0
        transfer.segment = 0
        transfer.position = 0
        transfer.offset = u64(request.lba * SECTOR)
        transfer.layer_end = transfer.offset

    def advance(self, tag: u8, request: BlockRequest, disk: Disk, ram: Memory, ring: Ring) -> None:
        """Submit as much of the request as there are places for."""
        transfer = self.transfers[tag]
        written = disk.overlay_file if disk.has_overlay else disk.file
        if request.operation == Operation.FLUSH:
            if transfer.segment == 0 and self.room(ring, STREAM_PLACES):
                transfer.segment = 1
                transfer.pending = 1
                self.submit(self.take(tag, Opcode.FSYNC, written), ring)
            return
        if request.operation == Operation.DISCARD:
            self.punch(tag, request, written, ring)
            return
        opcode = Opcode.READ_FIXED if request.operation == Operation.READ else Opcode.WRITE_FIXED
        while (
            transfer.segment < request.segment_count
            and transfer.error == 0
            and self.room(ring, STREAM_PLACES)
        ):
            number = self.take(tag, opcode, disk.file)
            self.fill_in(number, transfer, request, disk, ram, ring)
            self.submit(number, ring)

    def punch(self, tag: u8, request: BlockRequest, file: u32, ring: Ring) -> None:
        """Have the host make holes where the ranges are, one after the other.

        The ring has no operation for it, as the kernel's goes far beyond: it would make files
        longer, whatever limit there is. The host has one order at a time, of whichever request.
        """
        transfer = self.transfers[tag]
        if self.ordered_by == u16(tag + 1):
            self.take_verdict(transfer, ring)
        if (
            self.ordered_by == 0
            and transfer.segment < request.segment_count
            and transfer.error == 0
            and self.room(ring, STREAM_PLACES)
        ):
            sectors = request.segments[transfer.segment]
            self.order.file = file
            self.order.sector = sectors.address
            self.order.sectors = sectors.length
            self.ordered_by = u16(tag + 1)
            transfer.segment += 1
            transfer.pending += 1
            self.write_order(ring)

    def write_order(self, ring: Ring) -> None:
        """Tell the host."""
        place = address_of(self.order)
        self.write_stream(Owner.DISCARD_ORDER, ring.orders, place, DISCARD_ORDER_SIZE, ring)

    def read_verdict(self, ring: Ring) -> None:
        """Ask for its answer."""
        place = address_of(self.verdict)
        self.read_stream(Owner.DISCARD_ANSWER, ring.orders, place, DISCARD_ANSWER_SIZE, ring)

    def take_verdict(self, transfer: Transfer, ring: Ring) -> None:
        """Look how far the order is: written, then answered."""
        if self.is_deaf:
            self.end_order(transfer, Errno.EIO)
        elif self.busy(Owner.DISCARD_ORDER) or self.busy(Owner.DISCARD_ANSWER):
            return
        elif not self.ordered:
            written = self.take_answer(Owner.DISCARD_ORDER)
            result = self.result_of(Owner.DISCARD_ORDER)
            if not written or result in (-Errno.EINTR, -Errno.EAGAIN):
                self.write_order(ring)
            elif result == DISCARD_ORDER_SIZE:
                self.ordered = 1
                self.read_verdict(ring)
            else:
                self.end_order(transfer, Errno.EIO)
        else:
            answered = self.take_answer(Owner.DISCARD_ANSWER)
            result = self.result_of(Owner.DISCARD_ANSWER)
            if not answered or result in (-Errno.EINTR, -Errno.EAGAIN):
                self.read_verdict(ring)
            elif result == DISCARD_ANSWER_SIZE:
                self.end_order(transfer, u8(min(self.verdict.error, 255)))
            else:  # a later answer would be taken for that of a later order
                self.is_deaf = 1
                self.end_order(transfer, Errno.EIO)

    def end_order(self, transfer: Transfer, error: u8) -> None:
        """The host has none any more."""
        self.ordered_by = 0
        self.ordered = 0
        transfer.pending -= 1
        if transfer.error == 0:
            transfer.error = error

    def fill_in(
        self,
        number: u32,
        transfer: Transfer,
        request: BlockRequest,
        disk: Disk,
        ram: Memory,
        ring: Ring,
    ) -> None:
        """Make this place the next part of the transfer: the rest of a segment, or of a chunk, or
        what of it is in one file.
        """
        place = self.places[number]
        segment = request.segments[transfer.segment]
        address = u64(segment.address + transfer.position)
        length = u32(segment.length - transfer.position)
        if self.state <= address < u64(self.state + STATE_SIZE):
            place.buffer = STATE_BUFFER
            place.address = u64(ring.host_state + (address - self.state))
        else:
            offset = ram_offset(ram, address)
            chunk = offset // ring.chunk
            length = min(length, u32((chunk + 1) * ring.chunk - offset))
            place.buffer = u16(FIRST_CHUNK_BUFFER + chunk)
            place.address = u64(ring.host_ram + offset)
        place.offset = transfer.offset
        if disk.has_overlay:
            if transfer.offset == transfer.layer_end:
                find_layer(transfer, request, disk)
            length = u32(min(length, u64(transfer.layer_end - transfer.offset)))
            if transfer.in_overlay:
                place.file = disk.overlay_file
                place.offset += disk.overlay_start * SECTOR
        place.length = length
        transfer.offset += length
        transfer.position += length
        transfer.pending += 1
        if transfer.position == segment.length:
            transfer.segment += 1
            transfer.position = 0

    def finished(self, tag: u8, request: BlockRequest, disk: Disk) -> bool:
        """Whether the request is answered; if so its error is in `error_of`."""
        transfer = self.transfers[tag]
        if not transfer.active or transfer.pending:
            return False
        steps = 1 if request.operation == Operation.FLUSH else request.segment_count
        if transfer.segment < steps and transfer.error == 0:
            return False
        transfer.active = 0
        self.under_way -= 1
        if disk.has_overlay and transfer.error == 0:
            mark_done(disk, request)
        return True

    def error_of(self, tag: u8) -> u8:
        """The errno of the last request of this number, 0 if all of it was done."""
        return self.transfers[tag].error

    # ---- streams --------------------------------------------------------------------------

    def write_stream(self, owner: u8, file: u32, address: u64, length: u32, ring: Ring) -> bool:
        """Write `length` bytes of STATE at `address`; False: not now."""
        return self.stream(owner, Opcode.WRITE_FIXED, file, address, length, ring)

    def read_stream(self, owner: u8, file: u32, address: u64, length: u32, ring: Ring) -> bool:
        """Read up to `length` bytes into STATE at `address`; False: not now."""
        return self.stream(owner, Opcode.READ_FIXED, file, address, length, ring)

    def stream(
        self, owner: u8, opcode: u8, file: u32, address: u64, length: u32, ring: Ring
    ) -> bool:
        """Begin this owner's one operation, if it has none under way."""
        stream = self.streams[owner - FIRST_STREAM & 63]
        if stream.busy or not self.room(ring, 0):
            return False
        stream.busy = 1
        stream.writes = opcode == Opcode.WRITE_FIXED
        stream.answered = 0
        if owner >= Owner.NET_WRITE:
            self.moved += length
        self.submit(self.take_stream(owner, opcode, file, address, length, ring), ring)
        return True

    def read_on(
        self, number: u16, file: u32, address: u64, length: u32, count: u32, ring: Ring
    ) -> None:
        """Begin `count` reads of up to `length` bytes each, one behind the other, as chain `number`
        may have them: into STATE at `address` and on. As many as there is room for now.
        """
        chain = self.chains[number]
        count = min(count, self.free_count, self.queue.space(ring))
        for i in range(CHAIN):
            if i < count:
                place = self.take_stream(
                    u8(Owner.NET_READ + number),
                    Opcode.READ_FIXED,
                    file,
                    u64(address + i * length),
                    length,
                    ring,
                )
                self.places[place].flags = FIXED_FILE | HARD_LINK if i + 1 < count else FIXED_FILE
                self.submit(place, ring)
                chain.pending += 1

    def take_stream(
        self, owner: u8, opcode: u8, file: u32, address: u64, length: u32, ring: Ring
    ) -> u32:
        """A place for this operation on a stream; `room` must be there."""
        number = self.take(owner, opcode, file)
        place = self.places[number]
        place.buffer = STATE_BUFFER
        place.address = u64(ring.host_state + u64(address - self.state))
        place.offset = OWN_POSITION
        place.length = length
        return number

    def busy(self, owner: u8) -> bool:
        """Whether this owner's operation is under way."""
        return self.streams[owner - FIRST_STREAM & 63].busy != 0

    def take_answer(self, owner: u8) -> bool:
        """Whether this owner's operation has been answered; the result is in `result_of`."""
        stream = self.streams[owner - FIRST_STREAM & 63]
        answered = stream.answered != 0
        stream.answered = 0
        return answered

    def result_of(self, owner: u8) -> i32:
        """Bytes, or a negative errno, of this owner's last operation."""
        return self.streams[owner - FIRST_STREAM & 63].result

    # ---- the ring -------------------------------------------------------------------------

    def room(self, ring: Ring, reserve: u32) -> bool:
        """Whether one more operation may be submitted and `reserve` places stay free."""
        return self.free_count > reserve and self.queue.space(ring) > 0

    def take(self, owner: u8, opcode: u8, file: u32) -> u32:
        """A free place; `room` must be there."""
        self.free_count -= 1
        number = self.free[self.free_count] ^ self.free_count
        place = self.places[number]
        place.owner = owner
        place.opcode = opcode
        place.flags = FIXED_FILE
        place.file = file
        place.retries = 0
        place.buffer = STATE_BUFFER
        place.address = 0
        place.length = 0
        place.offset = 0
        return number

    def submit(self, number: u32, ring: Ring) -> None:
        """Fill in an entry of the ring for this place; there must be space."""
        place = self.places[number]
        if place.owner < FIRST_STREAM and place.opcode != Opcode.READ_FIXED:
            self.handed = 1
        if place.buffer != STATE_BUFFER:
            self.want(u32(place.buffer - FIRST_CHUNK_BUFFER))
        entry = self.queue.next_entry(ring)
        entry.opcode = place.opcode
        entry.flags = place.flags
        entry.priority = 0
        entry.file = i32(place.file)
        entry.offset = place.offset
        entry.address = place.address
        entry.length = place.length
        entry.operation_flags = DATA_ONLY if place.opcode == Opcode.FSYNC else 0
        entry.user_data = number
        entry.buffer = place.buffer
        entry.personality = 0
        entry.splice_file = 0
        entry.padding[0] = 0
        entry.padding[1] = 0

    def take_handed(self) -> u8:
        """Whether the kernel hands something of what the next KICK is for to another thread.

        io_uring does so with what may wait in a file system: writes through the page cache, flushes
        and holes. What is read from the page cache is done within the KICK.
        """
        handed = self.handed
        self.handed = 0
        return handed

    def take_moved(self) -> u64:
        """How much of the network has moved until the next KICK."""
        moved = self.moved
        self.moved = 0
        return moved

    def want(self, chunk: u32) -> None:
        """See to it that a chunk gets registered; at most one a place, so `pins` suffices."""
        bit = u64(1 << chunk % 64)
        if not self.pinned[chunk // 64] & bit:
            self.pinned[chunk // 64] |= bit
            self.pins[self.pin_count] = chunk
            self.pin_count += 1

    def forget(self, chunk: u32) -> None:
        """The chunk isn't registered after all: try again when it is used next."""
        self.pinned[chunk // 64] &= ~u64(1 << chunk % 64)

    def resubmit(self, ring: Ring) -> None:
        """Submit again what was answered in part, or not really."""
        while self.again_count > 0 and self.queue.space(ring) > 0:
            self.again_count -= 1
            self.submit(self.again[self.again_count], ring)

    def reap(self, ring: Ring, statistics: Statistics) -> None:
        """Look at every completion there is."""
        while self.queue.completed(ring):
            completion = self.queue.completion(ring)
            number = u32(completion.user_data)
            result = completion.result
            self.queue.consume(ring)
            place = self.places[number]
            if place.owner == Owner.DISCARD_ANSWER:
                count_order(result, self.verdict.error, statistics)
            elif place.owner != Owner.DISCARD_ORDER:
                count_operation(place, result, statistics)
            if Owner.NET_READ <= place.owner < Owner.NET_READ + MAX_NET_PAIRS:
                self.chains[place.owner - Owner.NET_READ & 3].answer(result)
                if result > 0:
                    self.moved += u32(result)
                self.release(number)
            elif place.owner >= FIRST_STREAM:
                stream = self.streams[place.owner - FIRST_STREAM & 63]
                stream.result = result
                stream.answered = 1
                stream.busy = 0
                self.release(number)
            else:
                self.answer(number, result)

    def answer(self, number: u32, result: i32) -> None:
        """A block operation's answer: done, done in part, to be repeated, or failed.

        EFAULT comes where the host had to unregister a chunk to register another: register it
        again. Each round lets those through that were registered last, so RETRIES rounds see
        even a request of 128 segments through where only a few chunks may be pinned.
        """
        place = self.places[number]
        again = result in (-Errno.EINTR, -Errno.EAGAIN, -Errno.EFAULT) and place.retries < RETRIES
        if again:
            place.retries += 1
            if result == -Errno.EFAULT and place.buffer != STATE_BUFFER:
                self.forget(u32(place.buffer - FIRST_CHUNK_BUFFER))
        elif 0 < result < place.length:
            again = True
            place.length -= result
            place.address += result
            place.offset += result
        if again:
            self.again[self.again_count] = number
            self.again_count += 1
            return
        transfer = self.transfers[place.owner]
        if transfer.error == 0:
            if result < 0:
                transfer.error = u8(min(-result, 255))
            elif result == 0 and place.opcode != Opcode.FSYNC:
                transfer.error = Errno.EIO  # the file has become shorter than its disk
        transfer.pending -= 1
        self.release(number)

    def release(self, number: u32) -> None:
        """The place is free."""
        self.free[self.free_count] = number ^ self.free_count
        self.free_count += 1


def find_layer(transfer: Transfer, request: BlockRequest, disk: Disk) -> None:
    """Which file has the request's next sector, and the sectors behind it up to `layer_end`.

    One look at the map is for all segments in between. Another request may be writing some of them
    meanwhile: the guest has not been told that it did, so it may still see what was there before.
    """
    first = transfer.offset // SECTOR
    end = u64(request.lba + request.sectors)
    written = True
    if request.operation == Operation.READ:
        written = is_written(disk, first)
        end = end_of_layer(disk, first, end, written)
    transfer.in_overlay = written
    transfer.layer_end = u64(end * SECTOR)


def ram_offset(ram: Memory, address: u64) -> u64:
    """Where guest RAM at `address` is in the host's one mapping of it: high follows low."""
    if ram.low <= address < u64(ram.low + ram.low_size):
        return u64(address - ram.low)
    check(ram.high <= address < u64(ram.high + ram.high_size))
    return u64(ram.low_size + u64(address - ram.high))


def count_operation(place: OperationSlot, result: i32, statistics: Statistics) -> None:
    """Count what was done and what failed."""
    if result < 0:
        statistics.ring_errors += 1
    elif place.opcode == Opcode.READ_FIXED:
        statistics.reads += 1
        statistics.read_bytes += result
    elif place.opcode == Opcode.WRITE_FIXED:
        statistics.writes += 1
        statistics.write_bytes += result
    else:
        statistics.flushes += 1


def count_order(result: i32, error: u64, statistics: Statistics) -> None:
    """Count a hole that was made, or failed."""
    if result == DISCARD_ANSWER_SIZE and error == 0:
        statistics.discards += 1
    else:
        statistics.ring_errors += 1
