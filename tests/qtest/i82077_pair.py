"""Our floppy disk controller and QEMU's side by side: the same commands, the same results and data.

What QEMU does otherwise (see the device's page) is left out here.
"""

import ctypes
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.devices.i82077.bench import (
    FROM_MEMORY,
    ON,
    SECTOR,
    TO_MEMORY,
    Bench,
    Image,
    programmed,
)
from tests.qtest.client import Qtest, qemu
from vestige.monitor.devices.i8237.spec import Register as DmaRegister
from vestige.monitor.devices.i82077.place import PORT_FLOPPY
from vestige.monitor.devices.i82077.spec import LENGTHS, NUMBER, Command, MainStatus, Register

COMMANDS = 25  # in one sequence
BUFFER, BUFFER_SIZE = 0x2_0000, 0x1_0000  # in RAM: a page of the DMA controller's
PATIENCE = 60  # seconds that QEMU may take for a command
RESULT = MainStatus.REQUEST | MainStatus.TO_HOST | MainStatus.BUSY
SEEK_END = 0x20  # of ST0: QEMU says so, too, where a transfer ends with a cylinder
TRACK, CYLINDERS = 18, 80
IMAGES = (2880, 2880)  # sectors; the second is only read
WITH_RESULT = (
    Command.READ_DATA, Command.WRITE_DATA, Command.READ_DELETED_DATA, Command.WRITE_DELETED_DATA,
    Command.READ_TRACK, Command.VERIFY, Command.READ_ID, Command.SENSE_DRIVE_STATUS,
    Command.SENSE_INTERRUPT_STATUS, Command.DUMPREG, Command.VERSION, Command.LOCK,
)  # fmt: skip


