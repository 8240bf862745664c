"""One request on its way to a controller: what of it has become commands, what comes next.

A block is the controller's, a sector is 512 bytes. Where a request begins or ends inside a
block, that block is read, changed and written; meanwhile no other request may touch it, so
requests that share a block with one another, and are not both reads, follow each other.
"""

from vestige.abi import SECTOR
from vestige.lang.intrinsics import check, load64
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.block import BlockRequest, Operation
from vestige.monitor.drivers.nvme.bus import Bus
from vestige.monitor.drivers.nvme.command_slots import CommandSlot, Kind
from vestige.monitor.drivers.nvme.controller import Controller
from vestige.monitor.drivers.nvme.prp import gather, move, pages_after_first, skip
from vestige.monitor.drivers.nvme.spec import MAX_RANGES, PAGE, Opcode, Range

RANGE_SIZE = 16


class Transfer(Struct):
    """How far one request is."""

    active: u8
    begun: u8  # its first command has been cut; until then others may come before it
    error: u8  # the first errno
    controller: u8
    queue: u8
    operation: u8
    request: u64  # address of it
    first: u64  # block
    end: u64  # the block after the last
    total: u64  # bytes; of what has no data: 1 if there is something to be done
    offset: u64  # of it, how much has become commands
    segment: u32  # and where in the segments that is
    position: u32
    pending: u32  # commands not answered

    def start(self, request: BlockRequest, address: u64, shift: u8) -> None:
        """Take over a request; `address` is where it is, blocks are of 1 << shift bytes."""
        check(not self.active)
        self.active = 1
        self.begun = 0
        self.error = 0
        self.operation = request.operation
        self.request = address
        self.segment = 0
        self.position = 0
        self.offset = 0
        self.pending = 0
        self.first = 0
        self.end = 0
        match request.operation:
            case Operation.FLUSH:
                self.total = 1
            case Operation.DISCARD:
                self.start_discard(request, shift)
            case _:
                self.total = u64(request.sectors * SECTOR)
                begin = u64(request.lba * SECTOR)
                self.first = begin >> shift
                self.end = u64(u64(begin + self.total + (1 << shift) - 1) >> shift)

    def start_discard(self, request: BlockRequest, shift: u8) -> None:
        """All ranges in one command; nothing is to be done where none has a whole block."""
        self.total = 0
        for i in range(request.segment_count):
            first, blocks = whole_blocks(request, i, shift)
            if blocks > 0:
                if self.total == 0:
                    self.first = first
                self.total = 1
                self.first = min(self.first, first)
                self.end = max(self.end, u64(first + blocks))

    def cut_all(self) -> bool:
        """Whether all of it has become commands, or no more of it will."""
        return self.error != 0 or self.offset >= self.total

    def done(self) -> bool:
        """Whether it is answered."""
        return self.active != 0 and self.pending == 0 and self.cut_all()

    # ---- from the request to a command ----------------------------------------------------

    def cut(self, controller: Controller, number: u8) -> None:
        """Make this place the command for what comes next."""
        request = BlockRequest.at(self.request)
        place = controller.places.place[number]
        place.queue = self.queue
        place.attempts = 0
        place.aborting = 0
        place.segment = self.segment
        place.position = self.position
        place.length = 0
        place.prp1 = 0
        place.prp2 = 0
        place.kind = Kind.NONE
        match request.operation:
            case Operation.FLUSH:
                place.opcode = Opcode.FLUSH
                self.offset = 1
            case Operation.DISCARD:
                self.cut_discard(request, controller, number)
            case _:
                reading = request.operation == Operation.READ
                place.opcode = Opcode.READ if reading else Opcode.WRITE
                self.cut_data(request, controller, number)
                segment, position = skip(request, self.segment, self.position, place.length)
                self.segment = segment
                self.position = position
                self.offset += place.length
        self.pending += 1

    def cut_data(self, request: BlockRequest, controller: Controller, number: u8) -> None:
        """The longest command without a copy; or a page with one; or part of a block."""
        place = controller.places.place[number]
        shift = controller.block_shift & 15
        at = u64(request.lba * SECTOR + self.offset)
        left = u64(self.total - self.offset)
        block = 1 << shift
        into = at & u32(block - 1)
        place.first = at >> shift
        if into or left < block:
            place.kind = Kind.PARTIAL
            place.into = into
            place.length = u32(min(u32(block - into), left))
            place.blocks = 1
            place.prp1 = controller.places.bounce_page(number)
            if request.operation == Operation.WRITE:
                place.opcode = Opcode.READ
            return
        whole = u64(left >> shift << shift)
        limit = u32(min(whole, controller.max_transfer))
        entries = controller.places.list_page(number)
        found = gather(request, self.segment, self.position, limit, entries, controller.bus)
        direct = found >> shift << shift
        page = u32(min(whole, PAGE))
        if direct < page:
            self.bounce(request, controller, number, page)
        else:
            self.point(request, place, entries, u32(direct), controller.bus)
        place.blocks = place.length >> shift

    def point(
        self, request: BlockRequest, place: CommandSlot, entries: u64, length: u32, bus: Bus
    ) -> None:
        """PRPs into the request's own memory; `gather` has listed them at `entries`."""
        place.kind = Kind.DIRECT
        place.length = length
        place.prp1 = u64(request.segments[self.segment].address + self.position)
        more = pages_after_first(place.prp1, length)
        if more == 1:
            place.prp2 = load64(entries)
        elif more > 1:
            place.prp2 = bus.address(entries)

    def bounce(
        self, request: BlockRequest, controller: Controller, number: u8, length: u32
    ) -> None:
        """At most a page, in pieces that no PRP can name: copied."""
        place = controller.places.place[number]
        place.kind = Kind.BOUNCED
        place.length = length
        place.prp1 = controller.places.bounce_page(number)
        if request.operation == Operation.WRITE:
            move(request, self.segment, self.position, length, place.prp1, into_buffer=True)

    def cut_discard(self, request: BlockRequest, controller: Controller, number: u8) -> None:
        """DATASET MANAGEMENT: the ranges go into the bounce page."""
        place = controller.places.place[number]
        place.opcode = Opcode.DATASET_MANAGEMENT
        place.prp1 = controller.places.bounce_page(number)
        place.blocks = 0
        for i in range(request.segment_count):
            first, blocks = whole_blocks(request, i, controller.block_shift)
            if blocks > 0 and place.blocks < MAX_RANGES:
                entry = Range.at(u64(place.prp1 + RANGE_SIZE * place.blocks))
                entry.attributes = 0
                entry.blocks = blocks
                entry.first = first
                place.blocks += 1
        self.offset = 1


def whole_blocks(request: BlockRequest, number: u32, shift: u8) -> tuple[u64, u32]:
    """First block and count of the whole blocks in range `number` of a DISCARD."""
    part = request.segments[number]
    per_block = 1 << (shift - 9 & 7)
    first = u64(part.address + per_block - 1) // per_block
    end = u64(part.address + part.length) // per_block
    return first, u32(end - first) if end > first else 0


def must_follow(later: Transfer, begun: Transfer) -> bool:
    """Whether `begun`, if it is under way, has to be done before `later` begins."""
    under_way = begun.active != 0 and begun.begun != 0 and not begun.done()
    if not under_way or begun.controller != later.controller:
        return False
    if later.operation == Operation.READ and begun.operation == Operation.READ:
        return False
    return later.first < begun.end and begun.first < later.end
