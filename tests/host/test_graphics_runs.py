"""Graphics of a PC that SeaBIOS has started, on this KVM: pixels as QEMU's, and no exits."""

import json
import os
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
from tests.host.harness import PATIENCE, why_not
from tests.host.planes_sector import Filling
from tests.screen import pictures
from vestige.abi import GLYPH_SIZE
from vestige.cli.screen import look, pictured
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS
from vestige.screen.text import lines

QEMU = "qemu-system-x86_64"
pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        not (Path(FIRMWARES[BIOS]).exists() and Path(VGA_BIOS).exists()), reason="needs seabios"
    ),
    pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"needs {QEMU}"),
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


class Theirs:
    """QEMU, and its screen."""

    def __init__(self, disk: Path, folder: Path) -> None:
        self._folder = folder
        self._marks = folder / "serial"
        drive = f"file={disk},format=raw,snapshot=on"
        words = (
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "pc",
            "-accel",
            "tcg",
            "-vga",
            "std",
        )
        more = ("-m", "64", "-drive", drive, "-serial", f"file:{self._marks}", "-qmp", "stdio")
        self.process = subprocess.Popen(
            (QEMU, *words, *more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._do("qmp_capabilities")

    def _do(self, command: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"execute": command, "arguments": arguments, "id": command}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while f'"id": "{command}"' not in (answer := self.process.stdout.readline()):
            assert answer
        assert '"error"' not in answer, answer

    def wait(self, count: int) -> None:
        """Until so many modes are filled."""
        deadline = time.monotonic() + BUSY
        while self._marks.read_bytes().count(graphics_sector.DRAWN) < count:
            assert time.monotonic() < deadline

    def press(self) -> None:
        """Enter."""
        self._do("send-key", keys=[{"type": "qcode", "data": "ret"}])

    def picture(self) -> tuple[int, int, bytes]:
        """Width, height, dots."""
        self._do("screendump", filename=f"{self._folder}/ppm")
        header, size, _, dots = (self._folder / "ppm").read_bytes().split(b"\n", 3)
        assert header == b"P6"
        width, height = map(int, size.split())
        return width, height, dots


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

    def exits(self) -> int:
        """Of its CPU."""
        with find(NAME) as run:
            (count,) = run.ask({"do": "exits"})["cpus"]
        return int(count)

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
    ours, theirs = Ours(disk), Theirs(disk, tmp_path)
    with ended(ours.process), ended(theirs.process):
        for number, (mode, size) in enumerate(MODES.items(), 1):
            ours.wait(number)
            theirs.wait(number)
            compare(ours, theirs, mode, size)
            ours.press()
            theirs.press()


def compare(ours: Ours, theirs: Theirs, mode: int, size: tuple[int, int]) -> None:
    """Both show the same."""
    width, height, dots = ours.picture()
    assert (width, height) == size, hex(mode)
    other = theirs.picture()
    assert other[:2] == size, hex(mode)
    bits = BITS.get(mode, ALL_BITS)
    for part in range(PIXEL):
        mask = bytes(value & bits[part] for value in range(256))
        mine, its = (each[part::PIXEL].translate(mask) for each in (dots, other[2]))
        assert mine == its, f"{mode:#x}, {['red', 'green', 'blue'][part]}"


def test_planes_and_banks_look_as_qemus_do_and_then_text_costs_no_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disk = tmp_path / "disk.img"
    disk.write_bytes(planes_sector.disk(list(FILLED)))
    ours, theirs = Ours(disk), Theirs(disk, tmp_path)
    with ended(ours.process), ended(theirs.process):
        for number, (filling, size) in enumerate(FILLED.items(), 1):
            ours.wait(number)
            theirs.wait(number)
            compare(ours, theirs, filling.mode, size)
            ours.press()
            theirs.press()
        ours.wait(len(FILLED) + 1)
        deadline = time.monotonic() + BUSY
        while (before := ours.text())[-1][:1] not in ("A", "@"):
            assert time.monotonic() < deadline, before
        first = ours.exits()
        while ours.text() == before:
            assert time.monotonic() < deadline, before
        assert ours.exits() == first
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
        _, _, before = ours.picture()
        first = ours.exits()
        for part in (slice(0, 1024), slice(-1024, None)):
            while ours.picture()[2][part] == before[part]:
                assert time.monotonic() < deadline
        assert ours.exits() == first
