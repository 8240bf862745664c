"""How a command's data moves: Data register, bus master, block requests. ATA/ATAPI-6, 9.5 to 9.9.

PIO goes through the channel's buffer, one DRQ block a request. DMA has no buffer: a request's
segments are the guest's own regions. Every request ends in `request_done`.
"""

from vestige.abi import SECTOR
from vestige.lang.intrinsics import address_of, copy, load64
from vestige.lang.memory import Memory
from vestige.lang.types import u16, u32, u64
from vestige.monitor.block import Operation, State
from vestige.monitor.devices.piix3_ide.channel import Channel, CommandProtocol, Phase
from vestige.monitor.devices.piix3_ide.spec import (
    MULTIPLE_BUFFER,
    MULTIPLE_LIMIT,
    TRIM_RANGES,
    Error,
    Status,
)

ROUND = 0x1_0000  # sectors that one request of a DMA command is for at most

# ---- the Data register ------------------------------------------------------------------------


def read_data(channel: Channel) -> u16:
    """The Data register: 0 where the drive has nothing for the host."""
    if not channel.offers(CommandProtocol.PIO_IN):
        return 0
    position = channel.position % MULTIPLE_BUFFER
    value = channel.buffer[position] | channel.buffer[position ^ 1] << 8
    moved(channel, 2)
    return value


def write_data(channel: Channel, value: u16) -> None:
    """The Data register: ignored where the drive expects nothing."""
    if not channel.offers(CommandProtocol.PIO_OUT):
        return
    position = channel.position % MULTIPLE_BUFFER
    channel.buffer[position] = value & 0xFF
    channel.buffer[position ^ 1] = value >> 8
    moved(channel, 2)


def read_data_string(channel: Channel, address: u64, length: u32) -> u32:
    """As many Data register reads as `length` bytes (even) make; how many bytes there were."""
    if not channel.offers(CommandProtocol.PIO_IN):
        return 0
    taken = min(length, u16(channel.end - channel.position))
    copy(address, u64(address_of(channel.buffer) + channel.position), taken)
    moved(channel, taken)
    return taken


def write_data_string(channel: Channel, address: u64, length: u32) -> u32:
    """As many Data register writes as `length` bytes (even) make; how many were wanted."""
    if not channel.offers(CommandProtocol.PIO_OUT):
        return 0
    taken = min(length, u16(channel.end - channel.position))
    copy(u64(address_of(channel.buffer) + channel.position), address, taken)
    moved(channel, taken)
    return taken


def moved(channel: Channel, length: u32) -> None:
    """The host has moved `length` bytes; the last one of a DRQ block sets the drive going."""
    channel.position += length
    if channel.position < channel.end:
        return
    if channel.phase != Phase.NONE:
        channel.turn = 1
    elif channel.protocol == CommandProtocol.PIO_OUT:
        request_buffer(channel, Operation.WRITE)
    elif channel.remaining > 0:
        request_buffer(channel, Operation.READ)
    else:
        channel.protocol = CommandProtocol.NONE
        channel.drive().status = Status.DRDY | Status.DSC


# ---- beginning --------------------------------------------------------------------------------


def begin_pio_in(channel: Channel) -> None:
    """The first DRQ block comes with an interrupt."""
    channel.protocol = CommandProtocol.PIO_IN
    request_buffer(channel, Operation.READ)


def begin_pio_out(channel: Channel) -> None:
    """The first DRQ block is asked for without an interrupt."""
    channel.protocol = CommandProtocol.PIO_OUT
    channel.offer_block(block_length(channel))


def begin_verify(channel: Channel) -> None:
    """Read all of it, as much at a time as the buffer holds."""
    channel.protocol = CommandProtocol.VERIFY
    channel.block = MULTIPLE_LIMIT
    request_buffer(channel, Operation.READ)


def begin_flush(channel: Channel) -> None:
    """Have everything written so far on stable storage before the command ends."""
    drive = channel.drive()
    channel.protocol = CommandProtocol.FLUSH
    drive.status = Status.BSY | Status.DRDY
    channel.request.prepare(Operation.FLUSH, drive.number, 0, 0)
    channel.request.submit()


def begin_dma(channel: Channel, protocol: CommandProtocol, ram: Memory) -> None:
    """Ask for the bus master, which may have been started before."""
    channel.protocol = protocol
    channel.drive().status = Status.DRDY | Status.DSC | Status.DRQ
    channel.offer_start()
    run_dma(channel, ram)


def block_sectors(channel: Channel) -> u32:
    """Sectors of the next DRQ block: at most MULTIPLE_LIMIT."""
    return min(channel.remaining, channel.block, MULTIPLE_LIMIT)


def block_length(channel: Channel) -> u16:
    """Bytes of the next DRQ block."""
    return u16(block_sectors(channel) * SECTOR)


def request_buffer(channel: Channel, operation: Operation) -> None:
    """Move the next DRQ block between medium and buffer; the drive is busy meanwhile."""
    drive = channel.drive()
    drive.status = Status.BSY | Status.DRDY
    request = channel.request
    request.prepare(operation, drive.number, channel.lba, block_sectors(channel))
    request.add(address_of(channel.buffer), block_length(channel))
    request.submit()


