"""Configuration space of a PC's own PCI functions, ours and QEMU's: the same accesses, one answer.

A register is compared in those bits that both let a guest write, or neither: of the others, the
devices' pages say why. QEMU takes all beyond the header for writable, which a test shows.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.qtest.client import Qtest
from vestige.abi import Board, Config
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.root import PciRoot
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.piix3_isa.model import IsaBridge
from vestige.monitor.devices.piix4_pm.model import PowerManagement
from vestige.monitor.devices.vga.model import Vga

ACCESSES = 60  # in one sequence
HEADER = 0x40  # bytes
COMMAND, STATUS, BAR0, BAR2, BAR4, ROM = 0x04, 0x06, 0x10, 0x18, 0x20, 0x30
WITH_FIRMWARE = Config(board=Board.PC, firmware_items=1)
# Bits that a guest may write in QEMU's header: ports, memory, bus master, SERR, INTx; the cache
# line size; the interrupt line.
THEIR_HEADER = {COMMAND: 0x07, COMMAND + 1: 0x05, 0x0C: 0xFF, 0x3C: 0xFF}
FRAME_BUFFER = {BAR0 + 3: 0xFF}
REGISTERS = {BAR2 + 1: 0xF0, BAR2 + 2: 0xFF, BAR2 + 3: 0xFF}  # 4 KiB
VGA_ROM = {ROM: 0x01, ROM + 2: 0xFF, ROM + 3: 0xFF}  # 64 KiB
BUS_MASTER_BAR = {BAR4: 0xF0, BAR4 + 1: 0xFF, BAR4 + 2: 0xFF, BAR4 + 3: 0xFF}


class Function(NamedTuple):
    """One of them; what must not be written: that would put ports where PCI's own are."""

    name: str
    slot: int
    number: int
    model: Callable[[], Any]
    config: Callable[[Any], ConfigSpace]
    their_header: dict[int, int]
    kept: dict[int, int]  # by byte: bits that are left as they are

    def make(self) -> Any:
        """Ours, as a firmware finds it."""
        model = self.model()
        model.reset()
        if hasattr(model, "configure"):
            model.configure(WITH_FIRMWARE)
        return model


FUNCTIONS = (
    Function("440FX", 0, 0, PciRoot, lambda root: root.host_bridge.config, THEIR_HEADER, {}),
    Function("PIIX3 ISA", 1, 0, IsaBridge, lambda model: model.config, THEIR_HEADER, {}),
    Function(
        "PIIX3 IDE",
        *(1, 1, Ide, lambda model: model.config),
        THEIR_HEADER | BUS_MASTER_BAR,
        {COMMAND: 1},
    ),
    Function(
        "PIIX4 PM", 1, 3, PowerManagement, lambda model: model.config, THEIR_HEADER, {0x80: 1}
    ),
    Function(
        "VGA",
        *(2, 0, Vga, lambda model: model.config),
        THEIR_HEADER | FRAME_BUFFER | REGISTERS | VGA_ROM,
        {},
    ),
)


class Pair:
    """One function, both as after their reset."""

    def __init__(self, qemu: Qtest, function: Function) -> None:
        self.qemu, self.function = qemu, function
        self.ours = function.make()
        self.log: list[str] = []

    def read(self, offset: int, size: int) -> tuple[int, int]:
        """Both answers."""
        self.select(offset)
        index = self.qemu.read(0xCFC + offset % 4, size)
        return self.ours.read_config(0, offset, size), self.qemu.flush()[index]

    def write(self, offset: int, size: int, value: int) -> None:
        """To both; QEMU has it with the next read."""
        self.select(offset)
        self.qemu.write(0xCFC + offset % 4, value, size)
        self.ours.write_config(0, offset, size, value)

    def select(self, offset: int) -> None:
        """CONFIG_ADDRESS."""
        place = self.function.slot << 11 | self.function.number << 8
        self.qemu.write(0xCF8, 1 << 31 | place | offset & 0xFC, 4)

    def theirs_writable(self, offset: int) -> int:
        """Which bits of a byte QEMU lets a guest write."""
        return 0xFF if offset >= HEADER else self.function.their_header.get(offset, 0)

    def alike(self) -> list[int]:
        """By byte, the bits to compare: writable in both, or in neither and the same."""
        config, fresh = self.function.config(self.ours), self.function.config(self.function.make())
        bits = []
        for offset in range(256):
            mine, theirs = config.writable[offset], self.theirs_writable(offset)
            answer = self.read(offset, 1)[1]
            same = ~(fresh.values[offset] ^ answer)
            bits.append(mine & theirs | ~mine & ~theirs & same & 0xFF)
        return bits

    def begin(self) -> None:
        """Write what both let be written, the same everywhere."""
        self.log.clear()
        for offset in range(0, 256, 4):
            if offset != COMMAND:
                self.write(offset, 4, 0)
        self.write(COMMAND, 2, 0)

    def sequence(self, chance: random.Random, alike: list[int]) -> str | None:
        """A random one; the first difference in words."""
        self.begin()
        for _ in range(ACCESSES):
            size = chance.choice((1, 2, 4))
            offset = chance.choice(places(alike, chance)) // size * size
            if chance.random() < 0.5:
                kept = sum(self.function.kept.get(offset + n, 0) << 8 * n for n in range(size))
                value = chance.getrandbits(8 * size) & ~kept
                self.log.append(f"{offset:#x} := {value:#x} ({size})")
                self.write(offset, size, value)
            mask = sum(alike[offset + n] << 8 * n for n in range(size))
            mine, theirs = self.read(offset, size)
            if (mine ^ theirs) & mask:
                return f"{'; '.join(self.log)}: {offset:#x} is {mine:#x}, QEMU's {theirs:#x}"
        return None


def places(alike: list[int], chance: random.Random) -> list[int]:
    """Where to go: anywhere, or where there is something to compare beyond the header."""
    if chance.random() < 0.3:
        return list(range(256))
    return [offset for offset in range(256) if alike[offset] and offset not in range(0x10)]
