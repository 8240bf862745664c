"""Graphics of a PC that SeaBIOS has started, on this KVM: pixels as QEMU's, and no exits."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.host import graphics_sector, planes_sector
from tests.host.exits import change_without_exits
from tests.host.harness import PATIENCE, why_not
from tests.host.planes_sector import Filling
from tests.screen import pictures, theirs
from tests.screen.theirs import Theirs
from vestige.abi import GLYPH_SIZE
from vestige.cli.screen import look, pictured
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS
from vestige.screen.text import lines

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        not (Path(FIRMWARES[BIOS]).exists() and Path(VGA_BIOS).exists()), reason="needs seabios"
    ),
    pytest.mark.skipif(shutil.which(theirs.QEMU) is None, reason=f"needs {theirs.QEMU}"),
]

NAME = "graphics"
# By number: width and height on the screen. Of 8, 8, 8, 8, 15, 16, 24, 16, 32 and 32 bits.
MODES = {
    0x13: (640, 400),  # each dot two wide and high
    0x100: (640, 400),
    0x101: (640, 480),
    0x103: (800, 600),
    0x10D: (320, 200),
    0x10E: (320, 200),
    0x10F: (320, 200),
    0x111: (640, 480),
    0x140: (320, 200),
    0x144: (1024, 768),
}
# Those that a colour has, where it has fewer than eight: QEMU makes eight of them otherwise.
ALL_BITS = (0xFF, 0xFF, 0xFF)
SIX_BITS = (0x0D, 0x0E, 0x10, 0x12, 0x13, 0x100, 0x101, 0x103)
BITS = dict.fromkeys(SIX_BITS, (0xFC, 0xFC, 0xFC))
BITS |= {0x10D: (0xF8, 0xF8, 0xF8), 0x10E: (0xF8, 0xFC, 0xF8), 0x111: (0xF8, 0xFC, 0xF8)}
LARGE = 0x144
# Filled by the window at 0xA0000, in planes or in banks; likewise.
FILLED = {
    Filling(0x0D, 4, 4000): (640, 400),  # each dot two wide and high
    Filling(0x0E, 4, 8000): (640, 400),  # and here two high
    Filling(0x10, 4, 14_000): (640, 350),
    Filling(0x12, 4, 19_200): (640, 480),
    Filling(0x13, 4, 8000): (640, 400),  # "mode X"
    Filling(0x101, 5, 0x8000): (640, 480),
    Filling(0x111, 10, 0x8000): (640, 480),
}
PIXEL = 3
BUSY = 6 * PATIENCE  # seconds: a machine that compiles and does other things, too


class Marked(Theirs):
    """QEMU's, whose guest tells of each mode that is filled."""

    _marks = 0

    def wait(self, count: int) -> None:
        """Until so many are."""
        while self._marks < count:
            assert select.select([self.console], [], [], BUSY)[0]
            self._marks += os.read(self.console, 1 << 12).count(graphics_sector.DRAWN)


class Ours:
    """A run, and its screen."""

    def __init__(self, disk: Path, *more: str) -> None:
        words = ("run", "--accel", "kvm", "--name", NAME, "--memory", "64M", "--timeout", "400")
        command = (sys.executable, "-m", "vestige.cli.main", *words, "--machine", "pc")
        self.process = subprocess.Popen(
            (*command, "--disk", f"{disk},bus=ide", *more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._marks = 0

    def wait(self, count: int) -> None:
        """Until so many modes are filled."""
        assert self.process.stdout is not None
        while self._marks < count:
            data = os.read(self.process.stdout.fileno(), 1 << 12)
            assert data, self.process.wait()
            self._marks += data.count(graphics_sector.DRAWN)

    def press(self) -> None:
        """Enter."""
        with find(NAME) as run:
            run.ask({"do": "type", "lines": ["enter"]})

    def shows(self, width: int, height: int) -> bool:
        """Whether it is in such a mode, and something is drawn."""
        try:
            return self.picture()[:2] == (width, height) and any(self.picture()[2])
        except (GuestError, UsageError):
            return False

    def text(self) -> list[str]:
        """Its rows."""
        return lines(look(NAME)) or [""]

    def picture(self) -> tuple[int, int, bytes]:
        """Width, height, dots, of red, green and blue each."""
        return pictures.read(pictured(NAME))


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """However the test ends."""
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def test_ten_modes_look_as_qemus_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disk = tmp_path / "disk.img"
    disk.write_bytes(graphics_sector.disk(list(MODES)))
    ours = Ours(disk)
    with ended(ours.process), Marked(tmp_path, *theirs.disk(disk)) as other:
        for number, (mode, size) in enumerate(MODES.items(), 1):
            ours.wait(number)
            other.wait(number)
            compare(ours, other, mode, size)
            ours.press()
            other.press("ret")


def compare(ours: Ours, other: Theirs, mode: int, size: tuple[int, int]) -> None:
    """Both show the same."""
    width, height, dots = ours.picture()
    assert (width, height) == size, hex(mode)
    *its_size, its_dots = other.picture()
    assert tuple(its_size) == size, hex(mode)
    bits = BITS.get(mode, ALL_BITS)
    for part in range(PIXEL):
        mask = bytes(value & bits[part] for value in range(256))
        mine, its = (each[part::PIXEL].translate(mask) for each in (dots, its_dots))
        assert mine == its, f"{mode:#x}, {['red', 'green', 'blue'][part]}"


def test_planes_and_banks_look_as_qemus_do_and_then_text_costs_no_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disk = tmp_path / "disk.img"
    disk.write_bytes(planes_sector.disk(list(FILLED)))
    ours = Ours(disk)
    with ended(ours.process), Marked(tmp_path, *theirs.disk(disk)) as other:
        for number, (filling, size) in enumerate(FILLED.items(), 1):
            ours.wait(number)
            other.wait(number)
            compare(ours, other, filling.mode, size)
            ours.press()
            other.press("ret")
        ours.wait(len(FILLED) + 1)
        deadline = time.monotonic() + BUSY
        while ours.text()[-1][:1] not in ("A", "@"):
            assert time.monotonic() < deadline, ours.text()
        change_without_exits(NAME, [ours.text], BUSY)
        assert look(NAME).fonts[0][ord("L") * GLYPH_SIZE + 2] == 0b1111_0000


def test_a_full_screen_costs_no_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disk = tmp_path / "disk.img"
    disk.write_bytes(graphics_sector.disk([LARGE], for_ever=True))
    ours = Ours(disk)
    with ended(ours.process):
        deadline = time.monotonic() + BUSY
        while not ours.shows(*MODES[LARGE]):
            assert time.monotonic() < deadline
        change_without_exits(
            NAME, [lambda: ours.picture()[2][:1024], lambda: ours.picture()[2][-1024:]], BUSY
        )
