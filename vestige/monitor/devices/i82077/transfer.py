"""The 82077AA's commands that move data: which sector, from where to where, and how it ends.

Intel 82077AA data sheet (290166), 5.1; results by its tables 5-3 to 5-7. One sector is under way
at a time: the block request brings it, or takes it, and DMA or the host moves its bytes before
that or after. `begin` and `go_on` are called when there is something to do.
"""

from vestige.lang.intrinsics import address_of
from vestige.lang.types import u8, u32
from vestige.monitor.block import Operation
from vestige.monitor.devices.i82077.controller import SECTOR_BYTES, Controller, Phase
from vestige.monitor.devices.i82077.spec import (
    FORMAT_ID,
    MFM,
    MULTI_TRACK,
    NUMBER,
    SECTOR_CODE,
    SKIP,
    Byte,
    Command,
    Configured,
    Status0,
    Status1,
    Status2,
    Unit,
)


def number_of(chip: Controller) -> u8:
    """Which command is under way."""
    return chip.command[0] & NUMBER


def go_on(chip: Controller) -> None:
    """Begin the command that is in, or go on if the sector's bytes have moved."""
    if chip.begins:
        chip.begins = 0
        begin(chip)
    elif chip.phase in (Phase.TO_HOST, Phase.FROM_HOST):
        moved(chip)


# ---- beginning --------------------------------------------------------------------------------


def begin(chip: Controller) -> None:
    """All bytes are in of a command that moves data, or looks at a track."""
    chip.faults = 0
    chip.marks = 0
    chip.passed = 0
    chip.ended = 0
    chip.head = chip.command[Byte.UNIT] >> 2 & 1
    match number_of(chip):
        case Command.READ_ID:
            read_id(chip)
        case Command.FORMAT_TRACK:
            chip.last = chip.command[Byte.FORMAT_SECTORS]
            format_next(chip)
        case _:
            chip.last = chip.command[Byte.LAST]
            if chip.configured & Configured.IMPLIED_SEEK:
                chip.drives[chip.unit()].move_to(chip.command[Byte.CYLINDER])
            begin_sector(chip)


def read_id(chip: Controller) -> None:
    """READ ID: the next ID that comes by."""
    drive = chip.drives[chip.unit()]
    if not has_marks(chip):
        fail(chip, Status1.NO_MARK, 0)
        return
    chip.command[Byte.CYLINDER] = drive.cylinder
    chip.command[Byte.HEAD] = chip.head
    chip.command[Byte.SECTOR] = drive.next_id()
    chip.command[Byte.SIZE] = SECTOR_CODE
    end(chip, 0)


def has_marks(chip: Controller) -> bool:
    """Whether the head sees IDs, in the encoding that the command names."""
    drive = chip.drives[chip.unit()]
    return drive.readable(chip.head, chip.rate) and chip.command[0] & MFM != 0


def begin_sector(chip: Controller) -> None:
    """Look for the sector that the command's bytes now name, and begin with it."""
    drive = chip.drives[chip.unit()]
    command = number_of(chip)
    if not has_marks(chip):
        fail(chip, Status1.NO_MARK, 0)
        return
    if command == Command.READ_TRACK:
        if drive.cylinder != chip.command[Byte.CYLINDER] or not names_sector(chip):
            chip.faults |= Status1.NO_DATA
        request_sector(chip, Operation.READ, chip.passed % max(drive.sectors, 1) + 1)
        return
    if drive.cylinder != chip.command[Byte.CYLINDER]:
        fail(chip, Status1.NO_DATA, Status2.WRONG_CYLINDER)
        return
    if not names_sector(chip):
        fail(chip, Status1.NO_DATA, 0)
        return
    match command:
        case Command.WRITE_DATA | Command.WRITE_DELETED_DATA:
            if drive.protected:
                fail(chip, Status1.PROTECTED, 0)
            else:
                offer(chip, Phase.FROM_HOST, SECTOR_BYTES)
        case Command.READ_DELETED_DATA if chip.command[0] & SKIP:
            skip_all(chip)
        case _:
            request_sector(chip, Operation.READ, chip.command[Byte.SECTOR])


def skip_all(chip: Controller) -> None:
    """Pass every sector: none here is marked as deleted (table 5-5)."""
    while not step_sector(chip):
        if not names_sector(chip):
            fail(chip, Status1.NO_DATA, Status2.MARK)
            return
    fail(chip, Status1.END, Status2.MARK)


def names_sector(chip: Controller) -> bool:
    """Whether there is a sector of the command's head, number and size on this track."""
    drive = chip.drives[chip.unit()]
    there = drive.has_sector(chip.command[Byte.SECTOR], chip.command[Byte.SIZE])
    return there and chip.command[Byte.HEAD] == chip.head


def request_sector(chip: Controller, operation: Operation, sector: u8) -> None:
    """Move a sector of this track between the disk and the buffer; the chip is busy meanwhile."""
    drive = chip.drives[chip.unit()]
    chip.phase = Phase.BUSY
    request = chip.request
    request.prepare(operation, drive.number, drive.place_of(chip.head, sector), 1)
    request.add(address_of(chip.data), SECTOR_BYTES)
    request.submit()


