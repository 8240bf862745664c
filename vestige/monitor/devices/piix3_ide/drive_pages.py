"""What a drive for discs can do: mode pages and features. MMC-3 (T10 1363-D), 5.3, 5.5, 6.6."""

from vestige.lang.types import u8, u16, u32
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.packet_answers import (
    Outcome,
    answer,
    clear,
    fail,
    invalid_field,
    packet16,
    put16,
    put32,
)
from vestige.monitor.devices.piix3_ide.packet_spec import (
    BLOCK,
    CAPABILITIES_SIZE,
    MODE_HEADER,
    RECOVERY_SIZE,
    RETRIES,
    SPEED,
    Feature,
    ModePage,
    PageControl,
    Profile,
    Sense,
    SenseKey,
)
from vestige.monitor.devices.piix3_ide.spec import MULTIPLE_BUFFER

FEATURES_END = 0x20  # above all of Feature
READS = 0x3B  # CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM
MULTI_SESSION = 1 << 6
LOCKS, IS_LOCKED, EJECTS = 1 << 0, 1 << 1, 1 << 3
TRAY = 1 << 5
DISC_IN, NO_DISC, DOOR_OPEN = 0x01, 0x70, 0x71  # medium type, SFF-8020i: a data CD of 120 mm
CURRENT, PERSISTENT = 1 << 0, 1 << 1
ATAPI = 2  # physical interface of the feature Core


# ---- mode pages -------------------------------------------------------------------------------


def mode_sense(channel: Channel) -> u8:
    """MODE SENSE(10): one page, or all; no block descriptor."""
    page = channel.packet[2] & 0x3F
    control = channel.packet[2] >> 6
    if control == PageControl.SAVED:
        return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.SAVING_NOT_SUPPORTED)
    clear(channel, 64)
    size = u16(MODE_HEADER)
    if page in (ModePage.ERROR_RECOVERY, ModePage.ALL):
        fill_recovery(channel, size, control)
        size += RECOVERY_SIZE
    if page in (ModePage.CAPABILITIES, ModePage.ALL):
        fill_capabilities(channel, size, control)
        size += CAPABILITIES_SIZE
    if size == MODE_HEADER:
        return invalid_field(channel)
    put16(channel, 0, size - 2)
    optical = channel.optical()
    if optical.is_open:
        channel.buffer[2] = DOOR_OPEN
    else:
        channel.buffer[2] = DISC_IN if optical.has_disc() else NO_DISC
    return answer(channel, size, packet16(channel, 7))


def fill_recovery(channel: Channel, start: u16, control: u8) -> None:
    """Error recovery, all of which is kept and none of which does anything: nothing is unreadable
    for a moment.
    """
    optical = channel.optical()
    put16(channel, start, ModePage.ERROR_RECOVERY << 8 | RECOVERY_SIZE - 2)
    match control:
        case PageControl.CURRENT:
            put16(channel, u16(start + 2), optical.recovery << 8 | optical.retries)
        case PageControl.CHANGEABLE:
            put16(channel, u16(start + 2), 0xFFFF)
        case _:
            put16(channel, u16(start + 2), RETRIES)


def fill_capabilities(channel: Channel, start: u16, control: u8) -> None:
    """Capabilities and mechanical status, none of which can be changed."""
    put16(channel, start, ModePage.CAPABILITIES << 8 | CAPABILITIES_SIZE - 2)
    if control == PageControl.CHANGEABLE:
        return
    lock = LOCKS | EJECTS | TRAY
    if channel.optical().locked:
        lock |= IS_LOCKED
    put16(channel, u16(start + 2), READS << 8)
    put16(channel, u16(start + 4), MULTI_SESSION << 8)
    put16(channel, u16(start + 6), lock << 8)
    put16(channel, u16(start + 8), SPEED)
    put16(channel, u16(start + 14), SPEED)


