"""The flash memory of a firmware's variables: what writes mean, and what reads are meanwhile.

The guest maps the array and reads it without an exit, as long as reads give that: it finds it
nowhere while they give anything else, so that they come here. Every write does. Programming and
erasing end within the write that starts them. Intel 28F640J5 data sheet (290606), 4.0.
"""

from vestige.abi import FLASH, Config
from vestige.lang.intrinsics import fill, load8, store8
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.i28f640j5.spec import (
    BLOCK,
    BUFFER,
    CONFIRM,
    DEVICE,
    ERASED,
    LOCK_SET,
    MANUFACTURER,
    Command,
    Reads,
    Status,
    Step,
    query,
)


class Flash(Struct):
    """Sizes and offsets are in bytes; offsets are from the array's first but where said."""

    address: u32  # where the guest finds it
    size: u32
    array: u64  # the monitor's address of it
    reads: u8  # Reads
    step: u8  # Step
    status: u8
    start: u32  # the first byte of a Write to Buffer
    count: u8  # of its bytes, 1 to BUFFER
    taken: u8  # how many of these have come
    buffer: u8[BUFFER]

    def reset(self) -> None:
        """Power on: reads give the array."""
        self.status = Status.READY

    def configure(self, config: Config) -> None:
        """After `reset`: the host has the array, or there is none."""
        self.address = config.flash.address
        self.size = config.flash.size
        self.array = config.flash.array

    def mapped_address(self) -> u32:
        """Where the guest reads the array; 0: nowhere now."""
        return self.address if self.reads == Reads.ARRAY else 0

    # ---- the guest: `offset` is from FLASH ----------------------------------------------------

    def takes_whole(self, offset: u32, size: u8) -> bool:
        """Whether an access of more than a byte is one: the bus of a BIOS's chip has 8 bits."""
        return False

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A byte of what reads give now; behind the end, where the firmware is, all ones."""
        at = self.place_of(offset)
        if at >= self.size:
            return ERASED
        match self.reads:
            case Reads.ARRAY:
                return load8(u64(self.array + at))
            case Reads.STATUS:
                return self.status
            case Reads.IDENTIFIERS:
                return identifier(at)
            case _:
                return query(at & 0xFF, self.size)

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A byte: a command, or what follows of one."""
        at = self.place_of(offset)
        if at >= self.size:
            return
        byte = u8(value)
        match self.step:
            case Step.COMMAND:
                self.begin(byte)
            case Step.BYTE:
                self.program(at, byte)
                self.finish(Status.READY)
            case Step.ERASE_CONFIRM:
                self.erase(at, byte)
            case Step.LOCK_CONFIRM:
                self.confirm_lock(byte)
            case Step.COUNT:
                self.take_count(byte)
            case Step.BUFFER_BYTE:
                self.take_byte(at, byte)
            case _:
                self.program_buffer(byte)

    def place_of(self, offset: u32) -> u32:
        """The offset in the array of one from FLASH; beyond the array where there is none."""
        return u32(FLASH + offset - self.address)

    # ---- commands -------------------------------------------------------------------------

    def begin(self, command: u8) -> None:
        """The first write of a command, table 3. One that there isn't is as READ_ARRAY."""
        match command:
            case Command.PROGRAM | Command.PROGRAM_10:
                self.expect(Step.BYTE)
            case Command.ERASE:
                self.status |= Status.READY
                self.expect(Step.ERASE_CONFIRM)
            case Command.LOCK:
                self.expect(Step.LOCK_CONFIRM)
            case Command.WRITE_TO_BUFFER:
                self.status |= Status.READY
                self.expect(Step.COUNT)
            case Command.READ_STATUS:
                self.reads = Reads.STATUS
            case Command.READ_IDENTIFIERS:
                self.reads = Reads.IDENTIFIERS
            case Command.QUERY:
                self.reads = Reads.QUERY
            case Command.CLEAR_STATUS:
                # OVMF takes for flash memory what then reads as 0: QEMU clears READY, too.
                self.status = 0
                self.reads = Reads.ARRAY
            case _:
                self.reads = Reads.ARRAY

    def expect(self, step: u8) -> None:
        """More of the command is to come; reads give the status from now on."""
        self.step = step
        self.reads = Reads.STATUS

    def finish(self, status: u8) -> None:
        """The command is over; bits of errors stay until they are cleared, 4.5."""
        self.step = Step.COMMAND
        self.status |= status

    def refuse(self) -> None:
        """What came can't follow: 4.5, "command sequence error"."""
        self.finish(Status.READY | Status.ERASE_ERROR | Status.PROGRAM_ERROR)

    def program(self, at: u32, byte: u8) -> None:
        """Programming clears bits, and sets none."""
        place = u64(self.array + at)
        store8(place, load8(place) & byte)

    def erase(self, at: u32, byte: u8) -> None:
        """All of the block, if it is confirmed."""
        if byte != CONFIRM:
            self.refuse()
            return
        first = at // BLOCK * BLOCK
        fill(u64(self.array + first), ERASED, BLOCK)
        self.finish(Status.READY)

    def confirm_lock(self, byte: u8) -> None:
        """No block has a lock: there is nothing to set or to clear."""
        if byte in (CONFIRM, LOCK_SET):
            self.finish(Status.READY)
        else:
            self.refuse()

    def take_count(self, byte: u8) -> None:
        """How many bytes a Write to Buffer has."""
        if byte >= BUFFER:
            self.refuse()
            return
        self.count = byte + 1
        self.taken = 0
        self.step = Step.BUFFER_BYTE

    def take_byte(self, at: u32, byte: u8) -> None:
        """One of them, at its address: from the first one's on, and in its block."""
        if self.taken == 0:
            self.start = at
            for i in range(BUFFER):
                self.buffer[i] = ERASED
        place = u32(at - self.start)
        if place >= self.count or at // BLOCK != self.start // BLOCK:
            self.refuse()
            return
        self.buffer[place] = byte
        self.taken += 1
        if self.taken == self.count:
            self.step = Step.BUFFER_CONFIRM

    def program_buffer(self, byte: u8) -> None:
        """Write them, if that is confirmed."""
        if byte != CONFIRM:
            self.refuse()
            return
        for i in range(self.count):
            if self.buffer[i] != ERASED:
                self.program(u32(self.start + i), self.buffer[i])
        self.finish(Status.READY)


def identifier(at: u32) -> u8:
    """Who made it, and what it is; of each block, that it has no lock."""
    match at & 0xFF:
        case 0:
            return MANUFACTURER
        case 1:
            return DEVICE
        case _:
            return 0
