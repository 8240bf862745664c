"""The commands of a hard disk. ATA/ATAPI-6 (T13 1410D), clause 8; protocols in clause 9."""

from vestige.abi import SECTOR
from vestige.lang.intrinsics import cold
from vestige.lang.memory import Memory
from vestige.lang.types import u8, u32, u64
from vestige.monitor.block import State
from vestige.monitor.devices.piix3_ide.channel import Channel, CommandProtocol
from vestige.monitor.devices.piix3_ide.identify import fill_identify
from vestige.monitor.devices.piix3_ide.identify_packet import fill_identify_packet
from vestige.monitor.devices.piix3_ide.packet import begin_packet, reset_device
from vestige.monitor.devices.piix3_ide.spec import (
    LBA28_MAXIMUM,
    Command,
    Control,
    DataSet,
    Device,
    Error,
    Feature,
    PowerMode,
    Status,
)
from vestige.monitor.devices.piix3_ide.transfer import (
    begin_dma,
    begin_flush,
    begin_pio_in,
    begin_pio_out,
    begin_verify,
)


def execute(channel: Channel, code: u8, ram: Memory) -> None:
    """The Command register was written."""
    channel.control &= ~Control.HOB
    drive = channel.drive()
    drive.interrupt_pending = 0
    channel.update_line()
    if code == Command.DEVICE_RESET and drive.is_packet and not channel.resetting:
        reset_device(channel)
        return
    if channel.busy() or channel.request.state != State.IDLE:
        return
    if code == Command.EXECUTE_DEVICE_DIAGNOSTIC:
        diagnose(channel)
        return
    if drive.present == 0 or drive.sleeping:
        return  # 9.16.1: an absent drive ignores it; one that sleeps wakes by a reset only
    drive.error = 0
    if drive.is_packet:
        execute_on_packet_device(channel, code)
        return
    match code:
        case Command.READ_SECTORS | Command.READ_SECTORS_NO_RETRY:
            read_sectors(channel, wide=False)
        case Command.READ_SECTORS_EXT:
            read_sectors(channel, wide=True)
        case Command.WRITE_SECTORS | Command.WRITE_SECTORS_NO_RETRY:
            write_sectors(channel, wide=False)
        case Command.WRITE_SECTORS_EXT:
            write_sectors(channel, wide=True)
        case Command.READ_MULTIPLE:
            read_multiple(channel, wide=False)
        case Command.READ_MULTIPLE_EXT:
            read_multiple(channel, wide=True)
        case Command.WRITE_MULTIPLE:
            write_multiple(channel, wide=False)
        case Command.WRITE_MULTIPLE_EXT:
            write_multiple(channel, wide=True)
        case Command.READ_DMA | Command.READ_DMA_NO_RETRY:
            read_dma(channel, ram, wide=False)
        case Command.READ_DMA_EXT:
            read_dma(channel, ram, wide=True)
        case Command.WRITE_DMA | Command.WRITE_DMA_NO_RETRY:
            write_dma(channel, ram, wide=False)
        case Command.WRITE_DMA_EXT:
            write_dma(channel, ram, wide=True)
        case Command.READ_VERIFY | Command.READ_VERIFY_NO_RETRY:
            read_verify(channel, wide=False)
        case Command.READ_VERIFY_EXT:
            read_verify(channel, wide=True)
        case Command.DATA_SET_MANAGEMENT:
            data_set_management(channel, ram)
        case _:
            execute_without_sectors(channel, code)


@cold
def execute_on_packet_device(channel: Channel, code: u8) -> None:
    """What a packet device knows: ATA-6, table 19, and clause 8."""
    match code:
        case Command.PACKET:
            begin_packet(channel)
        case Command.IDENTIFY_PACKET_DEVICE:
            fill_identify_packet(channel)
            offer_sector(channel)
        case Command.IDENTIFY_DEVICE | Command.READ_SECTORS:  # "shall place the signature": 8.15
            channel.drive().post_signature()
            channel.abort()
        case (
            Command.SET_FEATURES
            | Command.CHECK_POWER_MODE
            | Command.IDLE_IMMEDIATE
            | Command.STANDBY_IMMEDIATE
            | Command.SLEEP
        ):
            execute_without_sectors(channel, code)
        case Command.FLUSH_CACHE:  # there is nothing to be written
            channel.finish()
        case _:
            channel.abort()


def execute_without_sectors(channel: Channel, code: u8) -> None:
    """The commands that move no sector of the medium, and all there are not."""
    drive = channel.drive()
    match code:
        case Command.IDENTIFY_DEVICE:
            identify_device(channel)
        case Command.FLUSH_CACHE | Command.FLUSH_CACHE_EXT:
            begin_flush(channel)
        case Command.READ_NATIVE_MAX:
            drive.show_sector(min(drive.last_sector(), LBA28_MAXIMUM), wide=False)
            channel.finish()
        case Command.READ_NATIVE_MAX_EXT:
            drive.show_sector(drive.last_sector(), wide=True)
            channel.finish()
        case Command.SET_FEATURES:
            set_features(channel)
        case Command.SET_MULTIPLE_MODE:
            finish_if(channel, drive.set_multiple())
        case Command.INITIALIZE_DEVICE_PARAMETERS:
            finish_if(channel, drive.set_geometry((drive.device & Device.HEAD) + 1, drive.count))
        case Command.RECALIBRATE:
            channel.finish()
        case Command.SEEK:
            if addressed(channel, 1, wide=False):
                channel.finish()
        case Command.CHECK_POWER_MODE:
            drive.count = PowerMode.STANDBY if drive.standby else PowerMode.ACTIVE_OR_IDLE
            channel.finish()
        case Command.IDLE | Command.IDLE_IMMEDIATE:
            finish_power(channel, 0)
        case Command.STANDBY | Command.STANDBY_IMMEDIATE:
            finish_power(channel, 1)
        case Command.SLEEP:
            finish_power(channel, 1)
            drive.sleeping = 1
        case _:
            channel.abort()


