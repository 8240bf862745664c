"""Random sequences of accesses to an IDE, from wild register writes to whole commands."""

import random
from collections.abc import Callable, Iterator

from tests.devices.piix3_ide.rig import BUS_MASTER, CONTROL
from tests.qtest.ide_pair import BASES, SECTORS, Access, Pair
from vestige.abi import SECTOR
from vestige.monitor.devices.piix3_ide.channel import Channel, CommandProtocol
from vestige.monitor.devices.piix3_ide.spec import Command, Status

TABLE_AREA = (0x1_0000, 0x1_8000)
DATA_AREA = (0x1_8000, 0x7_0000)

PIO = (
    Command.READ_SECTORS, Command.READ_SECTORS_NO_RETRY, Command.READ_SECTORS_EXT,
    Command.WRITE_SECTORS, Command.WRITE_SECTORS_NO_RETRY, Command.WRITE_SECTORS_EXT,
    Command.READ_MULTIPLE, Command.READ_MULTIPLE_EXT,
    Command.WRITE_MULTIPLE, Command.WRITE_MULTIPLE_EXT,
    Command.READ_VERIFY, Command.READ_VERIFY_EXT, Command.SEEK,
)  # fmt: skip
DMA = (
    Command.READ_DMA, Command.READ_DMA_NO_RETRY, Command.READ_DMA_EXT,
    Command.WRITE_DMA, Command.WRITE_DMA_NO_RETRY, Command.WRITE_DMA_EXT,
)  # fmt: skip
WIDE = {command for command in Command if command.name.endswith("_EXT")}
OTHER = (
    Command.IDENTIFY_DEVICE, Command.SET_MULTIPLE_MODE, Command.SET_FEATURES,
    Command.FLUSH_CACHE, Command.FLUSH_CACHE_EXT, Command.READ_NATIVE_MAX,
    Command.READ_NATIVE_MAX_EXT, Command.EXECUTE_DEVICE_DIAGNOSTIC, Command.CHECK_POWER_MODE,
    Command.IDLE, Command.IDLE_IMMEDIATE, Command.STANDBY, Command.STANDBY_IMMEDIATE,
    Command.SLEEP, Command.RECALIBRATE, Command.INITIALIZE_DEVICE_PARAMETERS,
)  # fmt: skip
CONFIG_READS = (0x00, 0x04, 0x08, 0x0A, 0x0E, 0x20, 0x40, 0x42)


