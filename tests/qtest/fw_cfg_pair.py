"""Our fw_cfg and QEMU's side by side: the same items, the same accesses, the same answers and RAM.

The items are QEMU's own. What QEMU does otherwise (see the device's page) is left out here.
"""

import ctypes
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.qtest.client import IO_SUFFIX, RAM_SIZE, Qtest
from vestige.abi import PORT_FW_CFG, PORT_FW_CFG_DMA, FirmwareKey
from vestige.host.firmware.fw_cfg import ARCHITECTURE, OWN_KEYS, region
from vestige.monitor.devices.fw_cfg.model import FwCfg
from vestige.monitor.devices.fw_cfg.spec import Control

STEPS = 40  # in one sequence
LOW_END, HIGH_START = 64 << 10, RAM_SIZE - 0x100  # of the RAM that is used, and looked at
DATA = PORT_FW_CFG + 1
LOWER_HALF = PORT_FW_CFG_DMA + 4
PORTS = (*range(PORT_FW_CFG, PORT_FW_CFG + 2), *range(PORT_FW_CFG_DMA, PORT_FW_CFG_DMA + 8))
ENTRY_SIZE = 64  # bytes of the directory
MOST = 4096  # bytes of an item without a name, which is taken with the zeroes behind it
OUTSIDE = (0x200_0000, 1 << 32, 1 << 63)  # no RAM, and none of a device's registers
STRUCTURES = (0, 0x10, 0x23, 0x1000, RAM_SIZE - 16, RAM_SIZE - 15, RAM_SIZE - 4)
LENGTHS = (0, 1, 2, 5, 16, 100, 5000)
LAST_TARGET = LOW_END - max(LENGTHS)


@dataclass(frozen=True)
class Access:
    """One access to ports; `value` None reads."""

    port: int
    size: int
    value: int | None

    def __str__(self) -> str:
        """As in a log."""
        if self.value is None:
            return f"read {self.size} at {self.port:#x}"
        return f"{self.size} at {self.port:#x} := {self.value:#x}"


@dataclass(frozen=True)
class Store:
    """The driver writes to RAM."""

    address: int
    data: bytes

    def __str__(self) -> str:
        """As in a log."""
        return f"RAM {self.address:#x} := {self.data.hex()}"


Step = Access | Store


# ---- sequences ---------------------------------------------------------------------------------


def swapped(value: int) -> int:
    """What a little-endian CPU writes to a big-endian register of 32 bits."""
    return int.from_bytes(value.to_bytes(4, "big"), "little")


def start_at(address: int) -> Iterator[Step]:
    """Have the operation done whose structure is at an address in RAM."""
    if address >> 32:
        yield Access(PORT_FW_CFG_DMA, 4, swapped(address >> 32))
    yield Access(LOWER_HALF, 4, swapped(address & 0xFFFF_FFFF))


def operation(at: int, control: int, length: int, target: int) -> list[Step]:
    """Tell an operation, and have it done."""
    structure = struct.pack(">IIQ", control, length, target)
    return [Store(at, structure[: RAM_SIZE - at]), *start_at(at)]


def select(key: int) -> Access:
    """Write the selector."""
    return Access(PORT_FW_CFG, 2, key)


def sequence(chance: random.Random, keys: list[int]) -> list[Step]:
    """Random accesses and operations."""
    steps: list[Step] = []
    while len(steps) < STEPS:
        steps += some(chance, keys)
    return steps


def some(chance: random.Random, keys: list[int]) -> list[Step]:
    """A few steps that belong together."""
    key = chance.choice(keys) | chance.choice((0, 0, 0, 0x4000))
    match chance.randrange(8):
        case 0:
            return [select(key)]
        case 1:
            return [Access(DATA, 1, None)] * chance.randrange(1, 9)
        case 2:
            size = chance.choice((1, 2, 4))
            return [Access(chance.randrange(DATA, LOWER_HALF + 5 - size), size, None)]
        case 3:
            return [ignored(chance)]
        case 4:
            return list(start_at(chance.choice(OUTSIDE)))
        case _:
            control = chance.choice((key << 16 | Control.SELECT, 0))
            control |= chance.choice((2, 2, 2, 4, 4, 0x10, chance.randrange(1 << 16)))
            target = chance.choice((*OUTSIDE, *[chance.randrange(LAST_TARGET)] * 6))
            at = chance.choice(STRUCTURES)
            return operation(at, control, chance.choice(LENGTHS), target)


def ignored(chance: random.Random) -> Step:
    """A write that no register takes: a byte, or a word but to the selector."""
    size = chance.choice((1, 2))
    port = chance.choice([port for port in PORTS if size == 1 or port > PORT_FW_CFG])
    return Access(port, size, chance.randrange(1 << 8 * size))


