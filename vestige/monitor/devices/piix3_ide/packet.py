"""How a packet device is told something and answers. ATA/ATAPI-6 (T13 1410D), 8.23 and 9.8.

A packet comes through the Data register. Its data moves there too, in pieces of the byte count that
the host allows, or by the bus master: blocks of the disc straight into guest RAM, all else by the
channel's buffer. Interrupt Reason says what a piece is.
"""

from vestige.abi import SECTOR
from vestige.lang.intrinsics import cold
from vestige.lang.memory import Memory
from vestige.lang.types import u8, u16
from vestige.monitor.block import Operation, State
from vestige.monitor.devices.piix3_ide.channel import Channel, CommandProtocol, Phase
from vestige.monitor.devices.piix3_ide.multimedia import answer_packet, take_parameters
from vestige.monitor.devices.piix3_ide.packet_answers import Outcome, fail, not_ready_or_changed
from vestige.monitor.devices.piix3_ide.packet_spec import (
    PACKET_SIZE,
    PacketFeature,
    Reason,
    Sense,
    SenseKey,
)
from vestige.monitor.devices.piix3_ide.spec import MULTIPLE_LIMIT, Status
from vestige.monitor.devices.piix3_ide.transfer import begin_dma, dma_done, request_buffer


def begin_packet(channel: Channel) -> None:
    """PACKET: ask for one, without an interrupt (IDENTIFY PACKET DEVICE says so)."""
    drive = channel.drive()
    if drive.features & PacketFeature.OVERLAP:
        channel.abort()
        return
    channel.by_dma = drive.features & PacketFeature.DMA
    channel.limit = drive.lba_mid | drive.lba_high << 8
    channel.protocol = CommandProtocol.PIO_OUT
    channel.phase = Phase.PACKET
    show_reason(channel, Reason.COMMAND)
    channel.offer_block(PACKET_SIZE)


def show_reason(channel: Channel, reason: u8) -> None:
    """Interrupt Reason."""
    drive = channel.drive()
    drive.count = (drive.count & ~Reason.ALL) | reason


def go_on(channel: Channel, ram: Memory) -> None:
    """The host has moved a piece, or the bus master all there was."""
    channel.turn = 0
    match channel.phase:
        case Phase.PACKET:
            execute_packet(channel, ram)
        case Phase.PARAMETERS:
            channel.protocol = CommandProtocol.NONE
            end(channel, take_parameters(channel))
        case Phase.BLOCKS | Phase.ANSWER:
            offer_data(channel)
        case _:
            pass


def execute_packet(channel: Channel, ram: Memory) -> None:
    """The packet is there."""
    drive = channel.drive()
    channel.protocol = CommandProtocol.NONE
    channel.phase = Phase.NONE
    drive.status = Status.BSY | Status.DRDY
    for i in range(PACKET_SIZE):
        channel.packet[i] = channel.buffer[i]
    channel.taken = 0
    channel.filled = 0
    channel.remaining = 0
    outcome = answer_packet(channel)
    if outcome in (Outcome.GOOD, Outcome.FAILED):
        end(channel, outcome)
    elif channel.by_dma:
        move_by_dma(channel, outcome, ram)
    elif channel.limit < 2:  # nothing can be moved: ACS-3, 7.21.5
        channel.phase = Phase.NONE
        channel.abort()
    elif outcome == Outcome.PARAMETERS:
        ask_parameters(channel)
    else:
        channel.protocol = CommandProtocol.PIO_IN
        channel.phase = Phase.BLOCKS if outcome == Outcome.BLOCKS else Phase.ANSWER
        offer_data(channel)


def move_by_dma(channel: Channel, outcome: u8, ram: Memory) -> None:
    """By the bus master, once it is started."""
    show_reason(channel, Reason.TO_HOST if outcome != Outcome.PARAMETERS else 0)
    if outcome == Outcome.BLOCKS:
        channel.phase = Phase.BLOCKS
        begin_dma(channel, CommandProtocol.DMA_IN, ram)
    elif outcome == Outcome.PARAMETERS:
        channel.phase = Phase.PARAMETERS
        begin_dma(channel, CommandProtocol.BUFFER_OUT, ram)
    else:
        channel.phase = Phase.ANSWER
        begin_dma(channel, CommandProtocol.BUFFER_IN, ram)


def ask_parameters(channel: Channel) -> None:
    """A parameter list, in one piece."""
    length = channel.filled
    channel.protocol = CommandProtocol.PIO_OUT
    channel.phase = Phase.PARAMETERS
    offer_piece(channel, length, 0)


def offer_piece(channel: Channel, length: u16, reason: u8) -> None:
    """Let the host move the buffer's next `length` bytes, and tell it."""
    drive = channel.drive()
    start = channel.taken
    drive.lba_mid = length & 0xFF
    drive.lba_high = length >> 8
    show_reason(channel, reason)
    channel.offer_block(u16(length + (length & 1)))  # Data has whole words
    channel.position = start
    channel.end += start
    channel.taken += length
    channel.interrupt()


def offer_data(channel: Channel) -> None:
    """The next piece of what is in the buffer, of what is on the disc, or the end."""
    left = u16(channel.filled - channel.taken)
    if left > 0:
        length = min(left, channel.limit)
        if length < left:
            length &= ~1
        offer_piece(channel, length, Reason.TO_HOST)
    elif channel.remaining > 0:
        channel.block = MULTIPLE_LIMIT
        request_buffer(channel, Operation.READ)
    else:
        end(channel, Outcome.GOOD)


def end(channel: Channel, outcome: u8) -> None:
    """The command is over: well, or with sense data, which the drive has."""
    channel.phase = Phase.NONE
    show_reason(channel, Reason.COMMAND | Reason.TO_HOST)
    if outcome == Outcome.GOOD:
        channel.finish()
    else:
        channel.fail(u8(channel.optical().key << 4))


@cold
def packet_request_done(channel: Channel, ram: Memory) -> None:
    """Blocks have been read, unless the disc was changed meanwhile."""
    request = channel.request
    drive = channel.drive()
    optical = channel.optical()
    request.release()
    if channel.dropping:
        channel.dropping = 0
        drive.post_signature()
        return
    if optical.look():
        end(channel, not_ready_or_changed(channel))
    elif request.error != 0:
        end(channel, fail(channel, SenseKey.MEDIUM_ERROR, Sense.READ_ERROR))
    elif channel.protocol == CommandProtocol.DMA_IN:
        show_reason(channel, Reason.COMMAND | Reason.TO_HOST)
        dma_done(channel, ram)
    else:
        channel.lba += request.sectors
        channel.remaining -= request.sectors
        channel.taken = 0
        channel.filled = u16(min(request.sectors, MULTIPLE_LIMIT) * SECTOR)
        offer_data(channel)


def reset_device(channel: Channel) -> None:
    """DEVICE RESET, 8.10: whatever it does; without an interrupt."""
    drive = channel.drive()
    channel.protocol = CommandProtocol.NONE
    channel.phase = Phase.NONE
    channel.offer = 0
    drive.interrupt_pending = 0
    drive.sleeping = 0
    channel.optical().reset_settings()
    if channel.request.state == State.IDLE:
        drive.post_signature()
    else:  # memory may still change, so it is busy meanwhile
        channel.dropping = 1
        drive.status = Status.BSY
    channel.update_line()
