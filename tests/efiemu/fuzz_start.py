"""Machines whose firmware tells anything: load options, ACPI's tables, PCI's configuration space.

    python -m tests.efiemu.fuzz_start --count 200 --seed 1

None has the memory to be taken over. Each is refused in one line, whatever is in the tables. Prints
the number of machines and the seed; exit status 1 at a failure.
"""

import random
import struct
import sys

from tests.devices import fuzzing
from tests.efiemu.firmware import NVME_CLASS, Firmware
from vestige.efiemu.shell import uefi

DEFAULT = 200
LETTERS = " nvme=0:.1fb\\\0\ud7ff?"
OPTIONS = ("boot=\\a", "boot= a", "boot=", "nvme=00:03.0 nvme=00:04.0", "NVME=00:03.0", "-x")
NAMES, ENDS = ("x ", ""), ("", " ", "  boot=", "boot=", " boot=a b")
SIGNATURES = (b"APIC", b"MCFG", b"FACP", b"IVRS", b"DMAR", b"VSTG")
BYTES = (0, 1, 2, 8, 9, 16, 44, 254, 255)  # that tables have, besides any


def options(chance: random.Random) -> str:
    match chance.randrange(4):
        case 0:
            return "".join(chance.choice(LETTERS) for _ in range(chance.randrange(40)))
        case 1:
            place = f"{chance.getrandbits(8):02x}:{chance.getrandbits(6):02x}.{chance.randrange(9)}"
            return f"{chance.choice(NAMES)}nvme={place}{chance.choice(ENDS)}"
        case 2:
            return f"{chance.choice(NAMES)}{chance.choice(OPTIONS)}"
        case _:
            return ""


def table(chance: random.Random) -> bytes:
    size = chance.randrange(8, 300)
    body = bytes(chance.choice((*BYTES, chance.getrandbits(8))) for _ in range(size - 8))
    told = chance.choice((size, size, size, 0, 36, 44, 45))
    return chance.choice(SIGNATURES) + struct.pack("<I", min(told, size)) + body


def machine(chance: random.Random) -> Firmware:
    """One with controllers, or what was one before its registers were changed."""
    made = Firmware(options(chance))
    made.add((0, 0, 0), 0x0600_0000, msix=False)
    made.add((0, 31, 0), 0x0601_0000, msix=False)
    for place in ((0, 3, 0), (1, 0, 0), (0, 31, 7)):
        if chance.randrange(3):
            made.add(place, NVME_CLASS)
            for _ in range(chance.choice((0, 0, 2, 30))):
                made.functions[place][chance.randrange(256)] = chance.getrandbits(8)
    if chance.randrange(3):
        made.add_acpi([table(chance) for _ in range(chance.randrange(5))])
    return made


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many machines there were, and what went wrong."""
    done = 0
    while limit.left(done):
        seed = chance.getrandbits(32)
        done += 1
        made = machine(random.Random(seed))
        try:
            status = made.start()
        except fuzzing.FAILURES as error:
            return done, f"machine(random.Random({seed})): {error!r}"
        as_it_was = made.is_untouched()
        if status != uefi.UNSUPPORTED or len(made.lines) != 1 or not as_it_was:
            return done, f"machine(random.Random({seed})): {status:#x}, {made.lines}, {as_it_was}"
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "start", "machines", DEFAULT, fuzz))
