"""Our VGA and QEMU's side by side: the same accesses to registers, the same answers.

What QEMU does otherwise (see the device's page) is left out here.
"""

import mmap
import random
from collections.abc import Callable, Iterator
from ctypes import addressof, c_uint8
from dataclasses import dataclass

from tests.qtest.client import Qtest
from vestige.abi import WINDOW, WINDOW_NOTHING, WINDOW_PARTS, WINDOW_RAM, WINDOW_SIZE
from vestige.devices import DEVICES
from vestige.monitor.devices.vga.model import Vga
from vestige.monitor.devices.vga.place import VGA
from vestige.monitor.devices.vga.ports_spec import (
    PORT_DISPI,
    PORT_FIRST,
    VIDEO_MEMORY,
    WINDOW_OFFSET,
    Register,
)
from vestige.monitor.devices.vga.spec import (
    CRTC_REGISTERS,
    DAC_BITS,
    FEATURE_BITS,
    FIRST_ID,
    GRAPHICS_PLACES,
    LAST_ID,
    Attribute,
    Dispi,
    Graphics,
    Sequencer,
)
from vestige.place import ROW_SHIFT
from vestige.tables import PORT_ROWS

BLOCKS = 40  # in one sequence
SHOWN = 60  # steps before a difference
ROW = DEVICES.index(VGA)
THEIR_FEATURE_BITS = 1 << 4
MEMORY_SUFFIX = {1: "b", 2: "w", 4: "l"}
LAST_SEQUENCER = 6  # the last index that is nothing with both
INDEXES = (Register.CRTC_INDEX, Register.SEQUENCER_INDEX, Register.GRAPHICS_INDEX)
BOTH_PLACES = {
    Register.CRTC_INDEX: Register.CRTC_INDEX_MONO,
    Register.CRTC_DATA: Register.CRTC_DATA_MONO,
    Register.STATUS_1: Register.STATUS_1_MONO,
}


MODES = (*Dispi, Dispi.ENABLE, Dispi.X_RESOLUTION, Dispi.Y_RESOLUTION, Dispi.BITS_PER_PIXEL)
LIKELY = {
    Dispi.ID: tuple(range(FIRST_ID, LAST_ID + 2)),
    Dispi.X_RESOLUTION: (0, 1, 7, 8, 320, 640, 1024, 1366, 1920, 2560, 4096, 15_999, 16_001),
    Dispi.BITS_PER_PIXEL: (0, 4, 8, 15, 16, 24, 32, 33),
    Dispi.ENABLE: (0, 1, 0x41, 0xC1, 0x61, 2, 3, 0x80),
    Dispi.BANK: (0, 1, 255, 256),
}


@dataclass(frozen=True)
class Access:
    """One access; `value` None reads, and the answer may differ where it isn't `compared`.

    A port from WINDOW on is an address.
    """

    port: int
    value: int | None = None
    size: int = 1
    compared: bool = True

    def __str__(self) -> str:
        """As in a log."""
        what = "read" if self.value is None else f"{self.value:#x} to"
        return f"{what} {self.port:#x}, {self.size}"


def at(register: int) -> int:
    """Its port."""
    return PORT_FIRST + register


def put(register: int, value: int) -> Access:
    """A write of a byte."""
    return Access(at(register), value)


def get(register: int) -> Access:
    """A read of a byte."""
    return Access(at(register))


def dispi_put(index: int, value: int) -> list[Access]:
    """A write of a register of DISPI's."""
    return [Access(PORT_DISPI, index, 2), Access(PORT_DISPI + 1, value, 2)]


def dispi_get(index: int) -> list[Access]:
    """A read of one."""
    return [Access(PORT_DISPI, index, 2), Access(PORT_DISPI + 1, None, 2)]


def sequencer(index: int, value: int) -> list[Access]:
    """A write of a register of the sequencer's."""
    return [put(Register.SEQUENCER_INDEX, index), put(Register.SEQUENCER_DATA, value)]


def index_next(mono: bool = False) -> Access:
    """Have the attribute controller take an index next."""
    register = Register.STATUS_1_MONO if mono else Register.STATUS_1
    return Access(at(register), compared=False)


