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
)

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
    "entropy": True,
    "tablet": True,
    "net": "user",
}
FIRMWARES = (BIOS, UEFI, "rom")
PC_ALONE = {"firmware", "variables", "vga", "rtc"}
MODERN_ALONE = {"ide"}


def refusal(names: tuple[str, ...], firmware: str) -> str | None:
    """The line that refuses these options; None: they are taken."""
    choices = {**CHOICES, "firmware": firmware}
    try:
        check(RunOptions(**{name: choices[name] for name in names}))
    except UsageError as error:
        return str(error)
    return None


def is_good(names: set[str], firmware: str) -> bool:
    """What the help and docs/machine.md say."""
    if "variables" in names and ("firmware" not in names or firmware == BIOS):
        return False
    if names >= {"firmware", "kernel"} and (firmware == UEFI or "variables" in names):
        return False
    if names & (MODERN_ALONE if "machine" in names else PC_ALONE):
        return False
    if "kernel" in names:
        return True
    return "machine" in names and "disks" in names and not names & {"initrd", "append"}


@pytest.mark.parametrize("firmware", FIRMWARES)
@pytest.mark.parametrize("count", range(len(CHOICES) + 2))
def test_all_that_does_not_go_together_is_refused_in_one_line(count: int, firmware: str) -> None:
    for names in combinations((*CHOICES, "firmware"), count):
        line = refusal(names, firmware)
        assert (line is None) == is_good(set(names), firmware), (names, line)
        if line is not None:
            assert line.startswith("--")
            assert "\n" not in line
            assert "give " in line or "leave " in line, line
