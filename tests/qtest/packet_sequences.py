"""What random sequences ask of a drive for discs: packets that mean something, mostly."""

import random

from tests.qtest.packet_pair import Asked, Dma, Told
from vestige.monitor.devices.piix3_ide.packet_spec import PACKET_SIZE, Packet
from vestige.monitor.devices.piix3_ide.spec import Command

LIMITS = (0, 511, 512, 1024, 2047, 2048, 8192, 0xFFFE)
CODES = tuple(int(code) for code in Packet if code != Packet.MODE_SELECT_10)
READS = (Packet.READ_10, Packet.READ_12, Packet.READ_CD)
UNKNOWN = (0x0A, 0x42)
PIECES = (20, 100, 512, 700, 2048, 0x1000, 0x1_0000)  # of a region, in bytes
FEW = (2, 6, 20, 0x1000)  # the same, of what is no block
NO_PACKETS = (
    Command.IDENTIFY_DEVICE, Command.READ_SECTORS, Command.WRITE_SECTORS, Command.READ_DMA,
    Command.READ_MULTIPLE, Command.SET_MULTIPLE_MODE, Command.RECALIBRATE, Command.FLUSH_CACHE,
    Command.CHECK_POWER_MODE, Command.IDLE_IMMEDIATE, Command.STANDBY_IMMEDIATE,
    Command.SET_FEATURES, Command.DEVICE_RESET, Command.EXECUTE_DEVICE_DIAGNOSTIC,
    Command.READ_NATIVE_MAX, Command.DATA_SET_MANAGEMENT,
)  # fmt: skip
FEATURES = (0x02, 0x03, 0x55, 0x66, 0x82, 0xAA, 0xCC)
MODES = (0x00, 0x08, 0x0C, 0x20, 0x22, 0x40, 0x42)


def random_step(chance: random.Random) -> Asked | Told:
    """A packet by PIO or by DMA, one that a reset ends, or another command."""
    way = chance.random()
    if way < 0.1:
        code = chance.choice(NO_PACKETS)
        return Told(code, chance.choice(FEATURES), chance.choice(MODES))
    asked = random_packet(chance)
    if way < 0.2:
        words = chance.choice((0, 1, 3, 100, 1024, 1025))
        return asked._replace(words=words, reset=chance.choice(("device", "software")))
    if way < 0.6:
        early = asked.packet[0] in READS[:2] and chance.random() < 0.3
        reads = asked.packet[0] in READS
        return asked._replace(dma=Dma(chance.choice(PIECES if reads else FEW), early))
    return asked


def random_packet(chance: random.Random) -> Asked:
    """One by PIO."""
    code = chance.choice((*CODES, *UNKNOWN, *(Packet.READ_10,) * 4))
    fields = bytearray(PACKET_SIZE)
    fields[0] = code
    allowed = chance.choice((4, 8, 12, 18, 20, 36, 64, 254))
    if code in (*READS, Packet.SEEK_10):
        fields[2:6] = chance.choice((0, 1, 5, 390, 398, 399)).to_bytes(4, "big")
    count = chance.choice((0, 1, 2, 3, 4))
    match code:
        case Packet.READ_10:
            fields[8] = count
        case Packet.READ_12:
            fields[9] = count
        case Packet.READ_CD:
            fields[8], fields[9] = count, chance.choice((0, 0x10))
        case Packet.INQUIRY | Packet.REQUEST_SENSE:
            fields[4] = allowed
        case Packet.START_STOP_UNIT | Packet.PREVENT_ALLOW:
            fields[4] = chance.choice((0, 1))
        case Packet.READ_TOC:
            fields[1], fields[6] = chance.choice((0, 2)), chance.choice((0, 1, 0xAA, 5))
            fields[2], fields[8] = chance.choice((0, 0, 0, 1, 2, 3)), allowed
        case Packet.GET_CONFIGURATION | Packet.READ_DISC_INFORMATION:
            fields[8] = allowed
        case Packet.GET_EVENT_STATUS:
            fields[1], fields[4] = chance.choice((1, 1, 0)), chance.choice((0x10, 2))
            fields[8] = allowed
        case Packet.MODE_SENSE_10:
            fields[2], fields[8] = chance.choice((1, 0x2A, 0x0E, 5, 0xC1)), allowed
        case Packet.MECHANISM_STATUS:
            fields[9] = allowed
        case _:
            pass
    return Asked(bytes(fields), chance.choice(LIMITS))