# As a BIOS leaves the registers in graphics with planes.
GRAPHICS_BEGIN = (
    put(Register.MISCELLANEOUS, 3),
    index_next(),
    *(put(Register.ATTRIBUTE, value) for value in (Attribute.MODE, 1)),
    *sequencer(Sequencer.RESET, 3),
    *sequencer(Sequencer.MEMORY_MODE, 6),
    *(put(Register.GRAPHICS_INDEX, Graphics.MISCELLANEOUS), put(Register.GRAPHICS_DATA, 5)),
    *(put(Register.GRAPHICS_INDEX, Graphics.MODE), put(Register.GRAPHICS_DATA, 0)),
)


class Sequences:
    """Makes random sequences."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def sequence(self) -> list[Access]:
        """Random accesses of every kind; the registers are at 0x3D more often than at 0x3B."""
        kinds: list[Callable[[], Iterator[Access]]] = [
            self.indexed, self.indexed, self.wide, self.attribute, self.attribute, self.dac,
            self.dac, self.others, self.dispi, self.whatever,
        ]  # fmt: skip
        steps = [put(Register.MISCELLANEOUS, self.chance.getrandbits(8) | (self.often()))]
        for _ in range(BLOCKS):
            steps += self.chance.choice(kinds)()
        return steps

    def often(self) -> bool:
        """Two times of three."""
        return self.chance.random() < 0.7

    def byte(self) -> int:
        """Any."""
        return self.chance.getrandbits(8)

    def somewhere(self, register: Register) -> int:
        """The register, or where it is in monochrome modes."""
        return register if self.often() else BOTH_PLACES.get(register, register)

    def index_of(self, register: Register) -> int:
        """Of a register behind an index."""
        match register:
            case Register.CRTC_INDEX:
                return self.chance.randrange(CRTC_REGISTERS)
            case Register.SEQUENCER_INDEX:
                return self.byte() & ~7 | self.chance.randrange(LAST_SEQUENCER + 1)
            case _:
                return self.byte() & ~15 | self.chance.randrange(GRAPHICS_PLACES)

    def indexed(self) -> Iterator[Access]:
        """An index, and what is behind it."""
        register = self.chance.choice(INDEXES)
        index = self.somewhere(register)
        yield put(index, self.index_of(register))
        if self.often():
            yield put(index + 1, self.byte())
        yield get(index + 1)
        yield get(index)

    def wide(self) -> Iterator[Access]:
        """An index and its data, by one instruction."""
        register = self.chance.choice(INDEXES)
        index = self.somewhere(register)
        yield Access(at(index), self.index_of(register) | self.byte() << 8, 2)
        yield Access(at(index), None, 2)

    def attribute(self) -> Iterator[Access]:
        """Indexes and data by turns, from either on."""
        if self.often():
            yield index_next(not self.often())
        for _ in range(self.chance.randrange(5)):
            yield put(Register.ATTRIBUTE, self.byte())
        yield get(Register.ATTRIBUTE_DATA)
        yield index_next()
        yield index_next(mono=True)
        yield get(Register.ATTRIBUTE)

    def dac(self) -> Iterator[Access]:
        """Entries, or parts of them."""
        register = self.chance.choice((Register.DAC_READ, Register.DAC_WRITE))
        yield put(register, self.byte())
        for _ in range(self.chance.randrange(9)):
            part = self.chance.randrange(DAC_BITS + 1)
            yield put(Register.DAC_DATA, part) if self.often() else get(Register.DAC_DATA)
        yield get(Register.DAC_STATE)
        yield get(Register.DAC_WRITE)

    def others(self) -> Iterator[Access]:
        """Registers of their own."""
        yield put(Register.MISCELLANEOUS, self.byte() | self.often())
        yield get(Register.MISCELLANEOUS_READ)
        feature = self.byte() & ~(FEATURE_BITS | THEIR_FEATURE_BITS)
        yield put(self.somewhere(Register.STATUS_1), feature)
        yield get(Register.FEATURE)
        yield get(Register.STATUS_0)

    def dispi(self) -> Iterator[Access]:
        """The version, which one may ask for."""
        index = self.chance.choice((Dispi.ID, Dispi.ID, 0x0B, 0xFFFF))
        yield Access(PORT_DISPI, index, 2)
        yield Access(PORT_DISPI, None, 2)
        if index == Dispi.ID:
            yield Access(PORT_DISPI + 1, FIRST_ID + self.chance.randrange(-1, 8), 2)
        yield Access(PORT_DISPI + self.chance.choice((1, 2)), None, 2)
        yield Access(PORT_DISPI + self.chance.randrange(3), self.byte())
        yield Access(PORT_DISPI + self.chance.randrange(3))

    def modes(self) -> list[Access]:
        """Any of DISPI's, often one that can be. Each step shows what all registers are then."""
        steps = [*dispi_put(Dispi.ENABLE, 0)]
        for _ in range(BLOCKS):
            index = self.chance.choice(MODES)
            value = self.chance.getrandbits(16)
            if self.often():
                value = self.chance.choice(LIKELY.get(index, LIKELY[Dispi.X_RESOLUTION]))
            steps += dispi_put(index, value)
            for each in (*Dispi, 0x0B):
                steps += dispi_get(each)
        return steps

    def whatever(self) -> Iterator[Access]:
        """Reads of registers that reading leaves alone."""
        for register in self.chance.choices(
            (
                *(Register.CRTC_INDEX, Register.CRTC_DATA, Register.CRTC_INDEX_MONO),
                *(Register.CRTC_DATA_MONO, Register.ATTRIBUTE_DATA, Register.SEQUENCER_INDEX),
                *(Register.SEQUENCER_DATA, Register.GRAPHICS_INDEX, Register.GRAPHICS_DATA),
                *(Register.FEATURE, Register.MISCELLANEOUS_READ, Register.DAC_STATE),
            ),
            k=4,
        ):
            yield get(register)