def take_recovery(channel: Channel, size: u16) -> u8:
    """MODE SELECT(10)'s parameter list, `size` bytes: pages as MODE SENSE gives them.

    Capabilities can't be changed; all else isn't known.
    """
    if channel.buffer[6] | channel.buffer[7]:  # block descriptors
        return invalid_parameters(channel)
    optical = channel.optical()
    place = u16(MODE_HEADER)
    for _ in range(MULTIPLE_BUFFER):
        if place >= size:
            break
        start = place % (MULTIPLE_BUFFER - RECOVERY_SIZE)
        is_recovery = channel.buffer[start] & 0x3F == ModePage.ERROR_RECOVERY
        if not is_recovery or channel.buffer[start + 1] != RECOVERY_SIZE - 2:
            return invalid_parameters(channel)
        if size - place < RECOVERY_SIZE:
            return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.PARAMETER_LIST_LENGTH)
        optical.recovery = channel.buffer[start + 2]
        optical.retries = channel.buffer[start + 3]
        place += RECOVERY_SIZE
    return Outcome.GOOD


def invalid_parameters(channel: Channel) -> u8:
    """The list says what it can't."""
    return fail(channel, SenseKey.ILLEGAL_REQUEST, Sense.INVALID_FIELD_IN_PARAMETERS)


# ---- features ---------------------------------------------------------------------------------


def get_configuration(channel: Channel) -> u8:
    """GET CONFIGURATION: all features from the one that the host says on, those that are current,
    or that one alone.
    """
    request = channel.packet[1] & 3
    first = packet16(channel, 2)
    if request == 3:
        return invalid_field(channel)
    clear(channel, 96)
    size = u16(8)
    for code in range(FEATURES_END):
        wanted = code == first if request == 2 else code >= first
        if wanted and (request != 1 or is_current(channel, code)):
            size = add_feature(channel, size, code)
    put32(channel, 0, u32(size - 4))
    put16(channel, 6, channel.optical().profile())
    return answer(channel, size, packet16(channel, 7))


def is_current(channel: Channel, feature: u8) -> bool:
    """Whether the drive can do this with the disc that is there."""
    profile = channel.optical().profile()
    match feature:
        case Feature.RANDOM_READABLE:
            return profile != Profile.NONE
        case Feature.CD_READ:
            return profile == Profile.CD_ROM
        case Feature.DVD_READ:
            return profile == Profile.DVD_ROM
        case _:
            return True


def add_feature(channel: Channel, place: u16, feature: u8) -> u16:
    """Put the descriptor of a feature there, if the drive has it; where the next one begins."""
    more: u8 = 4  # bytes of its own
    version: u8 = 0
    persistent: u8 = 0
    match feature:
        case Feature.PROFILE_LIST:
            more, persistent = 8, PERSISTENT
            put_profile(channel, u16(place + 4), Profile.DVD_ROM)
            put_profile(channel, u16(place + 8), Profile.CD_ROM)
        case Feature.CORE:
            persistent = PERSISTENT
            put32(channel, u16(place + 4), ATAPI)
        case Feature.REMOVABLE_MEDIUM:
            persistent = PERSISTENT
            put32(channel, u16(place + 4), (TRAY | EJECTS | LOCKS) << 24)
        case Feature.RANDOM_READABLE:
            more = 8
            put32(channel, u16(place + 4), BLOCK)
            put32(channel, u16(place + 8), 1 << 16)  # blocks at once
        case Feature.CD_READ:
            version = 1 << 2
        case Feature.DVD_READ:
            more = 0
        case _:
            return place
    current = CURRENT if is_current(channel, feature) else 0
    put16(channel, place, feature)
    put16(channel, u16(place + 2), (version | persistent | current) << 8 | more)
    return u16(place + 4 + more)


def put_profile(channel: Channel, place: u16, profile: u16) -> None:
    """A profile of the list."""
    put16(channel, place, profile)
    if channel.optical().profile() == profile:
        channel.buffer[(place + 2) % MULTIPLE_BUFFER] = CURRENT
