"""The screen of a PC that SeaBIOS has started, on this KVM: what it shows, and what it costs."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.exits import change_without_exits
from tests.host.harness import PATIENCE, why_not
from tests.host.kernel_payload import HELLO, Kernels
from tests.screen import theirs
from tests.screen.theirs import Theirs
from vestige.abi import GLYPH_SIZE
from vestige.cli.screen import look
from vestige.errors import UsageError
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS
from vestige.screen.picture import draw
from vestige.screen.text import lines

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        not (Path(FIRMWARES[BIOS]).exists() and Path(VGA_BIOS).exists()), reason="needs seabios"
    ),
]

VESTIGE = (sys.executable, "-m", "vestige.cli.main")
NAME = "old-screen"
OWN_ROW = 10  # the first that the sector writes itself
OWN_HEIGHT = 16 * (25 - OWN_ROW)
SIX_BITS = bytes(part & 0xFC for part in range(256))  # QEMU makes eight of six by zeroes
TEXT = b"by the BIOS: \xc9\xcd\xbb\r\n\0"
# Writes TEXT by the BIOS; then fills rows 10 to 24 itself, with A and @ by turns, for ever, and
# takes no interrupts.
BOOT_SECTOR = (
    bytes.fromhex(
        "31c0"  # xor ax, ax
        "8ed8"  # mov ds, ax
        "be2a7c"  # mov si, 0x7c00 + 0x2a
        "ac"  # next: lodsb
        "84c0"  # test al, al
        "7409"  # jz end
        "b40e"  # mov ah, 0x0e
        "bb0700"  # mov bx, 7
        "cd10"  # int 0x10
        "ebf2"  # jmp next
        "fa"  # end: cli
        "b800b8"  # mov ax, 0xb800
        "8ec0"  # mov es, ax
        "b8411f"  # mov ax, 0x1f41
        "bf4006"  # again: mov di, 1600
        "b9b004"  # mov cx, 1200
        "f3ab"  # rep stosw
        "3401"  # xor al, 1
        "ebf4"  # jmp again
    )
    + TEXT
)


def vestige(*words: str) -> "subprocess.CompletedProcess[str]":
    """A command."""
    return subprocess.run(
        (*VESTIGE, *words), capture_output=True, timeout=PATIENCE, check=False, text=True
    )


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run, whose first sector has begun to write to the screen; its disk."""
    folder = tmp_path_factory.mktemp("pc")
    disk = folder / "disk.img"
    sector = BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa"
    disk.write_bytes(sector.ljust(1 << 20, b"\0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        words = ("run", "--accel", "kvm", "--name", NAME, "--memory", "64M", "--timeout", "100")
        process = subprocess.Popen(
            (*VESTIGE, *words, "--machine", "pc", "--disk", f"{disk},bus=ide"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            said = b""
            while TEXT[:10] not in said:  # the BIOS says it there, too
                data = os.read(process.stdout.fileno(), 1 << 10)
                assert data, process.communicate()
                said += data
            deadline = time.monotonic() + PATIENCE
            while len(rows()) < 25:
                assert time.monotonic() < deadline, rows()
            yield disk
        finally:
            process.kill()
            process.communicate()


def pictured(disk: Path, folder: Path) -> list[bytes]:
    """The lines of QEMU's screen, of three bytes a dot, when this disk's first sector fills it."""
    deadline = time.monotonic() + PATIENCE
    with Theirs(folder, *theirs.disk(disk)) as other:
        while time.monotonic() < deadline:
            width, height, dots = other.picture()
            lines = [dots[at : at + 3 * width] for at in range(0, len(dots), 3 * width)]
            if (width, height) == (720, 400) and any(lines[-OWN_HEIGHT]):
                return lines
    raise TimeoutError("QEMU's guest has not filled its screen")


def rows() -> list[str]:
    """What `vestige screen` prints."""
    return vestige("screen", NAME).stdout.splitlines()


@pytest.mark.parametrize("vga", ["std", "none"])
def test_a_kernel_without_a_firmware_finds_text_and_a_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vga: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    words = ("run", "--accel", "kvm", "--name", NAME, "--machine", "pc", "--vga", vga)
    process = subprocess.Popen(
        (*VESTIGE, *words, "--kernel", Kernels(tmp_path)("idle")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read(len(HELLO)) == HELLO
        if vga == "none":
            with pytest.raises(UsageError, match="has no screen; a PC has one"):
                look(NAME)
        else:
            seen = look(NAME)
            assert (seen.columns, seen.rows, lines(seen)) == (80, 25, [])
            assert seen.fonts[0][ord("L") * GLYPH_SIZE + 2] == 0b1111_0000
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("pc")
class TestScreen:
    """Of one run."""

    def test_it_shows_what_the_bios_and_the_guest_have_written(self) -> None:
        shown = rows()
        assert shown[0].startswith("SeaBIOS (version ")
        assert "by the BIOS: ╔═╗" in shown
        assert all(len(row) == 80 for row in shown[OWN_ROW:])

    def test_a_character_costs_no_exit(self) -> None:
        change_without_exits(NAME, [lambda: rows()[OWN_ROW:]], PATIENCE)

    def test_it_can_be_a_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "screen.png"
        assert vestige("screen", NAME, "-o", str(path)).returncode == 0
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert data[16:24] == bytes.fromhex("000002d0 00000190")  # 720 by 400

    @pytest.mark.skipif(shutil.which(theirs.QEMU) is None, reason=f"needs {theirs.QEMU}")
    def test_qemu_draws_the_same(self, pc: Path, tmp_path: Path) -> None:
        seen = look(NAME)
        assert seen.cursor is not None
        others = pictured(pc, tmp_path)
        ours = [
            b"".join(seen.colours[dot].to_bytes(3, "big") for dot in line).translate(SIX_BITS)
            for line in draw(seen)
        ]
        assert len(others) == len(ours)
        for row in range(OWN_ROW):
            if row != seen.cursor.row:  # that of QEMU blinks
                first, last = row * seen.height, (row + 1) * seen.height
                assert others[first:last] == ours[first:last], row

    def test_a_picture_that_can_not_be_written_is_refused(self, tmp_path: Path) -> None:
        done = vestige("screen", NAME, "-o", f"{tmp_path}/none/screen.png")
        assert done.returncode == 2
        assert done.stderr == (
            f"vestige: -o {tmp_path}/none/screen.png: No such file or directory; give a file that"
            " can be written\n"
        )