class PlanesSequences(Sequences):
    """Of accesses to memory, and of the registers by which the processor sees it; in graphics.

    Plane 2 alone is written and read as any: our RAM is only that of text.
    """

    def memory(self) -> list[Access]:
        """Registers seldom, memory often, so that what was written is read."""
        steps = list(GRAPHICS_BEGIN)
        kinds: list[Callable[[], Iterator[Access]]] = [
            *(self.graphics, self.graphics, self.sequencer, self.bank),
            *(self.reads, self.reads, self.writes, self.writes, self.copies, self.copies),
        ]
        for _ in range(2 * BLOCKS):
            steps += self.chance.choice(kinds)()
        return steps

    def place(self, size: int = 1) -> int:
        """An address, of few."""
        first = self.chance.choice((0, 0, 0x123, 0x8000, 0xFFF8))
        return WINDOW + first + self.chance.randrange(9 - size)

    def graphics(self) -> Iterator[Access]:
        """Any register of the graphics controller; the memory stays where it is."""
        index = self.chance.randrange(9)
        value = self.byte()
        if index == Graphics.MISCELLANEOUS:
            value = value & ~0xC | self.chance.choice((0, 4))
        if index == Graphics.MODE and self.often():
            value &= ~0x10
        yield put(Register.GRAPHICS_INDEX, index)
        yield put(Register.GRAPHICS_DATA, value)

    def sequencer(self) -> Iterator[Access]:
        """Which planes are written, and whether they are chained."""
        if self.often():
            yield from sequencer(Sequencer.MAP_MASK, self.chance.choice((15, self.byte())))
        else:
            yield from sequencer(Sequencer.MEMORY_MODE, self.chance.choice((6, 6, 14, self.byte())))

    def bank(self) -> Iterator[Access]:
        """Any, often the first, to which a write of ENABLE that begins no mode leads, too."""
        if self.chance.random() < 0.2:
            yield from dispi_put(Dispi.ENABLE, 0)
            return
        yield from dispi_put(Dispi.BANK, self.chance.choice((0, 0, 1, 63, 64, 255)))

    def size(self) -> int:
        """Of an access."""
        return self.chance.choice((1, 1, 1, 2, 4))

    def reads(self) -> Iterator[Access]:
        """One, which fills the latches."""
        size = self.size()
        yield Access(self.place(size), None, size)

    def writes(self) -> Iterator[Access]:
        """One."""
        size = self.size()
        yield Access(self.place(size), self.chance.getrandbits(8 * size), size)

    def copies(self) -> Iterator[Access]:
        """A read, a write elsewhere, and a look at what that did."""
        place = self.place()
        yield Access(self.place())
        yield Access(place, self.byte())
        yield Access(place)


