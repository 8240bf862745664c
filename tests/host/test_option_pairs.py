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
    "firmware": BIOS,
    "vga": VGA_NONE,
    "rtc": "utc",
    "ide": IDE_IN_MEMORY,
    "disks": (DiskOption("d", IDE),),
    "entropy": True,
    "tablet": True,
    "net": "user",
}
PC_ALONE = {"firmware", "vga", "rtc"}
MODERN_ALONE = {"ide"}


def refusal(names: tuple[str, ...]) -> str | None:
    """The line that refuses these options; None: they are taken."""
    try:
        check(RunOptions(**{name: CHOICES[name] for name in names}))
    except UsageError as error:
        return str(error)
    return None


def is_good(names: set[str]) -> bool:
    """What the help and docs/machine.md say."""
    if names & (MODERN_ALONE if "machine" in names else PC_ALONE):
        return False
    if "kernel" in names:
        return True
    return "machine" in names and "disks" in names and not names & {"initrd", "append"}


@pytest.mark.parametrize("count", range(len(CHOICES) + 1))
def test_all_that_does_not_go_together_is_refused_in_one_line(count: int) -> None:
    for names in combinations(CHOICES, count):
        line = refusal(names)
        assert (line is None) == is_good(set(names)), (names, line)
        if line is not None:
            assert line.startswith("--")
            assert "\n" not in line
            assert "give " in line or "leave " in line, line
