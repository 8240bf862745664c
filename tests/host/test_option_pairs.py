"""What goes together of the options that say what a guest starts from, and on which machine."""

from itertools import combinations
from typing import Any

import pytest

from vestige.errors import UsageError
from vestige.host.options import (
    BIOS,
    IDE,
    IDE_IN_MEMORY,
    PC,
    UEFI,
    VGA_NONE,
    DiskOption,
    RunOptions,
    check,
    parse_cdrom,
    parse_floppy,
)
from vestige.host.viewer.option import DisplayOption

CHOICES: dict[str, Any] = {
    "kernel": "k",
    "initrd": "i",
    "append": "quiet",
    "machine": PC,
    "variables": "v",
    "vga": VGA_NONE,
    "rtc": "utc",
    "ide": IDE_IN_MEMORY,
    "disks": (DiskOption("d", IDE),),
    "cdrom": parse_cdrom("c"),
    "floppies": (parse_floppy("f"),),
    "keys": "unix:/k",
    "display": DisplayOption(),
    "tablet": True,
    "others": None,
}
# That go with everything, so with each other, too.
OTHERS: dict[str, Any] = {"devices": ("hpet",), "entropy": True, "net": "user", "agent": True}
FIRMWARES = (None, BIOS, UEFI, "rom")
PC_ALONE = {"variables", "vga", "rtc", "floppies", "display"}
MODERN_ALONE = {"ide"}
BOOTED = {"disks", "cdrom", "floppies"}  # by a firmware


def refusal(names: tuple[str, ...], firmware: str | None = None) -> str | None:
    """The line that refuses these options; None: they are taken."""
    words = {name: CHOICES[name] for name in names}
    if "others" in words:
        words = {**words, **OTHERS}
        del words["others"]
    try:
        check(RunOptions(**words, firmware=firmware))
    except UsageError as error:
        return str(error)
    return None


def is_good(names: set[str], firmware: str | None) -> bool:
    """What the help and docs/machine.md say."""
    if "variables" in names and firmware in (None, BIOS):
        return False
    if "kernel" in names and (firmware == UEFI or "variables" in names):
        return False
    if firmware is not None and "machine" not in names:
        return False
    if names & (MODERN_ALONE if "machine" in names else PC_ALONE):
        return False
    if names >= {"display", "vga"}:
        return False
    if "keys" in names and not names & {"machine", "tablet"}:
        return False
    if "kernel" in names:
        return True
    return "machine" in names and bool(names & BOOTED) and not names & {"initrd", "append"}


@pytest.mark.parametrize("firmware", FIRMWARES)
@pytest.mark.parametrize("count", range(len(CHOICES) + 1))
def test_all_that_does_not_go_together_is_refused_in_one_line(
    count: int, firmware: str | None
) -> None:
    for names in combinations(CHOICES, count):
        line = refusal(names, firmware)
        assert (line is None) == is_good(set(names), firmware), (names, line)
        if line is not None:
            assert line.startswith("--")
            assert "\n" not in line
            assert "give " in line or "leave " in line, line


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("vga", "--vga: a PC's; give --machine pc, too"),
        ("rtc", "--rtc: a PC's clock; give --machine pc, too, or leave --rtc out"),
        ("floppies", "--floppy: a PC has floppy drives; give --machine pc, too, or leave"),
        ("keys", "--keys: a PC's keyboard, or a tablet; give --machine pc or --tablet, too"),
        ("display", "--display: a PC's screen; give --machine pc without --vga none, or leave"),
    ],
)
def test_the_modern_machine_refuses_what_a_pc_alone_has(name: str, line: str) -> None:
    assert str(refusal(("kernel", name))).startswith(line)


@pytest.mark.parametrize("firmware", [BIOS, UEFI, "rom"])
def test_the_modern_machine_has_no_firmware(firmware: str) -> None:
    assert refusal(("kernel",), firmware) == "--firmware: a PC's; give --machine pc, too"


def test_both_machines_have_a_drive_for_discs() -> None:
    assert refusal(("kernel", "cdrom")) is None
    assert refusal(("kernel", "machine", "cdrom")) is None
    assert refusal(("machine", "cdrom")) is None
