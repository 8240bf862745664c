"""Our drive for discs and QEMU's, side by side: each packet goes to both, by PIO or by DMA.

What random sequences ask is in packet_sequences.py, where the two differ in packet_rows.py.
"""

import contextlib
import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.devices.piix3_ide.rig import BUS_MASTER, CONTROL, SECONDARY, FakeDisc, Rig
from tests.qtest.client import Qtest, qemu
from vestige.abi import SECTOR
from vestige.monitor.devices.piix3_ide.channel import CommandProtocol
from vestige.monitor.devices.piix3_ide.packet_spec import (
    BLOCK,
    PACKET_SIZE,
    Packet,
    PacketFeature,
    Reason,
)
from vestige.monitor.devices.piix3_ide.spec import Command, Control, Status

BLOCKS = 400
CONFIG = 0x8000_0900  # configuration address of QEMU's function, 00:01.1
MASTER = BUS_MASTER + 8  # the secondary channel's part
IRQ = 15
START, CLEAR = 0x09, 0x06  # bus master: towards memory; its status
RESETS = {
    "device": ((SECONDARY + 7, int(Command.DEVICE_RESET)),),
    "software": tuple(
        (CONTROL[SECONDARY], int(value)) for value in (Control.SRST | Control.NIEN, Control.NIEN)
    ),
}
REGISTERS = (7, 1, 2, 3, 4, 5, 6)  # reading Status first
POLLS = 10_000  # of a QEMU that isn't busy
PATIENCE = 60  # seconds for a read of QEMU's, on a machine that may be busy
NAMES = slice(8, 36)  # of INQUIRY's answer
TABLE, DATA, END = 0x1_0000, 0x2_0000, 0x7_0000  # in both RAMs
UNTOUCHED = 0xA5
NO_RAM = 0xF000_0000


class Dma(NamedTuple):
    """How the bus master is told of a packet's data."""

    piece: int  # bytes of a region of its table
    early: bool = False  # it is started before the packet; for reads of blocks alone
    slack: int = 0  # bytes that the table has more than the data
    outside: bool = False  # the first region is no RAM


class Asked(NamedTuple):
    """A packet, the byte count that goes with it, and how its data moves."""

    packet: bytes
    limit: int
    dma: Dma | None = None
    words: int = 1 << 16  # that the host takes by PIO …
    reset: str = ""  # … before one of RESETS


class Told(NamedTuple):
    """A command that is no packet."""

    code: int
    features: int = 0
    sectors: int = 0


class Answer(NamedTuple):
    """Registers at the end, pieces (byte count, reason, data), interrupts, bus-master status."""

    registers: tuple[int, ...]
    pieces: list[tuple[int, int, bytes]]
    edges: int
    level: bool
    bus_master: int


