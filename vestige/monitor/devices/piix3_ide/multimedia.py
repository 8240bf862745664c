"""What a packet says, and what it is answered. MMC-3 (T10 1363-D), clause 6; SPC-2, clause 7.

Answers are put into the channel's buffer; blocks of the disc are read by whoever moves data.
"""

from vestige.lang.types import u8, u16, u32
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.drive_pages import (
    get_configuration,
    mode_sense,
    take_recovery,
)
from vestige.monitor.devices.piix3_ide.packet_answers import (
    Outcome,
    answer,
    clear,
    fail,
    invalid_field,
    not_ready_or_changed,
    packet16,
    packet32,
    put16,
    put32,
)
from vestige.monitor.devices.piix3_ide.packet_spec import (
    BLOCK,
    BLOCK_SECTORS,
    CURRENT_ERROR,
    DATA_TRACK,
    FRAMES_PER_SECOND,
    LEAD_OUT,
    LEAD_OUT_CONTROL,
    MEDIA_CLASS,
    NO_EVENT,
    PREGAP,
    SECONDS_PER_MINUTE,
    SENSE_SIZE,
    MediaEvent,
    Packet,
    Sense,
    SenseKey,
)
from vestige.monitor.devices.piix3_ide.spec import MULTIPLE_BUFFER

INQUIRY_SIZE = 36
CD_DEVICE, REMOVABLE = 0x05, 0x80
RESPONSE_FORMAT = 0x21  # ATAPI, SFF-8020i
USER_DATA = 0x10  # of READ CD: which parts of a block
PARTS = 0xF8
DISC_INFORMATION_SIZE = 34
FINISHED = 0x0E  # the disc and its last session are
UNRESTRICTED = 0x20
MAX_PARAMETERS = 512  # bytes of MODE SELECT's list


def answer_packet(channel: Channel) -> u8:
    """The Outcome of the packet, all of it or so far."""
    optical = channel.optical()
    optical.look()
    code = channel.packet[0]
    if code == Packet.REQUEST_SENSE:
        return request_sense(channel)
    optical.forget_sense()
    match code:
        case Packet.INQUIRY:
            return inquiry(channel)
        case Packet.GET_CONFIGURATION:
            return get_configuration(channel)
        case Packet.GET_EVENT_STATUS:
            return get_event_status(channel)
        case _:
            pass
    if optical.attention:
        return not_ready_or_changed(channel)
    match code:
        case Packet.START_STOP_UNIT:
            return start_stop_unit(channel)
        case Packet.PREVENT_ALLOW:
            optical.locked = channel.packet[4] & 1
            return Outcome.GOOD
        case Packet.MODE_SENSE_10:
            return mode_sense(channel)
        case Packet.MODE_SELECT_10:
            return mode_select(channel)
        case Packet.SET_CD_SPEED:
            return Outcome.GOOD
        case Packet.MECHANISM_STATUS:
            return mechanism_status(channel)
        case _:
            return answer_of_disc(channel, code)


def answer_of_disc(channel: Channel, code: u8) -> u8:
    """The commands for which there must be a disc, and those that there are not."""
    known = code in (
        Packet.TEST_UNIT_READY,
        Packet.READ_CAPACITY,
        Packet.READ_10,
        Packet.READ_12,
        Packet.READ_CD,
        Packet.SEEK_10,
        Packet.READ_TOC,
        Packet.READ_DISC_INFORMATION,
    )
    if not known:
        return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.INVALID_COMMAND)
    if not channel.optical().has_disc():
        return not_ready_or_changed(channel)
    match code:
        case Packet.READ_CAPACITY:
            put32(channel, 0, u32(channel.optical().blocks - 1))
            put32(channel, 4, BLOCK)
            return answer(channel, 8, 8)
        case Packet.READ_10:
            return read_blocks(channel, packet16(channel, 7))
        case Packet.READ_12:
            return read_blocks(channel, packet32(channel, 6))
        case Packet.READ_CD:
            return read_cd(channel)
        case Packet.SEEK_10:
            return out_of_range(channel) if beyond(channel, 1) else Outcome.GOOD
        case Packet.READ_TOC:
            return read_toc(channel)
        case Packet.READ_DISC_INFORMATION:
            return read_disc_information(channel)
        case _:
            return Outcome.GOOD


# ---- the drive --------------------------------------------------------------------------------


