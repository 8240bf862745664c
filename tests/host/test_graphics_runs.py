"""Graphics of a PC that SeaBIOS has started, on this KVM: pixels as QEMU's, and no exits."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.host import graphics_sector
from tests.host.harness import PATIENCE, why_not
from vestige.cli.screen import pictured
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS

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
BITS = dict.fromkeys((0x13, 0x100, 0x101, 0x103), (0xFC, 0xFC, 0xFC))
BITS |= {0x10D: (0xF8, 0xF8, 0xF8), 0x10E: (0xF8, 0xFC, 0xF8), 0x111: (0xF8, 0xFC, 0xF8)}
LARGE = 0x144
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

    def picture(self) -> tuple[int, int, bytes]:
        """Width, height, dots, of red, green and blue each."""
        data = pictured(NAME)
        width, height, _, kind = struct.unpack_from(">IIBB", data, 16)
        palette, dots, at = b"", b"", 8
        while at < len(data):
            (size,) = struct.unpack_from(">I", data, at)
            part = data[at + 8 : at + 8 + size]
            palette += part if data[at + 4 : at + 8] == b"PLTE" else b""
            dots += part if data[at + 4 : at + 8] == b"IDAT" else b""
            at += size + 12
        line = 1 + width * (1 if palette else PIXEL)
        lines = zlib.decompress(dots)
        dots = b"".join(lines[first + 1 : first + line] for first in range(0, len(lines), line))
        if kind == PIXEL:
            colours = [palette[PIXEL * dot : PIXEL * dot + PIXEL] for dot in range(256)]
            dots = b"".join([colours[dot] for dot in dots])
        return width, height, dots


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
            width, height, dots = ours.picture()
            assert (width, height) == size, hex(mode)
            other = theirs.picture()
            assert other[:2] == size, hex(mode)
            bits = BITS.get(mode, ALL_BITS)
            for part in range(PIXEL):
                mask = bytes(value & bits[part] for value in range(256))
                mine, its = (each[part::PIXEL].translate(mask) for each in (dots, other[2]))
                assert mine == its, f"{mode:#x}, {['red', 'green', 'blue'][part]}"
            ours.press()
            theirs.press()


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