class Pair:
    """`rig` is ours, `qtest` QEMU."""

    def __init__(self, rig: Rig, qtest: Qtest) -> None:
        self.rig, self.qtest = rig, qtest
        self.regions: list[tuple[int, int]] = []  # of the latest table
        self.alternate = 0  # our Alternate Status when our side was done

    def both(self, asked: Asked | Told) -> tuple[Answer, Answer]:
        """Ours and QEMU's, and no other memory of the two may differ then."""
        ours, theirs = self.ours(asked), self.theirs(asked)
        if isinstance(asked, Asked) and asked.dma:
            self._wipe()
            assert self.rig.memory[TABLE:END] == self.qtest.ram[TABLE:END]
        return ours, theirs

    # ---- ours -----------------------------------------------------------------------------

    def ours(self, asked: Asked | Told) -> Answer:
        rig = self.rig
        rig.edges = [0, 0]
        pieces: list[tuple[int, int, bytes]] = []
        bus_master = 0
        if isinstance(asked, Told):
            rig.command(
                asked.code,
                count=asked.sectors,
                features=asked.features,
                base=SECONDARY,
                device=0xA0,
            )
        elif asked.dma is None:
            rig.packet(*asked.packet, limit=asked.limit)
            pieces = self._our_pieces(asked)
        else:
            self._ask_ours_by_dma(asked, asked.dma)
            bus_master = rig.bus_master_status(1)
            rig.write(MASTER, 0)
            pieces = [(0, 0, without_names(asked, self._data(rig.memory)))]
        if isinstance(asked, Asked) and asked.reset:
            rig.status(SECONDARY)  # a reset ends an interrupt, and QEMU's doesn't
            for port, value in RESETS[asked.reset]:
                rig.write(port, value)
        self.alternate = rig.read(CONTROL[SECONDARY])
        level = bool(rig.ide.channels[1].line.level)
        registers = shown(asked, [rig.read(SECONDARY + offset) for offset in REGISTERS])
        rig.write(CONTROL[SECONDARY], 0)
        return Answer(registers, pieces, rig.edges[1], level, bus_master)

    def _our_pieces(self, asked: Asked) -> list[tuple[int, int, bytes]]:
        rig, left, pieces = self.rig, asked.words, []
        while rig.read(CONTROL[SECONDARY]) & Status.DRQ and left:
            count, reason = rig.read(SECONDARY + 4, 2), rig.read(SECONDARY + 2) & 7
            words = min(left, (count + 1) // 2)
            data = rig.read_string(SECONDARY, 2, words)
            pieces.append((count, reason, without_names(asked, data[:count])))
            left -= words
        return pieces

    def _ask_ours_by_dma(self, asked: Asked, dma: Dma) -> None:
        rig = self.rig
        if dma.early:
            self._make_table(blocks_of(asked.packet) * BLOCK, dma)
            rig.start_dma(TABLE, to_memory=True, channel=1)
        rig.packet(*asked.packet, features=PacketFeature.DMA, limit=asked.limit)
        if not dma.early:
            channel = rig.ide.channels[1]
            blocks = channel.protocol == CommandProtocol.DMA_IN
            self._make_table(channel.remaining * SECTOR if blocks else channel.filled, dma)
            rig.start_dma(TABLE, to_memory=True, channel=1)

    # ---- QEMU's ---------------------------------------------------------------------------

    def theirs(self, asked: Asked | Told) -> Answer:
        """After `ours`, which made the table."""
        qtest = self.qtest
        qtest.interrupts.clear()
        pieces: list[tuple[int, int, bytes]] = []
        bus_master = 0
        if isinstance(asked, Told):
            for offset, value in ((6, 0xA0), (1, asked.features), (2, asked.sectors)):
                qtest.write(SECONDARY + offset, value)
            for offset, value in ((3, 0), (4, 0), (5, 0), (7, asked.code)):
                qtest.write(SECONDARY + offset, value)
        elif asked.dma is None:
            self._ask_theirs(asked)
            pieces = self._their_pieces(asked)
        else:
            if asked.dma.early:
                self._start()
            self._ask_theirs(asked)
            if not asked.dma.early:
                self._start()
            self._settle()
            bus_master = qtest.inb(MASTER + 2)
            qtest.write(MASTER, 0)
            pieces = [(0, 0, without_names(asked, self._data(qtest.ram)))]
        if isinstance(asked, Asked) and asked.reset:
            qtest.inb(SECONDARY + 7)
            for port, value in RESETS[asked.reset]:
                qtest.write(port, value)
        self._settle()
        level = qtest.levels.get(IRQ, False)
        registers = shown(asked, [qtest.inb(SECONDARY + offset) for offset in REGISTERS])
        qtest.write(CONTROL[SECONDARY], 0)
        return Answer(registers, pieces, qtest.interrupts.get(IRQ, 0), level, bus_master)

    def _ask_theirs(self, asked: Asked) -> None:
        qtest, limit = self.qtest, asked.limit
        features = int(PacketFeature.DMA) if asked.dma else 0
        registers = ((6, 0xA0), (1, features), (4, limit & 0xFF), (5, limit >> 8))
        for offset, value in (*registers, (7, Command.PACKET)):
            qtest.write(SECONDARY + offset, value)
        for i in range(0, PACKET_SIZE, 2):
            qtest.write(SECONDARY, int.from_bytes(asked.packet[i : i + 2], "little"), 2)
        qtest.flush()

    def _their_pieces(self, asked: Asked) -> list[tuple[int, int, bytes]]:
        qtest, left, pieces = self.qtest, asked.words, []
        while self._status() & Status.DRQ and left:
            count = qtest.inb(SECONDARY + 4) | qtest.inb(SECONDARY + 5) << 8
            reason = qtest.inb(SECONDARY + 2) & 7
            words = min(left, (count + 1) // 2)
            indices = [qtest.read(SECONDARY, 2) for _ in range(words)]
            values = qtest.flush()
            data = b"".join(values[index].to_bytes(2, "little") for index in indices)
            pieces.append((count, reason, without_names(asked, data[:count])))
            left -= words
        return pieces

    def _start(self) -> None:
        self.qtest.write(MASTER + 4, TABLE, 4)
        self.qtest.write(MASTER + 2, CLEAR)
        self.qtest.write(MASTER, START)

    def _status(self) -> int:
        """QEMU's, once it isn't busy: its disc takes time."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = self.qtest.inb(CONTROL[SECONDARY])
            if not status & Status.BSY:
                return status
        raise AssertionError("QEMU's drive stays busy")

    def _settle(self) -> None:
        """Wait until QEMU's Alternate Status is ours, or doesn't become so."""
        for _ in range(POLLS):
            if self.qtest.inb(CONTROL[SECONDARY]) == self.alternate:
                return

    # ---- memory ---------------------------------------------------------------------------

    def _make_table(self, length: int, dma: Dma) -> None:
        """The same table in both RAMs, and its regions as no drive leaves them."""
        length = max(2, length + dma.slack)
        self.regions, address = [], DATA
        while length > 0:
            piece = min(length, dma.piece)
            self.regions.append((address, piece))
            address += piece + 2  # no region touches the next
            length -= piece
        if dma.outside:
            self.regions[0] = (NO_RAM, self.regions[0][1])
        table = b""
        for i, (start, size) in enumerate(self.regions):
            end = (i == len(self.regions) - 1) << 31
            table += start.to_bytes(4, "little") + (size & 0xFFFF | end).to_bytes(4, "little")
        if address > END or TABLE + len(table) > DATA:
            raise ValueError(f"no room for {len(self.regions)} regions")
        for ram in (self.rig.memory, self.qtest.ram):
            ram[TABLE : TABLE + len(table)] = table
            ram[DATA:address] = bytes([UNTOUCHED]) * (address - DATA)

    def _data(self, ram: mmap.mmap) -> bytes:
        """What the regions hold."""
        return b"".join(ram[start : start + size] for start, size in self.regions if start < END)

    def _wipe(self) -> None:
        for ram in (self.rig.memory, self.qtest.ram):
            for start, size in self.regions:
                if start < END:
                    ram[start : start + size] = bytes(size)


def without_names(asked: Asked, data: bytes) -> bytes:
    """An answer without vendor, product and revision."""
    if asked.packet[0] != Packet.INQUIRY:
        return data
    return data[: NAMES.start] + bytes(len(data[NAMES]))


def shown(asked: Asked | Told, registers: list[int]) -> tuple[int, ...]:
    """Those that say something at the end: ATA-6 8.23.6, and 9.12 where there is a signature."""
    if isinstance(asked, Told) or asked.reset:
        return tuple(registers)
    status, error, reason = registers[:3]
    return status, error, reason & Reason.ALL  # the tag is nobody's


def blocks_of(packet: bytes) -> int:
    """How many a READ asks for."""
    return packet[9] if packet[0] == Packet.READ_12 else packet[8]


@contextlib.contextmanager
def pair(folder: Path, calls: object) -> Iterator[Pair]:
    """Both, with the same disc as the secondary channel's device 0."""
    disc = FakeDisc(BLOCKS)
    path = folder / "disc.iso"
    path.write_bytes(disc.data)
    drive = f"file={path},if=ide,index=2,format=raw,media=cdrom,readonly=on"
    with qemu(folder, ["-drive", drive]) as qtest:
        qtest.send("irq_intercept_in ioapic")
        rig = Rig([disc], calls=calls)  # type: ignore[arg-type]
        for offset, value in ((0x40, 0x8000), (0x42, 0x8000), (0x20, BUS_MASTER), (0x04, 0x0005)):
            qtest.write(0xCF8, CONFIG | offset & 0xFC, 4)
            qtest.write(0xCFC + (offset & 3), value, 2)
            rig.write_config(offset, 2, value)
        qtest.flush()
        both = Pair(rig, qtest)
        ours, theirs = both.both(Asked(bytes(PACKET_SIZE), 0))  # TEST UNIT READY
        assert ours == theirs
        yield both
