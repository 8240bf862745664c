"""The bus master of one channel: it walks the guest's table of regions, without a copy.

Intel 82371FB/82371SB data sheet (290550), section 2.7. Descriptors are fetched when their
region's turn comes, as hardware does, and each is looked at once: a guest that rewrites its
table meanwhile changes its own transfer and nothing else.
"""

from vestige.abi import SECTOR
from vestige.lang.intrinsics import copy
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.block import MAX_SEGMENTS, BlockRequest
from vestige.monitor.devices.piix3_ide.pci_spec import (
    DESCRIPTOR_SIZE,
    END_OF_TABLE,
    REGION_ADDRESS,
    REGION_LENGTH,
    REGION_LIMIT,
    TABLE_ADDRESS,
    BusMasterCommand,
    BusMasterRegister,
    BusMasterStatus,
)
from vestige.monitor.sized import byte_of


class BusMaster(Struct):
    """Registers, and how far into the table it is."""

    enabled: u8  # the PCI command register's bus master bit
    command: u8
    status: u8
    aborted: u8  # memory did not answer, since the guest cleared PCI's status
    table: u32
    next: u32  # address of the next descriptor
    address: u32  # of what is left of the current region
    left: u32  # bytes of it
    last: u8  # its descriptor ends the table

    # ---- registers ------------------------------------------------------------------------

    def read(self, offset: u8) -> u8:
        """One byte of the channel's 8."""
        match offset:
            case BusMasterRegister.COMMAND:
                return self.command
            case BusMasterRegister.STATUS:
                return self.status
            case 4 | 5 | 6 | 7:
                return byte_of(self.table, offset & 3)
            case _:
                return 0

    def write(self, offset: u8, value: u8) -> None:
        """One byte of the channel's 8."""
        match offset:
            case BusMasterRegister.COMMAND:
                self.write_command(value)
            case BusMasterRegister.STATUS:
                kept = self.status & ~int(value & BusMasterStatus.CLEARABLE)
                noted = value & BusMasterStatus.CAPABLE
                self.status = (kept & ~BusMasterStatus.CAPABLE) | noted
            case 4 | 5 | 6 | 7:
                shift = 8 * (offset & 3)
                table = (self.table & ~(0xFF << shift)) | value << shift
                self.table = table & TABLE_ADDRESS
            case _:
                pass

    def write_command(self, value: u8) -> None:
        """BMICX: START rising begins with the table's first region, falling forgets where."""
        started = self.command & BusMasterCommand.START
        self.command = value & BusMasterCommand.WRITABLE
        if value & BusMasterCommand.START == 0:
            self.status &= ~BusMasterStatus.ACTIVE
        elif started == 0:
            self.next = self.table
            self.left = 0
            self.last = 0
            self.status |= BusMasterStatus.ACTIVE

    def running(self) -> bool:
        """Whether it answers a drive's request for data."""
        return self.enabled != 0 and self.status & BusMasterStatus.ACTIVE != 0

    # ---- the table ------------------------------------------------------------------------

    def fetch(self, ram: Memory) -> bool:
        """Go to the next region; False where there is none, and ACTIVE is off then."""
        if self.last:
            self.status &= ~BusMasterStatus.ACTIVE
            return False
        if not ram.contains(self.next, DESCRIPTOR_SIZE):
            return self.abort()
        base = ram.load32(self.next) & REGION_ADDRESS
        control = ram.load32(self.next + 4)
        length = control & REGION_LENGTH
        if length == 0:
            length = REGION_LIMIT
        if not ram.contains(base, length):
            return self.abort()
        self.next += DESCRIPTOR_SIZE
        self.address = base
        self.left = length
        self.last = control & END_OF_TABLE != 0
        return True

    def abort(self) -> bool:
        """Nobody answers at that address: a master abort. False."""
        self.status = (self.status & ~BusMasterStatus.ACTIVE) | BusMasterStatus.ERROR
        self.aborted = 1
        return False

    def consume(self, length: u32) -> None:
        """`length` bytes of the current region are spoken for."""
        self.address += length
        self.left -= length

    def finish(self) -> None:
        """The drive wants no more. 2.7.2: ACTIVE stays on where the table has more."""
        if self.left == 0 and self.last:
            self.status &= ~BusMasterStatus.ACTIVE

    def gather(self, ram: Memory, request: BlockRequest, wanted: u32) -> u32:
        """Append the next `wanted` bytes' regions to `request`, as far as it and the table go.

        The answer, in bytes, is a multiple of SECTOR, as `wanted` is.
        """
        total = u32(0)
        while total < wanted and request.segment_count < MAX_SEGMENTS:
            if self.left == 0 and not self.fetch(ram):
                break
            if self.left >= SECTOR:
                length = min(u32(self.left - self.left % SECTOR), u32(wanted - total))
                request.add(ram.pointer(self.address, length), length)
                self.consume(length)
                total = u32(total + length)
            elif self.gather_sector(ram, request):
                total = u32(total + SECTOR)
            else:
                break
        return total

    def gather_sector(self, ram: Memory, request: BlockRequest) -> bool:
        """Append one sector that several regions share, or nothing.

        False where the table ends within it, and where it needs more segments than `request`
        has left: then the table is where it was.
        """
        next_descriptor, address, left, last = self.next, self.address, self.left, self.last
        segment_count = request.segment_count
        segment_length = request.segments[segment_count - 1].length if segment_count > 0 else 0
        filled = u32(0)
        while filled < SECTOR:
            if self.left == 0 and not self.fetch(ram):
                break
            if request.segment_count >= MAX_SEGMENTS:
                self.next, self.address, self.left, self.last = next_descriptor, address, left, last
                break
            length = min(self.left, u32(SECTOR - filled))
            request.add(ram.pointer(self.address, length), length)
            self.consume(length)
            filled = u32(filled + length)
        if filled == SECTOR:
            return True
        request.segment_count = segment_count
        if segment_count > 0:
            request.segments[segment_count - 1].length = segment_length
        return False

    def move(self, ram: Memory, buffer: u64, size: u32, to_memory: bool) -> bool:
        """Copy `size` bytes between the regions and `buffer`: a sector in too many pieces, or what
        is on no medium.

        False where the table ends within it.
        """
        filled = u32(0)
        while filled < size:
            if self.left == 0 and not self.fetch(ram):
                return False
            length = min(self.left, u32(size - filled))
            memory = ram.pointer(self.address, length)
            if to_memory:
                copy(memory, u64(buffer + filled), length)
            else:
                copy(u64(buffer + filled), memory, length)
            self.consume(length)
            filled = u32(filled + length)
        return True
