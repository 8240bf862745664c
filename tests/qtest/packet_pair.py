"""Our drive for discs and QEMU's, side by side: each packet goes to both, by PIO.

Where the two differ is a row, which names what a sequence leaves out; the same names are in the
table of docs/devices/piix3-ide.md.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.devices.piix3_ide.rig import CONTROL, SECONDARY, FakeDisc, Rig
from tests.qtest.client import Qtest, qemu
from vestige.monitor.devices.piix3_ide.packet_spec import PACKET_SIZE, Packet
from vestige.monitor.devices.piix3_ide.spec import Command, Status

BLOCKS = 400
CONFIG = 0x8000_0900  # configuration address of QEMU's function, 00:01.1
POLLS = 1_000_000
NAMES = slice(8, 36)  # of INQUIRY's answer
LIMITS = (0, 512, 1024, 2048, 8192, 0xFFFE)
WITHOUT_DATA = (
    Packet.TEST_UNIT_READY, Packet.START_STOP_UNIT, Packet.PREVENT_ALLOW, Packet.SEEK_10,
    Packet.SET_CD_SPEED,
)  # fmt: skip
CODES = tuple(int(code) for code in Packet if code != Packet.MODE_SELECT_10)
UNKNOWN = (0x0A, 0x42)


class Asked(NamedTuple):
    """A packet, and the byte count that goes with it."""

    packet: bytes
    limit: int


class Answer(NamedTuple):
    """Status, Error and Interrupt Reason at the end, and pieces: byte count, reason, data."""

    registers: tuple[int, ...]
    pieces: list[tuple[int, int, bytes]]


class Pair:
    """`rig` is ours, `qtest` QEMU."""

    def __init__(self, rig: Rig, qtest: Qtest) -> None:
        self.rig, self.qtest = rig, qtest

    def ours(self, asked: Asked) -> Answer:
        self.rig.packet(*asked.packet, limit=asked.limit)
        pieces = []
        while self.rig.read(CONTROL[SECONDARY]) & Status.DRQ:
            count, reason = self.rig.read(SECONDARY + 4, 2), self.rig.read(SECONDARY + 2) & 7
            data = self.rig.read_string(SECONDARY, 2, (count + 1) // 2)
            pieces.append((count, reason, without_names(asked, data[:count])))
        registers = (self.rig.read(SECONDARY + offset) for offset in (7, 1, 2))
        return Answer(tuple(registers), pieces)

    def theirs(self, asked: Asked) -> Answer:
        qtest, limit = self.qtest, asked.limit
        registers = ((6, 0xA0), (1, 0), (4, limit & 0xFF), (5, limit >> 8), (7, Command.PACKET))
        for offset, value in registers:
            qtest.write(SECONDARY + offset, value)
        for i in range(0, PACKET_SIZE, 2):
            qtest.write(SECONDARY, int.from_bytes(asked.packet[i : i + 2], "little"), 2)
        qtest.flush()
        pieces = []
        while self._status() & Status.DRQ:
            count = qtest.inb(SECONDARY + 4) | qtest.inb(SECONDARY + 5) << 8
            reason = qtest.inb(SECONDARY + 2) & 7
            indices = [qtest.read(SECONDARY, 2) for _ in range((count + 1) // 2)]
            values = qtest.flush()
            data = b"".join(values[index].to_bytes(2, "little") for index in indices)
            pieces.append((count, reason, without_names(asked, data[:count])))
        return Answer(tuple(qtest.inb(SECONDARY + offset) for offset in (7, 1, 2)), pieces)

    def _status(self) -> int:
        """QEMU's, once it isn't busy: its disc takes time."""
        for _ in range(POLLS):
            status = self.qtest.inb(CONTROL[SECONDARY])
            if not status & Status.BSY:
                return status
        raise AssertionError("QEMU's drive stays busy")


def without_names(asked: Asked, data: bytes) -> bytes:
    """An answer without vendor, product and revision."""
    if asked.packet[0] != Packet.INQUIRY:
        return data
    return data[: NAMES.start] + bytes(len(data[NAMES]))


def random_packet(chance: random.Random) -> Asked:
    """One that means something, mostly."""
    code = chance.choice((*CODES, *UNKNOWN, *(Packet.READ_10,) * 4))
    fields = bytearray(PACKET_SIZE)
    fields[0] = code
    allowed = chance.choice((4, 8, 12, 18, 20, 36, 64, 254))
    if code in (Packet.READ_10, Packet.READ_12, Packet.READ_CD, Packet.SEEK_10):
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


class Row(NamedTuple):
    """One row of the table."""

    name: str
    matches: Callable[[Asked], bool]
    example: tuple[int, ...]
    limit: int = 0xFFFE


def of_code(code: int) -> Callable[[Asked], bool]:
    return lambda asked: asked.packet[0] == code


def byte_count_of_0(asked: Asked) -> bool:
    return asked.limit == 0 and asked.packet[0] not in WITHOUT_DATA


def toc_format(asked: Asked) -> bool:
    return asked.packet[0] == Packet.READ_TOC and asked.packet[2] != 0


def events(asked: Asked) -> bool:
    return asked.packet[0] == Packet.GET_EVENT_STATUS and asked.packet[1] & 1 != 0


def nothing_of_no_block(asked: Asked) -> bool:
    fields = asked.packet
    end = int.from_bytes(fields[2:6], "big") + fields[8]
    return fields[0] == Packet.READ_CD and not fields[9] and end > BLOCKS


ROWS = (
    Row("sense data", of_code(Packet.REQUEST_SENSE), (Packet.REQUEST_SENSE, 0, 0, 0, 18)),
    Row("byte count of 0", byte_count_of_0, (Packet.READ_10,), 0),
    Row("format of READ TOC", toc_format, (Packet.READ_TOC, 0, 1, 0, 0, 0, 0, 0, 12)),
    Row(
        "GET CONFIGURATION", of_code(Packet.GET_CONFIGURATION),
        (Packet.GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0, 64),
    ),
    Row("length of events", events, (Packet.GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8)),
    Row(
        "MODE SENSE(10)", of_code(Packet.MODE_SENSE_10),
        (Packet.MODE_SENSE_10, 0, 1, 0, 0, 0, 0, 0, 16),
    ),
    Row(
        "READ CD of nothing", nothing_of_no_block,
        (Packet.READ_CD, 0, 0, 0, 1, 0x8F, 0, 0, 2),
    ),
)  # fmt: skip


@contextlib.contextmanager
def pair(folder: Path, calls: object) -> Iterator[Pair]:
    """Both, with the same disc as the secondary channel's device 0."""
    disc = FakeDisc(BLOCKS)
    path = folder / "disc.iso"
    path.write_bytes(disc.data)
    drive = f"file={path},if=ide,index=2,format=raw,media=cdrom,readonly=on"
    with qemu(folder, ["-drive", drive]) as qtest:
        for offset, value in ((0x40, 0x8000), (0x42, 0x8000), (0x04, 0x0005)):
            qtest.write(0xCF8, CONFIG | offset & 0xFC, 4)
            qtest.write(0xCFC + (offset & 3), value, 2)
        qtest.flush()
        both = Pair(Rig([disc], calls=calls), qtest)  # type: ignore[arg-type]
        ready = Asked(bytes(PACKET_SIZE), 0)  # TEST UNIT READY
        assert both.ours(ready) == both.theirs(ready)
        yield both