def request_sense(channel: Channel) -> u8:
    """REQUEST SENSE: of the last command, or of a change of which nobody has heard; once."""
    optical = channel.optical()
    if optical.key == SenseKey.NO_SENSE and optical.attention:
        not_ready_or_changed(channel)
    clear(channel, SENSE_SIZE)
    channel.buffer[0] = CURRENT_ERROR
    channel.buffer[2] = optical.key
    channel.buffer[7] = SENSE_SIZE - 8
    put16(channel, 12, optical.sense)
    optical.forget_sense()
    return answer(channel, SENSE_SIZE, channel.packet[4])


def inquiry(channel: Channel) -> u8:
    """INQUIRY: the standard data; there are no pages of product data."""
    if channel.packet[1] & 1 or channel.packet[2]:
        return invalid_field(channel)
    drive = channel.drive()
    clear(channel, 8)
    channel.buffer[0] = CD_DEVICE
    channel.buffer[1] = REMOVABLE
    channel.buffer[3] = RESPONSE_FORMAT
    channel.buffer[4] = INQUIRY_SIZE - 5
    for i in range(24):  # vendor, product
        channel.buffer[8 + i] = drive.model[i]
    for i in range(4):
        channel.buffer[32 + i] = drive.firmware[i]
    return answer(channel, INQUIRY_SIZE, channel.packet[4])


def get_event_status(channel: Channel) -> u8:
    """GET EVENT STATUS NOTIFICATION, polled: what has become of the disc, once."""
    if channel.packet[1] & 1 == 0:
        return invalid_field(channel)
    optical = channel.optical()
    allowed = packet16(channel, 7)
    clear(channel, 8)
    channel.buffer[3] = 1 << MEDIA_CLASS
    if channel.packet[4] & 1 << MEDIA_CLASS == 0:
        put16(channel, 0, 2)
        channel.buffer[2] = NO_EVENT
        return answer(channel, 4, allowed)
    put16(channel, 0, 6)
    channel.buffer[2] = MEDIA_CLASS
    channel.buffer[4] = optical.event
    channel.buffer[5] = u8((optical.is_open & 1) | (2 if optical.has_disc() else 0))
    if allowed > 4:
        optical.event = MediaEvent.NONE
    return answer(channel, 8, allowed)


def start_stop_unit(channel: Channel) -> u8:
    """START STOP UNIT: the tray goes in and out, unless it is locked; all else needs no time."""
    optical = channel.optical()
    action = channel.packet[4]
    if action >> 4 or action & 2 == 0:  # a power condition, or the motor
        return Outcome.GOOD
    if action & 1 == 0 and optical.locked:
        return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.REMOVAL_PREVENTED)
    optical.move_tray(action & 1 == 0)
    return Outcome.GOOD


def mode_select(channel: Channel) -> u8:
    """MODE SELECT(10): a list of pages is to come."""
    size = packet16(channel, 7)
    if channel.packet[1] & 1:
        return invalid_field(channel)
    if size == 0:
        return Outcome.GOOD
    if size < 8 or size > MAX_PARAMETERS:
        return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.PARAMETER_LIST_LENGTH)
    channel.filled = size
    return Outcome.PARAMETERS


def take_parameters(channel: Channel) -> u8:
    """They are there."""
    return take_recovery(channel, channel.filled)


def mechanism_status(channel: Channel) -> u8:
    """MECHANISM STATUS: of a drive without a changer."""
    clear(channel, 8)
    if channel.optical().is_open:
        channel.buffer[1] = 1 << 4
    channel.buffer[5] = 1  # slot
    return answer(channel, 8, packet16(channel, 8))


# ---- the disc ---------------------------------------------------------------------------------


def beyond(channel: Channel, count: u32) -> bool:
    """Whether the packet's blocks aren't all on the disc."""
    return not channel.optical().has(packet32(channel, 2), count)


def out_of_range(channel: Channel) -> u8:
    """They aren't."""
    return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.OUT_OF_RANGE)


def read_blocks(channel: Channel, count: u32) -> u8:
    """READ(10), READ(12): so many blocks of user data."""
    if count == 0:
        return Outcome.GOOD
    if beyond(channel, count):
        return out_of_range(channel)
    channel.lba = packet32(channel, 2) * BLOCK_SECTORS
    channel.remaining = u32(count * BLOCK_SECTORS)
    return Outcome.BLOCKS


