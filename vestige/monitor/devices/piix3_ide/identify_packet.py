"""IDENTIFY PACKET DEVICE: the words of a drive for discs. ATA/ATAPI-6 (T13 1410D), 8.16."""

from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.identify import (
    COMPLETE,
    CYCLE_TIME,
    DMA,
    IORDY,
    IORDY_OPTIONAL,
    LBA,
    LOOK_AHEAD,
    MINOR_VERSION,
    MODES,
    PIO_MODES_3_4,
    POWER_MANAGEMENT,
    VERSIONS,
    WORD_VALID,
    fill_text,
    reset_result,
)

PACKET_DEVICE = 2 << 14  # word 0
CD_DRIVE = 5 << 8
REMOVABLE = 1 << 7
DRQ_SOON = 2 << 5  # for a packet, within 50 us: no interrupt
VALID = 0x0006  # word 53: words 64 to 70, 88
PACKETS = 1 << 4  # words 82 and 85
DEVICE_RESET = 1 << 9


def fill_identify_packet(channel: Channel) -> None:
    """Put the selected drive's words into the channel's buffer."""
    for i in range(256):
        channel.put(i, 0)
    drive = channel.drive()
    channel.put(0, PACKET_DEVICE | CD_DRIVE | REMOVABLE | DRQ_SOON)  # packets of 12 bytes
    channel.put(2, COMPLETE)
    fill_text(channel)
    channel.put(49, DMA | LBA | IORDY_OPTIONAL | IORDY)
    channel.put(50, WORD_VALID)
    channel.put(53, VALID)
    channel.put(63, drive.multiword_dma << 8 | MODES)
    channel.put(64, PIO_MODES_3_4)
    for i in range(65, 69):
        channel.put(i, CYCLE_TIME)
    channel.put(80, VERSIONS)
    channel.put(81, MINOR_VERSION)
    channel.put(82, PACKETS | DEVICE_RESET | POWER_MANAGEMENT | LOOK_AHEAD)
    channel.put(83, WORD_VALID)
    channel.put(84, WORD_VALID)
    enabled = PACKETS | DEVICE_RESET | POWER_MANAGEMENT
    if drive.look_ahead:
        enabled |= LOOK_AHEAD
    channel.put(85, enabled)
    channel.put(87, WORD_VALID)
    channel.put(88, drive.ultra_dma << 8 | MODES)
    channel.put(93, WORD_VALID | reset_result(channel))