class Pair:
    """A fresh controller of ours, and QEMU's, reset; `history` is what both were told."""

    def __init__(self, qtest: Qtest, files: Sequence[Path]) -> None:
        self.qtest, self.files = qtest, files
        self.bench = Bench([Image(IMAGES[0]), Image(IMAGES[1], read_only=True)])
        self.buffer = ctypes.addressof(self.bench.ram) + BUFFER
        for path, image in zip(files, self.bench.images, strict=True):
            assert image is not None
            image.data[:] = path.read_bytes()
        self.history: list[str] = []
        self.told: set[tuple[int, ...]] = set()
        self.fill(0)
        for drive in (0, 1):  # a step, so that neither shows a change
            self.reset(ON | drive | 0x20)
            self.command(Command.SEEK, drive, 1)
            self.command(Command.SENSE_INTERRUPT_STATUS)
            self.command(Command.RECALIBRATE, drive)
            self.command(Command.SENSE_INTERRUPT_STATUS)
        self.reset(ON)

    def reset(self, output: int) -> None:
        """By DOR. QEMU makes implied seeks until CONFIGURE says no."""
        self.write(PORT_FLOPPY + Register.OUTPUT, output & ~4)
        self.write(PORT_FLOPPY + Register.OUTPUT, output)
        for _ in range(4):
            self.command(Command.SENSE_INTERRUPT_STATUS)
        self.write(PORT_FLOPPY + Register.CONFIGURATION, 0)
        self.command(Command.SPECIFY, 0xDF, 2)
        self.command(Command.CONFIGURE, 0, 0x20, 0)
        self.command(Command.LOCK)
        self.command(Command.PERPENDICULAR_MODE, 0x80)

    # ---- accesses -----------------------------------------------------------------------------

    def write(self, port: int, value: int) -> None:
        """To both."""
        self.history.append(f"{port:#x} := {value:#x}")
        self.bench.port(port, value)
        self.qtest.write(port, value)
        self.qtest.flush()

    def read(self, port: int, mask: int = 0xFF) -> None:
        """From both: the bits in `mask` are alike."""
        self.alike(f"{port:#x}", self.bench.port(port) & mask, self.qtest.inb(port) & mask)

    def alike(self, what: str, mine: object, other: object) -> None:
        """Raise AssertionError, with what came before, for a difference."""
        self.history.append(f"{what}: {mine}")
        if mine != other:
            before = "\n".join(self.history[-40:])
            raise AssertionError(f"{before}\nis {mine} here and {other} there")

    def fill(self, seed: int) -> None:
        """The same bytes into both buffers."""
        data = random.Random(seed).randbytes(BUFFER_SIZE)
        ctypes.memmove(self.buffer, data, BUFFER_SIZE)
        self.qtest.ram[BUFFER : BUFFER + BUFFER_SIZE] = data

    # ---- commands -----------------------------------------------------------------------------

    def command(self, *data: int) -> list[int]:
        """On both; the result, which is the same."""
        self.history.append(f"command {bytes(data).hex(' ')}")
        mine, other = self.bench.command(*data), theirs(self.qtest, data)
        if data[0] & NUMBER in (Command.READ_DATA, Command.WRITE_DATA):
            other[0] &= ~SEEK_END
        self.alike("result", mine, other)
        self.told.add(tuple(mine))
        return mine

    def transfer(self, mode: int, length: int, *data: int) -> None:
        """A command that moves so many bytes of the buffer, which is then alike."""
        for port, value in programmed(BUFFER, length, mode):
            self.write(port, value)
        self.command(*data)
        mine = ctypes.string_at(self.buffer, BUFFER_SIZE)
        self.alike("memory", hash(mine), hash(self.qtest.ram[BUFFER : BUFFER + BUFFER_SIZE]))
        self.read(DmaRegister.STATUS, 0x0F)
        self.write(DmaRegister.CLEAR_FLIP_FLOP, 0)

    def compare_images(self) -> None:
        """What is on the disks."""
        for number, (path, image) in enumerate(zip(self.files, self.bench.images, strict=True)):
            assert image is not None
            self.alike(f"image {number}", hash(bytes(image.data)), hash(path.read_bytes()))

    # ---- random ones --------------------------------------------------------------------------

    def any_command(self, chance: random.Random) -> None:
        """One command, or an access to a register."""
        unit, head = chance.randrange(2), chance.randrange(2)
        where = head << 2 | unit
        match chance.randrange(16):
            case 0:
                self.seek(unit, chance.randrange(CYLINDERS))
            case 1:
                self.command(Command.RECALIBRATE, unit)
                self.command(Command.SENSE_INTERRUPT_STATUS)
            case 2:
                self.seek(unit, chance.randrange(3))
                self.command(Command.SENSE_DRIVE_STATUS, where)
            case 3:
                self.command(chance.choice((Command.VERSION, 0x00, 0x1F, 0x01, 0x1B)))
            case 4:
                self.command(Command.LOCK | chance.choice((0, 0x80)))
            case 5:
                self.read(PORT_FLOPPY + Register.MAIN_STATUS)
                self.read(PORT_FLOPPY + Register.INPUT, 0x80)
            case 6:
                self.seek(unit, chance.randrange(CYLINDERS))
                bits = chance.choice((0x0C, 0x3C)) | unit
                self.write(PORT_FLOPPY + Register.OUTPUT, bits)
                self.read(PORT_FLOPPY + Register.OUTPUT)
            case 7:
                self.command(Command.SENSE_INTERRUPT_STATUS)
            case 8:
                self.step(unit, chance.choice((0x8F, 0xCF)), chance.randrange(CYLINDERS // 2))
            case 9:
                self.read_track(chance, unit, head)
            case 10 | 11:
                self.read_or_write(chance, 0, head, Command.WRITE_DATA)
            case _:
                self.read_or_write(chance, unit, head, Command.READ_DATA)

    def seek(self, unit: int, cylinder: int) -> None:
        """SEEK, and what it has done."""
        self.command(Command.SEEK, unit, cylinder)
        self.command(Command.SENSE_INTERRUPT_STATUS)

    def step(self, unit: int, code: int, distance: int) -> None:
        """RELATIVE SEEK, in the half of the disk where it ends on it."""
        self.seek(unit, CYLINDERS // 2)
        self.command(code, unit, distance)
        self.command(Command.SENSE_INTERRUPT_STATUS)

    def read_track(self, chance: random.Random, unit: int, head: int) -> None:
        """READ TRACK, of so many sectors as the count has."""
        cylinder, count = chance.randrange(CYLINDERS), chance.randrange(1, TRACK)
        self.seek(unit, cylinder)
        self.fill(chance.getrandbits(32))
        named = (cylinder, head, 1, 2, TRACK, 0x1B, 0xFF)
        byte = 0x40 | Command.READ_TRACK
        self.transfer(TO_MEMORY, count * SECTOR, byte, head << 2 | unit, *named)

    def read_or_write(self, chance: random.Random, unit: int, head: int, code: Command) -> None:
        """Sectors of a cylinder, up to both heads', whole ones; the count ends with the last."""
        cylinder = chance.randrange(CYLINDERS)
        self.seek(unit, cylinder)
        first = chance.randrange(1, TRACK + 1)
        both = chance.randrange(2) if head == 0 else 0
        most = TRACK - first + 1 + TRACK * both
        count = chance.randrange(1, most + 1)
        if both and count <= TRACK - first + 1:
            both = 0
        mode = TO_MEMORY if code == Command.READ_DATA else FROM_MEMORY
        self.fill(chance.getrandbits(32))
        skip = chance.choice((0, 0x20)) if code == Command.READ_DATA else 0
        named = (cylinder, head, first, 2, TRACK, 0x1B, 0xFF)
        byte = 0x40 | both << 7 | skip | code
        self.transfer(mode, count * SECTOR, byte, head << 2 | unit, *named)


def theirs(qtest: Qtest, data: Sequence[int]) -> list[int]:
    """A command of QEMU's, and its result."""
    for byte in data:
        qtest.write(PORT_FLOPPY + Register.DATA, byte)
    qtest.flush()
    length = LENGTHS[data[0] & NUMBER]
    wanted = data[0] & NUMBER in WITH_RESULT or len(data) < max(length, 1) or length == 0
    end = time.monotonic() + PATIENCE
    while wanted and qtest.inb(PORT_FLOPPY + Register.MAIN_STATUS) != RESULT:
        if time.monotonic() > end:
            raise TimeoutError(f"QEMU has no result of {bytes(data).hex(' ')}")
    answer = []
    while qtest.inb(PORT_FLOPPY + Register.MAIN_STATUS) == RESULT:
        answer.append(qtest.inb(PORT_FLOPPY + Register.DATA))
    return answer


@contextmanager
def started(folder: Path) -> Iterator[tuple[Qtest, list[Path]]]:
    """QEMU's pc with two drives, and the files of their disks."""
    files = [folder / f"floppy-{number}.img" for number in range(len(IMAGES))]
    for path, sectors in zip(files, IMAGES, strict=True):
        path.write_bytes(bytes(Image(sectors).data))
    drives = []
    for number, path in enumerate(files):
        words = f"if=floppy,index={number},format=raw,cache=unsafe,file={path}"
        drives += ["-drive", words + (",readonly=on" if number else "")]
    with qemu(folder, drives, running=True) as qtest:
        yield qtest, files