class Sequence:
    """A generator of accesses; it looks at our model to know how far a command is."""

    def __init__(self, both: Pair, seed: int) -> None:
        self.both, self.random = both, random.Random(seed)

    # ---- parts ----------------------------------------------------------------------------

    def prologue(self) -> Iterator[Access]:
        """A state both sides can be brought to by the guest, whatever went before."""
        for number, base in enumerate(BASES):
            yield from self.end_dma(number)
            yield from self.end_pio(number)
            yield Access("write", BUS_MASTER + 8 * number, 1, 0)
            yield Access("write", base + 6, 1, 0xE0)
            yield Access("write", CONTROL[base], 1, 0x06)
            yield Access("write", CONTROL[base], 1, 0x02)
            yield Access("read", base + 7)
            for device in (0xE0, 0xF0) if number == 0 else (0xE0,):
                yield Access("write", base + 6, 1, device)
                for offset in (1, 2, 3, 4, 5):
                    yield Access("write", base + offset, 1, 0)
                    yield Access("write", base + offset, 1, 0)
                yield Access("write", base + 2, 1, 16)
                yield Access("write", base + 7, 1, Command.SET_MULTIPLE_MODE)
                yield Access("write", base + 1, 1, 0x02)
                yield Access("write", base + 7, 1, Command.SET_FEATURES)
                yield Access("read", base + 7)
            yield Access("write", base + 6, 1, 0xE0)
            yield Access("write", CONTROL[base], 1, 0x00)
            yield Access("write", BUS_MASTER + 8 * number + 2, 1, 0x06)

    def end_dma(self, number: int) -> Iterator[Access]:
        """Let a DMA command that still waits have all it wants."""
        channel = self.both.channel(number)
        if channel.protocol not in (CommandProtocol.DMA_IN, CommandProtocol.DMA_OUT):
            return
        lowest, _ = DATA_AREA
        lengths = [0x8000] * (channel.remaining * SECTOR // 0x8000 + 1)
        yield from self.start(number, self.put_table([(lowest, length) for length in lengths]))

    def end_pio(self, number: int) -> Iterator[Access]:
        """Let a PIO command have all its data."""
        channel, base = self.both.channel(number), BASES[number]
        while wants_data(channel):
            left = channel.end - channel.position
            if channel.protocol == CommandProtocol.PIO_IN:
                yield Access("read_string", base, 2, left // 2)
            else:
                yield Access("write_string", base, 2, data=bytes(left))

    def body(self) -> Iterator[Access]:
        """Some steps on one channel, mostly."""
        for _ in range(self.random.randint(2, 8)):
            number = 0 if self.random.random() < 0.7 else 1
            yield from self.random.choices(STEPS, WEIGHTS)[0](self, number)

    # ---- steps ----------------------------------------------------------------------------

    def wild_access(self, number: int) -> Iterator[Access]:
        """Any register, any value."""
        base = BASES[number]
        if self.random.random() < 0.5:
            yield Access("read", base + self.random.randrange(1, 8), self.size())
            return
        values = (0, 1, 2, 0x50, 0xA0, 0xE0, 0xF0, 0xFF, self.random.getrandbits(32))
        size = self.size()
        value = self.random.choice(values) & ((1 << 8 * size) - 1)
        # A wide write that ends below the command register: what that gets, wild_command says.
        yield Access("write", base + self.random.randrange(1, 8 - size), size, value)

    def wild_command(self, number: int) -> Iterator[Access]:
        """Any command code with whatever the registers hold."""
        yield Access("write", BASES[number] + 7, 1, self.byte())
        yield from self.look(number)

    def control(self, number: int) -> Iterator[Access]:
        """Device Control: nIEN, HOB; or Alternate Status."""
        if self.random.random() < 0.5:
            yield Access("read", CONTROL[BASES[number]], self.size())
        value = self.random.choice((0x00, 0x02, 0x08, 0x80, 0x82, 0x88))
        yield Access("write", CONTROL[BASES[number]], 1, value)
        yield from self.look(number)

    def software_reset(self, number: int) -> Iterator[Access]:
        """SRST on and off, with or without interrupts enabled."""
        nien = self.random.choice((0, 2, 2, 2))
        yield Access("write", CONTROL[BASES[number]], 1, 0x04 | nien)
        if self.random.random() < 0.1:
            yield Access("read", BASES[number] + self.random.randrange(1, 8))
        yield Access("write", CONTROL[BASES[number]], 1, nien)
        yield from self.look(number)

    def bus_master(self, number: int) -> Iterator[Access]:
        """Bus master registers, any value."""
        port = BUS_MASTER + 8 * number + self.random.choice((0, 2, 2, 4, 5, 6, 7, 1, 3))
        if self.random.random() < 0.5:
            yield Access("read", port, self.size())
        else:
            value = self.random.choice((0, 1, 4, 6, 8, 9, 0x60, 0x66, self.byte()))
            yield Access("write", port, 4 if port & 7 == 4 else 1, value)

    def configuration(self, _number: int) -> Iterator[Access]:
        """Configuration space: identity, BAR sizing, timing."""
        offset = self.random.choice(CONFIG_READS)
        yield Access("read_config", offset, self.random.choice((1, 2)))
        if self.random.random() < 0.3:
            yield Access("write_config", 0x20, 4, 0xFFFF_FFFF)
            yield Access("read_config", 0x20, 2)
            yield Access("write_config", 0x20, 4, BUS_MASTER)
        if self.random.random() < 0.3:
            yield Access("write_config", 0x40, 2, self.random.choice((0x8000, 0xA307, 0x0000)))

    def pio_command(self, number: int) -> Iterator[Access]:
        """A command with sectors, and its data if it comes to that."""
        code = self.random.choice(PIO)
        yield from self.load(number, code, self.random.choice((1, 1, 2, 3, 5, 16, 17, 33)))
        yield from self.look(number)
        yield from self.data(number)

    def other_command(self, number: int) -> Iterator[Access]:
        """A command without sectors."""
        code = self.random.choice(OTHER)
        features = self.random.choice((0x02, 0x03, 0x55, 0x66, 0x82, 0xAA, 0xCC, 0x05, 0x99))
        count = self.random.choice((0, 1, 2, 3, 4, 8, 16, 32, 0x0C, 0x22, 0x45, 0x10))
        yield from self.load(number, code, count, features)
        yield from self.look(number)
        yield from self.data(number)

    def data(self, number: int) -> Iterator[Access]:
        """Go on with what wants PIO data; sometimes give up early."""
        channel, base = self.both.channel(number), BASES[number]
        for _ in range(40):
            if not wants_data(channel):
                break
            size = self.random.choice((2, 2, 2, 4))
            left = (channel.end - channel.position) // size
            count = left if self.random.random() < 0.8 else self.random.randint(1, left or 1)
            if channel.protocol == CommandProtocol.PIO_IN:
                yield Access("read_string", base, size, count)
            else:
                yield Access("write_string", base, size, data=self.random.randbytes(count * size))
            if self.random.random() < 0.6:
                yield Access("read", base + 7)
            if self.random.random() < 0.1:
                break
        if self.random.random() < 0.1:
            yield Access("read", base, self.random.choice((1, 2, 4)))
        yield from self.look(number)

    def dma_command(self, number: int) -> Iterator[Access]:
        """A DMA command with a table for it; the bus master starts before or after."""
        code = self.random.choice(DMA)
        count = self.random.choice((1, 1, 2, 3, 7, 16, 64, 128, 256))
        table = self.table(count * SECTOR)
        start = list(self.start(number, table, to_memory=code in DMA[:3]))
        before = self.random.random() < 0.3
        if before:
            yield from start
        yield from self.load(number, code, count)
        if not before:
            yield from self.look(number)
            yield from start
        yield from self.look(number)
        if self.random.random() < 0.9:
            yield Access("write", BUS_MASTER + 8 * number, 1, 0)
        yield from self.look(number)

    def start(self, number: int, table: int, *, to_memory: bool = True) -> Iterator[Access]:
        """Program the bus master as a driver does."""
        base = BUS_MASTER + 8 * number
        yield Access("write", base, 1, 8 * to_memory)
        yield Access("write", base + 4, 4, table)
        yield Access("write", base + 2, 1, self.random.choice((0x06, 0x66)))
        yield Access("write", base, 1, 8 * to_memory | 1)

    def table(self, length: int) -> int:
        """Put a table of `length` bytes, or a little more or less, into both RAMs."""
        length += self.random.choice((0, 0, 0, 0, 0, 0, 0, 512, 6, -2, -512))
        regions: list[tuple[int, int]] = []
        limit = self.random.choice((0x1_0000,) * 6 + (4096, 1024, 512, 100) * 3 + (2,))
        lowest, highest = DATA_AREA
        while length > 0 and len(regions) < 520:
            piece = min(length, max(2, self.random.randint(1, limit) & ~1))
            if self.random.random() < 0.5:
                piece = min(length, limit)
            regions.append((self.random.randrange(lowest, highest - piece, 2), piece))
            length -= piece
        if length > 0:
            regions += [(lowest, 0xFFFE)] * (length // 0xFFFE) + [(lowest, length % 0xFFFE)]
        if regions and self.random.random() < 0.05:
            change = self.random.choice(((0xF000_0000, 0x200), (lowest + 1, 0x200)))
            regions[self.random.randrange(len(regions))] = change
        return self.put_table([region for region in regions if region[1]] or [(lowest, 2)])

    def put_table(self, regions: list[tuple[int, int]]) -> int:
        """Write a table into both RAMs; its address."""
        address = self.random.randrange(*TABLE_AREA, 0x1000)
        data = b""
        for i, (start, length) in enumerate(regions):
            end = (i == len(regions) - 1) << 31
            word = length & 0xFFFE | end
            data += start.to_bytes(4, "little") + word.to_bytes(4, "little")
        self.both.poke(address, data)
        return address

    # ---- pieces ---------------------------------------------------------------------------

    def load(self, number: int, code: Command, count: int, features: int = 0) -> Iterator[Access]:
        """Load the registers for a command, by LBA or CHS, and write it."""
        base = BASES[number]
        device = self.random.choice((0xE0, 0xE0, 0xF0, 0xA0, 0xB0) if number == 0 else (0xE0, 0xA0))
        if device & 0x40:
            lba = self.random.choice((0, 1, 5, self.random.randrange(SECTORS), SECTORS - 1))
            if self.random.random() < 0.8:
                lba = max(0, min(lba, SECTORS - count))
            values = [lba & 0xFF, lba >> 8, 0]
        else:
            values = [self.random.randrange(1, 64), self.random.randrange(2), 0]
            device |= self.random.randrange(16)
        yield Access("write", base + 6, 1, device)
        yield Access("write", base + 1, 1, features)
        if code in WIDE:
            yield Access("write", base + 2, 1, count >> 8)
            for offset in (3, 4, 5):
                yield Access("write", base + offset, 1, 0)
        for offset, value in zip((2, 3, 4, 5), (count & 0xFF, *values), strict=True):
            yield Access("write", base + offset, 1, value)
        yield Access("write", base + 7, 1, code)

    def look(self, number: int) -> Iterator[Access]:
        """Read what a driver, or a curious guest, reads after a command."""
        base = BASES[number]
        for port in (CONTROL[base], BUS_MASTER + 8 * number + 2, base + 7):
            if self.random.random() < 0.7:
                yield Access("read", port)
        if self.random.random() < 0.2:
            for offset in range(1, 8):
                yield Access("read", base + offset)
        if self.random.random() < 0.05:
            yield Access("write", CONTROL[base], 1, 0x80)
            for offset in range(1, 7):
                yield Access("read", base + offset)
            yield Access("write", CONTROL[base], 1, 0x00)

    def size(self) -> int:
        """Nearly always a byte."""
        return self.random.choice((1,) * 18 + (2, 4))

    def byte(self) -> int:
        return self.random.randrange(256)


def wants_data(channel: Channel) -> bool:
    """Whether PIO data is to be moved now."""
    drive = channel.drives[channel.selected]
    pio = channel.protocol in (CommandProtocol.PIO_IN, CommandProtocol.PIO_OUT)
    return pio and bool(drive.status & Status.DRQ)


Step = Callable[[Sequence, int], Iterator[Access]]
STEPS: tuple[Step, ...] = (
    Sequence.wild_access, Sequence.wild_command, Sequence.control, Sequence.software_reset,
    Sequence.bus_master, Sequence.configuration, Sequence.pio_command, Sequence.other_command,
    Sequence.dma_command,
)  # fmt: skip
WEIGHTS = (10, 4, 2, 1, 4, 1, 10, 8, 10)
