"""The screen of a PC that SeaBIOS has started, on this KVM: what it shows, and what it costs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.harness import PATIENCE, why_not
from vestige.host.control.client import find
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        not (Path(FIRMWARES[BIOS]).exists() and Path(VGA_BIOS).exists()), reason="needs seabios"
    ),
]

VESTIGE = (sys.executable, "-m", "vestige.cli.main")
NAME = "old-screen"
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
def pc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A run, whose first sector has begun to write to the screen."""
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
            yield
        finally:
            process.kill()
            process.communicate()


def rows() -> list[str]:
    """What `vestige screen` prints."""
    return vestige("screen", NAME).stdout.splitlines()


@pytest.mark.usefixtures("pc")
class TestScreen:
    """Of one run."""

    def test_it_shows_what_the_bios_and_the_guest_have_written(self) -> None:
        shown = rows()
        assert shown[0].startswith("SeaBIOS (version ")
        assert "by the BIOS: ╔═╗" in shown
        assert all(len(row) == 80 for row in shown[10:])

    def test_a_character_costs_no_exit(self) -> None:
        before, first = rows()[10:], self.exits()
        while rows()[10:] == before:
            continue
        assert self.exits() == first

    def exits(self) -> int:
        """Of the guest's CPU."""
        with find(NAME) as run:
            (count,) = run.ask({"do": "exits"})["cpus"]
        return int(count)

    def test_it_can_be_a_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "screen.png"
        assert vestige("screen", NAME, "-o", str(path)).returncode == 0
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert data[16:24] == bytes.fromhex("000002d0 00000190")  # 720 by 400

    def test_a_picture_that_can_not_be_written_is_refused(self, tmp_path: Path) -> None:
        done = vestige("screen", NAME, "-o", f"{tmp_path}/none/screen.png")
        assert done.returncode == 2
        assert done.stderr == (
            f"vestige: -o {tmp_path}/none/screen.png: No such file or directory; give a file that"
            " can be written\n"
        )
