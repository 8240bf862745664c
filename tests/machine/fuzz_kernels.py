"""Damaged kernels of every format, given to the loaders: each is refused in one line, or harmless.

    python -m tests.machine.fuzz_kernels --count 20000 --seed 1

Prints the number of files and the seed; exit status 1 at a failure.
"""

import os
import random
import sys
from collections.abc import Callable

from tests.devices.fuzzing import Limit, main
from tests.machine.images import MIB, bzimage, elf, elf_32, flat, multiboot_header, ram
from vestige.abi import Board
from vestige.errors import UsageError
from vestige.host.firmware.fw_cfg import region
from vestige.machine import boot, linux_rom
from vestige.machine.config import MachineConfig
from vestige.machine.files import InputFile
from vestige.machine.kernel import AUTO, LINUX_32, LINUX_64, MULTIBOOT, PVH

DEFAULT = 20_000  # files
MEMORY = 64 * MIB
CONFIG = MachineConfig(memory=MEMORY, board=Board.PC)
SEEDS = (
    bytes(bzimage()),
    bytes(bzimage(load_flags_64=0)),
    bytes(bzimage(version=0x203)),
    elf(),
    elf(pvh_entry=None),
    elf_32(),
    elf_32(header=b"", pvh_entry=MIB + 0x40),
    elf_32(header=multiboot_header(0x10003, MIB, MIB, 0, 0, MIB + 0x20)),
    flat(),
)
EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, (1 << 64) - 1)
HEADERS = 0x300  # bytes of a file in which its formats' fields are
PATH = "kernel"


def damaged(chance: random.Random) -> bytes:
    """A kernel with some fields of any value, or cut somewhere."""
    image = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(4)):
        size = chance.choice((1, 2, 4, 8))
        value = chance.choice((chance.choice(EXTREMES), chance.getrandbits(64)))
        place = chance.randrange(HEADERS)
        image[place : place + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    return bytes(image[: chance.randrange(len(image) + 1)] if chance.random() < 0.2 else image)


def refusal(start: Callable[[], object]) -> str | None:
    """What is wrong with how a file was refused; None: nothing, or it was taken."""
    try:
        start()
    except UsageError as error:
        line = str(error)
        known = line.startswith((f"{PATH}: ", "the kernel command line has "))
        return None if known and "\n" not in line else f"said {line!r}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    return None


def problem_of(image: bytes, protocol: str) -> str | None:
    """What is wrong with how a file is taken, by direct boot and for a firmware."""
    descriptor = os.memfd_create(PATH)
    try:
        os.write(descriptor, image)
        file = InputFile(PATH, descriptor, len(image))
        memory = ram(MEMORY)
        return refusal(
            lambda: boot.load(memory, CONFIG, file, append="quiet", protocol=protocol)
        ) or refusal(lambda: bytes(region(*linux_rom.items(MEMORY, file, None, "quiet"))))
    finally:
        os.close(descriptor)


def fuzz(limit: Limit, chance: random.Random) -> tuple[int, str | None]:
    """Load damaged kernels; how many, and what went wrong."""
    done = 0
    while limit.left(done):
        image = damaged(chance)
        protocol = chance.choice((AUTO, AUTO, LINUX_32, LINUX_64, MULTIBOOT, PVH))
        problem = problem_of(image, protocol)
        if problem is not None:
            return done, f"{problem}; by {protocol}, the file: {image.hex()}"
        done += 1
    return done, None


if __name__ == "__main__":
    sys.exit(main(__doc__, "kernels", "files", DEFAULT, fuzz))