def offer(chip: Controller, phase: Phase, length: u32) -> None:
    """Move so many bytes of the buffer, by DMA or by the host, which is interrupted for it."""
    chip.phase = phase
    chip.position = 0
    chip.end = length
    if chip.by_processor():
        chip.interrupt_host()


# ---- going on ---------------------------------------------------------------------------------


def moved(chip: Controller) -> None:
    """Bytes have moved, the last of these perhaps with TC: go on if that was the sector."""
    if chip.position < chip.end and not chip.ended:
        return
    if chip.by_processor():
        chip.acknowledge()
    if chip.phase == Phase.TO_HOST:
        next_sector(chip)
    elif number_of(chip) == Command.FORMAT_TRACK:
        format_sector(chip)
    else:
        clear_rest(chip)
        request_sector(chip, Operation.WRITE, chip.command[Byte.SECTOR])


def clear_rest(chip: Controller) -> None:
    """A sector that TC has cut short is written with zeroes behind (5.1.4)."""
    for i in range(SECTOR_BYTES):
        if i >= chip.position:
            chip.data[i] = 0


def request_done(chip: Controller) -> None:
    """The sector has been read or written."""
    request = chip.request
    request.release()
    if chip.phase == Phase.RESET:
        chip.end_reset()
    elif request.error:
        fail(chip, Status1.DATA_ERROR, Status2.DATA_ERROR)
    elif number_of(chip) == Command.FORMAT_TRACK:
        chip.passed += 1
        format_next(chip)
    elif request.operation == Operation.WRITE or number_of(chip) == Command.VERIFY:
        next_sector(chip)
    else:
        offer(chip, Phase.TO_HOST, SECTOR_BYTES)


def next_sector(chip: Controller) -> None:
    """The sector is done: name the next one (table 5-6), and go on with it, or end."""
    command = number_of(chip)
    if command == Command.READ_DELETED_DATA:  # table 5-5: the address stays
        chip.marks |= Status2.MARK
        end(chip, 0)
        return
    chip.passed += 1
    track_ends = step_sector(chip)
    if chip.ended or (command == Command.VERIFY and verified(chip, track_ends)):
        end(chip, 0)
    elif track_ends:
        fail(chip, Status1.END, 0)
    else:
        begin_sector(chip)


def step_sector(chip: Controller) -> bool:
    """The sector's successor into the command's bytes; whether the command can't go on to it."""
    command = chip.command
    if number_of(chip) == Command.READ_TRACK:
        command[Byte.SECTOR] += 1
        return chip.passed == command[Byte.LAST]
    if command[Byte.SECTOR] != command[Byte.LAST]:
        command[Byte.SECTOR] += 1
        return False
    command[Byte.SECTOR] = 1
    if command[0] & MULTI_TRACK == 0:
        command[Byte.CYLINDER] += 1
        return True
    command[Byte.HEAD] ^= 1
    chip.head ^= 1
    if chip.head == 0:
        command[Byte.CYLINDER] += 1
        return True
    return False


def verified(chip: Controller, track_ends: bool) -> bool:
    """Whether VERIFY has seen all that it is to: so many sectors, or those up to EOT."""
    if chip.command[Byte.UNIT] & Unit.COUNTED:
        return chip.passed == chip.command[Byte.COUNT]
    return track_ends


# ---- FORMAT TRACK -----------------------------------------------------------------------------


def format_next(chip: Controller) -> None:
    """Ask for the next sector's ID, or end."""
    drive = chip.drives[chip.unit()]
    if not has_marks(chip):
        fail(chip, Status1.NO_MARK, 0)
    elif drive.protected:
        fail(chip, Status1.PROTECTED, 0)
    elif chip.ended or chip.passed == chip.command[Byte.FORMAT_SECTORS]:
        end(chip, 0)
    else:
        offer(chip, Phase.FROM_HOST, FORMAT_ID)


def format_sector(chip: Controller) -> None:
    """Its ID is in. An image has but the sectors of its size, each with its own ID."""
    drive = chip.drives[chip.unit()]
    data = chip.data
    sector = data[2]
    small = chip.command[Byte.FORMAT_SIZE] != SECTOR_CODE or chip.position < FORMAT_ID
    own = data[0] == drive.cylinder and data[1] == chip.head
    if small or not own or not drive.has_sector(sector, data[3]):
        fail(chip, Status1.NO_DATA, 0)
        return
    fill = chip.command[Byte.FORMAT_FILL]
    for i in range(SECTOR_BYTES):
        data[i] = fill
    request_sector(chip, Operation.WRITE, sector)


# ---- ending -----------------------------------------------------------------------------------


def fail(chip: Controller, faults: u8, marks: u8) -> None:
    """End abnormally."""
    chip.faults |= faults
    chip.marks |= marks
    end(chip, Status0.ABNORMAL)


def end(chip: Controller, status: u8) -> None:
    """The result: ST0 to ST2, C, H, R, N; and an interrupt."""
    chip.result[0] = status | chip.head << 2 | chip.unit()
    chip.result[1] = chip.faults
    chip.result[2] = chip.marks
    for i in range(4):
        chip.result[3 + i] = chip.command[Byte.CYLINDER + i]
    chip.show(7)
    chip.interrupt_host()