# ---- QEMU's ------------------------------------------------------------------------------------


def theirs(qemu: Qtest, steps: list[Step]) -> list[int]:
    """QEMU's answers; a write's is 0."""
    for step in steps:
        if isinstance(step, Store):
            qemu.send(f"write {step.address:#x} {len(step.data)} 0x{step.data.hex()}")
        elif step.value is None:
            qemu.send(f"in{IO_SUFFIX[step.size]} {step.port:#x}")
        else:
            qemu.send(f"out{IO_SUFFIX[step.size]} {step.port:#x} {step.value:#x}")
    return qemu.flush()


def item(qemu: Qtest, key: int, size: int) -> bytes:
    """The first bytes of QEMU's item."""
    theirs(qemu, operation(0, key << 16 | Control.SELECT | Control.READ, size, 0x1000))
    return qemu.ram[0x1000 : 0x1000 + size]


def directory(qemu: Qtest) -> dict[str, tuple[int, int]]:
    """QEMU's files: key and size by name."""
    count = int.from_bytes(item(qemu, FirmwareKey.FILE_DIRECTORY, 4), "big")
    entries = item(qemu, FirmwareKey.FILE_DIRECTORY, 4 + ENTRY_SIZE * count)[4:]
    return {
        name.rstrip(b"\0").decode(): (key, size)
        for size, key, name in struct.iter_unpack(">IH2x56s", entries)
    }


def items(qemu: Qtest) -> tuple[dict[str, bytes], dict[int, bytes]]:
    """Everything that QEMU has: files by name, other items by key."""
    files = {name: item(qemu, *entry) for name, entry in directory(qemu).items()}
    keys = [*range(FirmwareKey.FIRST_FILE), *range(ARCHITECTURE, ARCHITECTURE + 5)]
    others = {key: item(qemu, key, MOST).rstrip(b"\0") for key in keys if key not in OWN_KEYS}
    return files, {key: data for key, data in others.items() if data}


# ---- ours --------------------------------------------------------------------------------------


class Ours:
    """Our device with these items, and its RAM."""

    def __init__(self, files: dict[str, bytes], others: dict[int, bytes]) -> None:
        self.ram = bytearray(RAM_SIZE)
        self.items = ctypes.create_string_buffer(bytes(region(files, others)))
        self.fw_cfg = FwCfg(items=ctypes.addressof(self.items))
        self.fw_cfg.ram.low = ctypes.addressof(ctypes.c_uint8.from_buffer(self.ram))
        self.fw_cfg.ram.low_size = RAM_SIZE

    def answers(self, steps: list[Step]) -> list[int]:
        """Our answers; a write's is 0."""
        return [self.do(step) for step in steps]

    def do(self, step: Step) -> int:
        """One step, cut as the bus does it."""
        if isinstance(step, Store):
            self.ram[step.address : step.address + len(step.data)] = step.data
            return 0
        offset = step.port - PORT_FW_CFG
        access: Callable[[int, int, int | None], int] = self.access
        if step.size == 1 or (offset >= 0 and self.fw_cfg.takes_whole(offset, step.size)):
            return access(step.port, step.size, step.value)
        value = (step.value or 0).to_bytes(step.size, "little")
        parts = [
            access(step.port + i, 1, None if step.value is None else value[i])
            for i in range(step.size)
        ]
        return int.from_bytes(bytes(parts), "little")

    def access(self, port: int, size: int, value: int | None) -> int:
        """One access to the model, if it has the port."""
        if port not in PORTS:
            return 0xFF if value is None else 0
        if value is None:
            return self.fw_cfg.read(port - PORT_FW_CFG, size, 0)
        self.fw_cfg.write(port - PORT_FW_CFG, size, value, 0)
        return 0


def compare(qemu: Qtest, ours: Ours, steps: list[Step]) -> str | None:
    """Both from the same start through the same steps; their first difference in words."""
    everything = [select(FirmwareKey.SIGNATURE), *steps]
    for ram in (qemu.ram, ours.ram):
        ram[:LOW_END] = bytes(LOW_END)
        ram[HIGH_START:] = bytes(RAM_SIZE - HIGH_START)
    pairs = zip(ours.answers(everything), theirs(qemu, everything), strict=True)
    for index, (mine, other) in enumerate(pairs):
        if mine != other:
            log = "; ".join(map(str, everything[: index + 1]))
            return f"{log}: ours {mine:#x}, QEMU's {other:#x}"
    for start, end in ((0, LOW_END), (HIGH_START, RAM_SIZE)):
        if ours.ram[start:end] != qemu.ram[start:end]:
            first = next(n for n in range(start, end) if ours.ram[n] != qemu.ram[n])
            return f"{'; '.join(map(str, everything))}: RAM differs from {first:#x} on"
    return None