class Ours:
    """Our VGA, as the bus sees it."""

    def __init__(self) -> None:
        """Just reset."""
        self.model = Vga()
        self.model.reset()
        self.memory = mmap.mmap(-1, VIDEO_MEMORY)
        self.model.dispi.memory = addressof(c_uint8.from_buffer(self.memory))
        self.ram = bytearray(WINDOW_SIZE)
        self.seen: set[int] = set()  # what was at the window, of abi's
        self.now = 0

    def run(self, steps: list[Access]) -> list[int]:
        """The answers, 0 to a write."""
        return [self.step(step) for step in steps]

    def step(self, step: Access) -> int:
        """One access: whole, or byte by byte."""
        if step.port >= WINDOW:
            return self.memory_access(step.port - WINDOW, step.size, step.value)
        offset = offset_of(step.port)
        if step.size == 2 and offset is not None and self.model.takes_whole(offset, 2):
            return self.byte(offset, 2, step.value)
        answer = 0
        for part in range(step.size):
            value = None if step.value is None else step.value >> 8 * part & 0xFF
            answer |= self.byte(offset_of(step.port + part), 1, value) << 8 * part
        return answer

    def memory_access(self, place: int, size: int, value: int | None) -> int:
        """One by the processor: to what the host shows it at the window, or to the model."""
        shown = self.model.window
        self.seen.add(min(shown, WINDOW_PARTS))
        if shown == WINDOW_NOTHING:
            return self.byte(WINDOW_OFFSET + place, size, value)
        memory: bytearray | mmap.mmap = self.ram
        if shown != WINDOW_RAM:
            memory = self.memory
            place += (shown - WINDOW_PARTS) * WINDOW_SIZE
        if value is None:
            return int.from_bytes(memory[place : place + size], "little")
        memory[place : place + size] = value.to_bytes(size, "little")
        return 0

    def byte(self, offset: int | None, size: int, value: int | None) -> int:
        """One access that the model sees."""
        if value is None:
            return 0xFF if offset is None else self.model.read(offset, size, self.now)
        if offset is not None:
            self.model.write(offset, size, value, self.now)
        return 0


def offset_of(port: int) -> int | None:
    """Of a port that is the VGA's."""
    where = PORT_ROWS[port] if port < len(PORT_ROWS) else 0
    return where & (1 << ROW_SHIFT) - 1 if where >> ROW_SHIFT == ROW else None


def run(qemu: Qtest, steps: list[Access]) -> list[int]:
    """QEMU's answers, 0 to a write."""
    for step in steps:
        if step.port >= WINDOW:
            letter = MEMORY_SUFFIX[step.size]
            how = f"read{letter}" if step.value is None else f"write{letter}"
            qemu.send(f"{how} {step.port:#x}" + ("" if step.value is None else f" {step.value:#x}"))
        elif step.value is None:
            qemu.read(step.port, step.size)
        else:
            qemu.write(step.port, step.value, step.size)
    return qemu.flush()


def compare(ours: Ours, qemu: Qtest, steps: list[Access]) -> str | None:
    """The first difference, in words."""
    answers = zip(steps, ours.run(steps), run(qemu, steps), strict=True)
    for number, (step, mine, other) in enumerate(answers):
        if step.compared and mine != other:
            log = "; ".join(map(str, steps[max(0, number - SHOWN) : number + 1]))
            return f"{log}: ours {mine:#x}, QEMU's {other:#x}"
    return None