def read_cd(channel: Channel) -> u8:
    """READ CD: user data of blocks of mode 1, or none of them."""
    kind = channel.packet[1] >> 2 & 7
    parts = channel.packet[9] & PARTS
    if kind not in (0, 2) or parts not in (0, USER_DATA) or channel.packet[10] & 7:
        return invalid_field(channel)
    count = channel.packet[6] << 16 | packet16(channel, 7)
    return read_blocks(channel, count if parts else 0)


def read_disc_information(channel: Channel) -> u8:
    """READ DISC INFORMATION: one session, one track, finished."""
    if channel.packet[1] & 7:
        return invalid_field(channel)
    clear(channel, DISC_INFORMATION_SIZE)
    put16(channel, 0, DISC_INFORMATION_SIZE - 2)
    channel.buffer[2] = FINISHED
    for i in range(4):  # first track, sessions, first and last track of the last session
        channel.buffer[3 + i] = 1
    channel.buffer[7] = UNRESTRICTED
    return answer(channel, DISC_INFORMATION_SIZE, packet16(channel, 7))


def read_toc(channel: Channel) -> u8:
    """READ TOC/PMA/ATIP: the tracks, the sessions, or the entries of the lead-in."""
    form = channel.packet[2] & 0x0F
    if form == 0:
        form = channel.packet[9] >> 6  # SFF-8020i
    clear(channel, 64)
    match form:
        case 0:
            return read_tracks(channel)
        case 1:
            put16(channel, 0, 10)
            channel.buffer[2] = 1
            channel.buffer[3] = 1
            fill_track(channel, 4, DATA_TRACK, 1, 0)
            return answer(channel, 12, packet16(channel, 7))
        case 2:
            return read_full_toc(channel)
        case _:
            return invalid_field(channel)


def read_tracks(channel: Channel) -> u8:
    """Format 0: track 1, unless only what is behind is asked for, and the lead-out."""
    first = channel.packet[6]
    if first > 1 and first != LEAD_OUT:
        return invalid_field(channel)
    size = u16(4)
    if first <= 1:
        fill_track(channel, size, DATA_TRACK, 1, 0)
        size += 8
    fill_track(channel, size, LEAD_OUT_CONTROL, LEAD_OUT, channel.optical().blocks)
    size += 8
    put16(channel, 0, size - 2)
    channel.buffer[2] = 1  # first track
    channel.buffer[3] = 1  # last track
    return answer(channel, size, packet16(channel, 7))


def fill_track(channel: Channel, place: u16, control: u8, track: u8, block: u32) -> None:
    """A descriptor of formats 0 and 1."""
    put16(channel, place, control)
    put16(channel, u16(place + 2), track << 8)
    if channel.packet[1] & 2:
        put32(channel, u16(place + 4), time_of(block))
    else:
        put32(channel, u16(place + 4), block)


def time_of(block: u32) -> u32:
    """Minute, second and frame of a block, as far as a byte has minutes."""
    frames = block + PREGAP
    seconds = frames // FRAMES_PER_SECOND
    minutes = seconds // SECONDS_PER_MINUTE
    second = seconds % SECONDS_PER_MINUTE
    return (minutes & 0xFF) << 16 | second << 8 | frames % FRAMES_PER_SECOND


def read_full_toc(channel: Channel) -> u8:
    """Format 2: points A0, A1, A2 and 1 of session 1; times alone."""
    put16(channel, 0, 2 + 4 * 11)
    channel.buffer[2] = 1  # first session
    channel.buffer[3] = 1  # last session
    fill_point(channel, 4, 0xA0, 1 << 16)  # the first track, of a CD-ROM
    fill_point(channel, 15, 0xA1, 1 << 16)  # the last track
    fill_point(channel, 26, 0xA2, time_of(channel.optical().blocks))  # lead-out
    fill_point(channel, 37, 1, time_of(0))
    return answer(channel, 48, packet16(channel, 7))


def fill_point(channel: Channel, place: u16, point: u8, position: u32) -> None:
    """An entry of the lead-in."""
    channel.buffer[place % MULTIPLE_BUFFER] = 1  # session
    channel.buffer[(place + 1) % MULTIPLE_BUFFER] = DATA_TRACK
    channel.buffer[(place + 3) % MULTIPLE_BUFFER] = point
    put32(channel, u16(place + 7), position)