# ---- the medium -------------------------------------------------------------------------------


def addressed(channel: Channel, count: u32, wide: bool) -> bool:
    """Whether all of the command's sectors exist; else it has failed.

    IDNF rather than ABRT (either is allowed), before any data moves ("indeterminate"), with
    the first address that isn't there in the registers.
    """
    drive = channel.drive()
    first = drive.first_sector(wide)
    limit = drive.sectors if wide else drive.lba28_sectors()
    channel.wide = wide
    drive.standby = 0
    if first < limit and count <= u64(limit - first):
        channel.lba = first
        channel.remaining = count
        return True
    if first < limit:
        drive.show_sector(limit, wide)
    channel.fail(Error.IDNF)
    return False


def readable(channel: Channel, wide: bool) -> bool:
    """Whether the command's sectors can be read; else it has failed."""
    return addressed(channel, channel.drive().sector_count(wide), wide)


def writable(channel: Channel, wide: bool) -> bool:
    """Whether the command's sectors can be written; else it has failed.

    A read-only drive aborts: WP is for removable media, and ABRT "may be set if the device is
    not able to complete the action requested".
    """
    if channel.drive().read_only:
        channel.abort()
        return False
    return readable(channel, wide)


def read_sectors(channel: Channel, wide: bool) -> None:
    """READ SECTOR(S) (EXT): one sector a DRQ block."""
    if readable(channel, wide):
        channel.block = 1
        begin_pio_in(channel)


def write_sectors(channel: Channel, wide: bool) -> None:
    """WRITE SECTOR(S) (EXT)."""
    if writable(channel, wide):
        channel.block = 1
        begin_pio_out(channel)


def read_multiple(channel: Channel, wide: bool) -> None:
    """READ MULTIPLE (EXT): as many sectors a DRQ block as SET MULTIPLE MODE said."""
    multiple = channel.drive().multiple
    if multiple == 0:
        channel.abort()
    elif readable(channel, wide):
        channel.block = multiple
        begin_pio_in(channel)


def write_multiple(channel: Channel, wide: bool) -> None:
    """WRITE MULTIPLE (EXT)."""
    multiple = channel.drive().multiple
    if multiple == 0:
        channel.abort()
    elif writable(channel, wide):
        channel.block = multiple
        begin_pio_out(channel)


def read_dma(channel: Channel, ram: Memory, wide: bool) -> None:
    """READ DMA (EXT)."""
    if readable(channel, wide):
        begin_dma(channel, CommandProtocol.DMA_IN, ram)


def write_dma(channel: Channel, ram: Memory, wide: bool) -> None:
    """WRITE DMA (EXT)."""
    if writable(channel, wide):
        begin_dma(channel, CommandProtocol.DMA_OUT, ram)


def read_verify(channel: Channel, wide: bool) -> None:
    """READ VERIFY SECTOR(S) (EXT)."""
    if readable(channel, wide):
        begin_verify(channel)


def data_set_management(channel: Channel, ram: Memory) -> None:
    """DATA SET MANAGEMENT: TRIM, with one sector of ranges (IDENTIFY DEVICE word 105)."""
    drive = channel.drive()
    one = drive.count == 1 and drive.count_previous == 0
    if drive.can_discard and not drive.read_only and one and drive.features == DataSet.TRIM:
        begin_dma(channel, CommandProtocol.TRIM, ram)
    else:
        channel.abort()


# ---- the drive --------------------------------------------------------------------------------


def identify_device(channel: Channel) -> None:
    """IDENTIFY DEVICE: one sector of PIO that is on no medium."""
    fill_identify(channel)
    offer_sector(channel)


def offer_sector(channel: Channel) -> None:
    """What is in the buffer, by PIO."""
    channel.protocol = CommandProtocol.PIO_IN
    channel.remaining = 0
    channel.offer_block(SECTOR)
    channel.interrupt()


def set_features(channel: Channel) -> None:
    """SET FEATURES: what was cached is written before the cache goes."""
    drive = channel.drive()
    accepted = drive.set_feature()
    if accepted and not drive.is_packet and drive.features == Feature.DISABLE_WRITE_CACHE:
        begin_flush(channel)
    else:
        finish_if(channel, accepted)


def finish_if(channel: Channel, accepted: bool) -> None:
    """End the command well, or abort it."""
    if accepted:
        channel.finish()
    else:
        channel.abort()


def finish_power(channel: Channel, standby: u8) -> None:
    """A power command is done; the heads are on no track, so DSC stays off."""
    drive = channel.drive()
    drive.standby = standby
    channel.finish()
    drive.status = Status.DRDY


def diagnose(channel: Channel) -> None:
    """EXECUTE DEVICE DIAGNOSTIC: both drives, whichever is selected; device 0 reports."""
    channel.selected = 0
    for i in range(2):
        drive = channel.drives[i]
        if drive.sleeping == 0:
            drive.interrupt_pending = 0
            drive.post_signature()
    channel.interrupt()
