"""IDENTIFY DEVICE: the 256 words a drive says about itself. ATA/ATAPI-6 (T13 1410D), 8.15.

The drive knows Ultra DMA, which a PIIX3 can't time: the host chooses a mode that both have. OVMF
uses no DMA at all of a drive without Ultra DMA.
"""

from vestige.abi import SECTOR
from vestige.lang.types import u8, u16
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.spec import MULTIPLE_LIMIT, DataSet

FIXED = 0x0040  # word 0: an ATA device, not removable
COMPLETE = 0xC837  # word 2: ready without spinning up, all words below are right
DMA = 1 << 8  # word 49
LBA = 1 << 9
IORDY_OPTIONAL = 1 << 10  # it can be disabled
IORDY = 1 << 11
CAPABILITIES_2 = 1 << 14  # word 50: valid, nothing more
VALID = 0x0007  # word 53: words 54 to 58, 64 to 70, 88
PIO_MODES_3_4 = 0x0003  # word 64
MODES = 0x0007  # words 63 and 88: multiword and Ultra DMA, 0 to 2
CYCLE_TIME = 120  # words 65 to 68, ns: PIO 4 and multiword DMA 2
VERSIONS = 7 << 4  # word 80: ATA/ATAPI-4 to -6
VERSION_7 = 1 << 7  # Linux looks for TRIM in words of a drive that claims this, and no older
MINOR_VERSION = 0x0019  # word 81: T13 1410D revision 3a
NOP_SUPPORTED = 1 << 14  # words 82 and 85
LOOK_AHEAD = 1 << 6
WRITE_CACHE = 1 << 5
POWER_MANAGEMENT = 1 << 3
ADDRESSES_48 = 1 << 10  # words 83 and 86
FLUSH_CACHE = 1 << 12
FLUSH_CACHE_EXT = 1 << 13
COMMANDS_2 = ADDRESSES_48 | FLUSH_CACHE | FLUSH_CACHE_EXT
WORD_VALID = 1 << 14  # bits 15 and 14 of words 83, 84, 87 and 93
# Word 93, of the last hardware reset; bit 13 is 0, as for a cable of 40 conductors.
DEVICE_0 = 0x000F  # it passed, and was told its number in some way
ANSWERS_FOR_1 = 0x0040  # device 0 responds when device 1 is selected, which there is not
SAW_DEVICE_1 = 0x0030  # device 0 detected DASP- and PDIAG-
DEVICE_1 = 0x0F00  # it asserted PDIAG-, and was told its number in some way


def fill_identify(channel: Channel) -> None:
    """Put the selected drive's words into the channel's buffer."""
    for i in range(256):
        channel.put(i, 0)
    drive = channel.drive()
    channel.put(0, FIXED)
    channel.put(2, COMPLETE)
    fill_text(channel)
    fill_geometry(channel)
    channel.put(47, 0x8000 | MULTIPLE_LIMIT)
    channel.put(49, DMA | LBA | IORDY_OPTIONAL | IORDY)
    channel.put(50, CAPABILITIES_2)
    channel.put(51, 0x0200)  # PIO mode 2 for hosts older than word 64
    if drive.multiple:
        channel.put(59, 0x0100 | drive.multiple)
    channel.put(63, drive.multiword_dma << 8 | MODES)
    channel.put(64, PIO_MODES_3_4)
    for i in range(65, 69):
        channel.put(i, CYCLE_TIME)
    channel.put(80, VERSIONS)
    if drive.can_discard:
        channel.put(80, VERSIONS | VERSION_7)
        channel.put(105, 1)  # sectors of ranges in one DATA SET MANAGEMENT, ACS-2
        channel.put(169, DataSet.TRIM)
    channel.put(81, MINOR_VERSION)
    channel.put(82, NOP_SUPPORTED | LOOK_AHEAD | WRITE_CACHE | POWER_MANAGEMENT)
    channel.put(83, WORD_VALID | COMMANDS_2)
    channel.put(84, WORD_VALID)
    enabled = NOP_SUPPORTED | POWER_MANAGEMENT
    if drive.write_cache:
        enabled |= WRITE_CACHE
    if drive.look_ahead:
        enabled |= LOOK_AHEAD
    channel.put(85, enabled)
    channel.put(86, COMMANDS_2)
    channel.put(87, WORD_VALID)
    channel.put(88, drive.ultra_dma << 8 | MODES)
    channel.put(93, WORD_VALID | reset_result(channel))
    for i in range(4):
        channel.put(100 + i, (drive.sectors >> 16 * i) & 0xFFFF)


def reset_result(channel: Channel) -> u16:
    """What the selected drive found at the hardware reset, and what the other one told it."""
    if channel.selected:
        return DEVICE_1
    return DEVICE_0 | (SAW_DEVICE_1 if channel.drives[1].present else ANSWERS_FOR_1)


def fill_geometry(channel: Channel) -> None:
    """CHS, default and current (obsolete in ATA-6), and how many sectors LBA28 reaches."""
    drive = channel.drive()
    cylinders, heads, sectors_per_track = drive.default_geometry()
    channel.put(1, cylinders)
    channel.put(3, heads)
    channel.put(4, u16(SECTOR * sectors_per_track))
    channel.put(5, SECTOR)
    channel.put(6, sectors_per_track)
    channel.put(53, VALID)
    channel.put(54, drive.cylinders)
    channel.put(55, drive.heads)
    channel.put(56, drive.sectors_per_track)
    capacity = drive.cylinders * drive.heads * drive.sectors_per_track
    channel.put(57, capacity & 0xFFFF)
    channel.put(58, (capacity >> 16) & 0xFFFF)
    channel.put(60, drive.lba28_sectors() & 0xFFFF)
    channel.put(61, drive.lba28_sectors() >> 16)


def fill_text(channel: Channel) -> None:
    """Serial number, firmware revision, model: each word holds its first character on top."""
    drive = channel.drive()
    for i in range(10):
        channel.put(10 + i, pair(drive.serial[2 * i], drive.serial[2 * i + 1]))
    for i in range(4):
        channel.put(23 + i, pair(drive.firmware[2 * i], drive.firmware[2 * i + 1]))
    for i in range(20):
        channel.put(27 + i, pair(drive.model[2 * i], drive.model[2 * i + 1]))


def pair(first: u8, second: u8) -> u16:
    """Two characters of a string as a word."""
    return first << 8 | second
