"""Where our drive for discs and QEMU's differ: what a sequence leaves out, by the same names in
the table of docs/devices/piix3-ide.md.
"""

from collections.abc import Callable
from typing import NamedTuple

from tests.qtest.packet_pair import BLOCKS, Asked, Dma, Told
from vestige.monitor.devices.piix3_ide.packet_spec import PACKET_SIZE, Packet
from vestige.monitor.devices.piix3_ide.spec import Command

WITHOUT_DATA = (
    Packet.TEST_UNIT_READY, Packet.START_STOP_UNIT, Packet.PREVENT_ALLOW, Packet.SEEK_10,
    Packet.SET_CD_SPEED,
)  # fmt: skip


class Row(NamedTuple):
    """One row of the table."""

    name: str
    matches: Callable[[Asked | Told], bool]
    example: Asked | Told


def fields_of(asked: Asked | Told) -> bytes:
    """The packet, or nothing that is one."""
    return asked.packet if isinstance(asked, Asked) else bytes([0xFF] * PACKET_SIZE)


def of_code(code: int) -> Callable[[Asked | Told], bool]:
    return lambda asked: fields_of(asked)[0] == code


def byte_count_of_0(asked: Asked | Told) -> bool:
    if isinstance(asked, Told) or asked.dma:
        return False
    return asked.limit == 0 and asked.packet[0] not in WITHOUT_DATA


def toc_format(asked: Asked | Told) -> bool:
    return fields_of(asked)[0] == Packet.READ_TOC and fields_of(asked)[2] != 0


def events(asked: Asked | Told) -> bool:
    return fields_of(asked)[0] == Packet.GET_EVENT_STATUS and fields_of(asked)[1] & 1 != 0


def nothing_of_no_block(asked: Asked | Told) -> bool:
    fields = fields_of(asked)
    end = int.from_bytes(fields[2:6], "big") + fields[8]
    return fields[0] == Packet.READ_CD and not fields[9] and end > BLOCKS


def told(asked: Asked | Told, *codes: Command) -> bool:
    return isinstance(asked, Told) and asked.code in codes


def power(asked: Asked | Told) -> bool:
    return told(asked, Command.CHECK_POWER_MODE, Command.IDLE_IMMEDIATE, Command.STANDBY_IMMEDIATE)


def device_reset(asked: Asked | Told) -> bool:
    by_command = told(asked, Command.DEVICE_RESET)
    return by_command or (isinstance(asked, Asked) and asked.reset == "device")


def slack(asked: Asked | Told, sign: int) -> bool:
    return isinstance(asked, Asked) and asked.dma is not None and asked.dma.slack * sign > 0


def outside(asked: Asked | Told) -> bool:
    return isinstance(asked, Asked) and asked.dma is not None and asked.dma.outside


def packet(*fields: int, limit: int = 0xFFFE, dma: Dma | None = None) -> Asked:
    """Filled up with zeroes."""
    return Asked(bytes(fields).ljust(PACKET_SIZE, b"\0"), limit, dma)


def read(*, dma: Dma) -> Asked:
    """Two blocks."""
    return packet(Packet.READ_10, 0, 0, 0, 0, 1, 0, 0, 2, dma=dma)


ROWS = (
    Row("sense data", of_code(Packet.REQUEST_SENSE), packet(Packet.REQUEST_SENSE, 0, 0, 0, 18)),
    Row("byte count of 0", byte_count_of_0, packet(Packet.READ_10, limit=0)),
    Row("format of READ TOC", toc_format, packet(Packet.READ_TOC, 0, 1, 0, 0, 0, 0, 0, 12)),
    Row(
        "GET CONFIGURATION", of_code(Packet.GET_CONFIGURATION),
        packet(Packet.GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0, 64),
    ),
    Row("length of events", events, packet(Packet.GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8)),
    Row(
        "MODE SENSE(10)", of_code(Packet.MODE_SENSE_10),
        packet(Packet.MODE_SENSE_10, 0, 1, 0, 0, 0, 0, 0, 16),
    ),
    Row("MODE SELECT(10)", of_code(Packet.MODE_SELECT_10), packet(Packet.MODE_SELECT_10, 0x10)),
    Row(
        "READ CD of nothing", nothing_of_no_block,
        packet(Packet.READ_CD, 0, 0, 0, 1, 0x8F, 0, 0, 2),
    ),
    Row(
        "blocks and a table too short", lambda asked: slack(asked, -1),
        read(dma=Dma(1024, slack=-1024)),
    ),
    Row(
        "blocks and a table too long", lambda asked: slack(asked, 1),
        read(dma=Dma(0x8000, slack=512)),
    ),
    Row("blocks for no RAM", outside, read(dma=Dma(0x8000, outside=True))),
    Row("power of a drive for discs", power, Told(Command.CHECK_POWER_MODE)),
    Row("Error by DEVICE RESET", device_reset, Told(Command.DEVICE_RESET)),
    Row(
        "diagnostic of a drive for discs",
        lambda asked: told(asked, Command.EXECUTE_DEVICE_DIAGNOSTIC),
        Told(Command.EXECUTE_DEVICE_DIAGNOSTIC),
    ),
)  # fmt: skip