def run_dma(channel: Channel, ram: Memory) -> None:
    """Move the next round, if drive and bus master are both ready and none is under way.

    Where the table ends too early nothing happens: the drive goes on waiting, ACTIVE is off
    and no interrupt comes, which is what hardware does (290550, 2.7.2).
    """
    if channel.protocol == CommandProtocol.TRIM:
        run_trim(channel, ram)
    if channel.protocol in (CommandProtocol.BUFFER_IN, CommandProtocol.BUFFER_OUT):
        run_buffer(channel, ram)
    if channel.protocol not in (CommandProtocol.DMA_IN, CommandProtocol.DMA_OUT):
        return
    bus_master = channel.bus_master
    request = channel.request
    if request.state != State.IDLE or not bus_master.running():
        return
    incoming = channel.protocol == CommandProtocol.DMA_IN
    operation = Operation.READ if incoming else Operation.WRITE
    request.prepare(operation, channel.drive().number, channel.lba, 0)
    length = bus_master.gather(ram, request, min(channel.remaining, ROUND) * SECTOR)
    channel.bounced = 0
    if length == 0:
        if not bus_master.running():
            return
        buffer = address_of(channel.buffer)
        if not incoming and not bus_master.move(ram, buffer, SECTOR, to_memory=False):
            return
        channel.bounced = 1
        length = SECTOR
        request.add(buffer, SECTOR)
    request.sectors = length // SECTOR
    request.submit()


def run_buffer(channel: Channel, ram: Memory) -> None:
    """What a packet device has in the buffer, or wants there, all at once."""
    if not channel.bus_master.running():
        return
    incoming = channel.protocol == CommandProtocol.BUFFER_IN
    buffer = address_of(channel.buffer)
    if channel.bus_master.move(ram, buffer, channel.filled, to_memory=incoming):
        channel.bus_master.finish()
        channel.taken = channel.filled
        channel.turn = 1


def run_trim(channel: Channel, ram: Memory) -> None:
    """Read the sector of ranges when the bus master is ready, and let the sectors go.

    A range that isn't all on the drive aborts the command (ACS-3, DATA SET MANAGEMENT, error
    outputs); IDNF is for commands whose own address is wrong.
    """
    request = channel.request
    if request.state != State.IDLE or not channel.bus_master.running():
        return
    buffer = address_of(channel.buffer)
    if not channel.bus_master.move(ram, buffer, SECTOR, to_memory=False):
        return
    channel.bus_master.finish()
    drive = channel.drive()
    request.prepare(Operation.DISCARD, drive.number, 0, 0)
    for i in range(TRIM_RANGES):
        entry = load64(u64(buffer + 8 * i))
        first = entry & (1 << 48) - 1
        count = entry >> 48
        if count > 0:
            if first >= drive.sectors or count > u64(drive.sectors - first):
                channel.abort()
                return
            request.add(first, count)
    drive.status = Status.BSY | Status.DRDY
    request.submit()


# ---- completion -------------------------------------------------------------------------------


def request_done(channel: Channel, ram: Memory) -> None:
    """The core has completed the request: go on with the command, or end it."""
    request = channel.request
    request.release()
    if channel.resetting:
        channel.end_reset()
        return
    if request.error != 0:
        channel.drive().show_sector(channel.lba, channel.wide != 0)
        channel.fail(Error.UNC if request.operation == Operation.READ else Error.ABRT)
        return
    match channel.protocol:
        case CommandProtocol.PIO_IN:
            count_moved(channel, request.sectors)
            channel.offer_block(u16(request.sectors * SECTOR))
            channel.interrupt()
        case CommandProtocol.PIO_OUT:
            count_moved(channel, request.sectors)
            if channel.remaining > 0:
                channel.offer_block(block_length(channel))
                channel.interrupt()
            else:
                finish_write(channel)
        case CommandProtocol.DMA_IN | CommandProtocol.DMA_OUT:
            dma_done(channel, ram)
        case CommandProtocol.VERIFY:
            channel.lba += request.sectors
            channel.remaining -= request.sectors
            if channel.remaining > 0:
                request_buffer(channel, Operation.READ)
            else:
                channel.finish()
        case _:
            channel.finish()


def dma_done(channel: Channel, ram: Memory) -> None:
    """A round is over."""
    bus_master = channel.bus_master
    if channel.bounced and channel.protocol == CommandProtocol.DMA_IN:
        if not bus_master.running():
            return
        if not bus_master.move(ram, address_of(channel.buffer), SECTOR, to_memory=True):
            return
    count_moved(channel, channel.request.sectors)
    if channel.remaining > 0:
        run_dma(channel, ram)
        return
    bus_master.finish()
    if channel.protocol == CommandProtocol.DMA_OUT:
        finish_write(channel)
    else:
        channel.finish()


def finish_write(channel: Channel) -> None:
    """All data is with the driver; without a write cache that is not enough."""
    if channel.drive().write_cache:
        channel.finish()
    else:
        begin_flush(channel)


def count_moved(channel: Channel, sectors: u32) -> None:
    """`sectors` are moved: the registers follow (on success they are "na", clause 8)."""
    drive = channel.drive()
    channel.lba += sectors
    channel.remaining -= sectors
    if drive.is_packet:
        return
    drive.count = channel.remaining & 0xFF
    drive.show_sector(channel.lba, channel.wide != 0)
