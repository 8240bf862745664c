"""A drive for discs on this KVM: SeaBIOS boots one, and it is changed while its code runs."""

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.host import iso
from tests.host.harness import PATIENCE, why_not
from vestige.host import images
from vestige.host.options import BIOS, FIRMWARES

SEABIOS = Path(FIRMWARES[BIOS])
pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios"),
]
PLACE, ADDRESS = 0x7C00, 0x9000  # of the code, and where it reads to
TEXT = b"the other disc\r\n\0"
# Reads block MARK by INT 13h without end. Writes "." to the serial port each time that works, until
# the block begins with "B"; then TEXT, and 0x20 to the high byte of PM1 control: power off.
CODE = bytes.fromhex(
    "31c0"  # 00 xor ax, ax
    "8ed8"  # 02 mov ds, ax
    "c706467c0100"  # 04 next: mov word [packet + 2], 1, which a failed read has made 0
    "be447c"  # 0a mov si, packet
    "b442"  # 0d mov ah, 0x42
    "52"  # 0f push dx
    "cd13"  # 10 int 0x13
    "5a"  # 12 pop dx
    "72ef"  # 13 jc next
    "52"  # 15 push dx
    "baf803"  # 16 mov dx, 0x3f8
    "b02e"  # 19 mov al, '.'
    "ee"  # 1b out dx, al
    "5a"  # 1c pop dx
    "803e009042"  # 1d cmp byte [ADDRESS], 'B'
    "75e0"  # 22 jne next
    "be547c"  # 24 mov si, text
    "ac"  # 27 more: lodsb
    "84c0"  # 28 test al, al
    "7406"  # 2a jz end
    "baf803"  # 2c mov dx, 0x3f8
    "ee"  # 2f out dx, al
    "ebf5"  # 30 jmp more
    "ba0506"  # 32 end: mov dx, 0x605
    "b020"  # 35 mov al, 0x20
    "ee"  # 37 out dx, al
    "f4"  # 38 hlt
    "ebfd"  # 39 jmp to that
).ljust(0x44, b"\0")
PACKET = bytes((16, 0, 1, 0)) + ADDRESS.to_bytes(4, "little") + iso.MARK.to_bytes(8, "little")


def vestige(*words: str) -> "subprocess.CompletedProcess[str]":
    """Another command."""
    command = (sys.executable, "-m", "vestige.cli.main", *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def dots(stream: IO[bytes], count: int, behind: bytes = b"") -> None:
    """Read until so many have come, behind these words: SeaBIOS's own end comes among them."""
    said = b""
    while behind not in said or said[said.find(behind) :].count(b".") < count:
        byte = stream.read(1)
        assert byte, said
        said += byte


def test_a_disc_is_booted_and_changed_while_its_code_runs(tmp_path: Path) -> None:
    first, second, small = (tmp_path / name for name in ("first.iso", "second.iso", "small.iso"))
    first.write_bytes(iso.disc(CODE + PACKET + TEXT, b"A"))
    second.write_bytes(iso.disc(b"", b"B"))
    small.write_bytes(b"no disc".ljust(4096))
    images.ensure()  # a run that compiles says so
    name = f"discs-{tmp_path.name}"[:60]
    words = ("run", "--accel", "kvm", "--machine", "pc", "--memory", "64M", "--vga", "none")
    command = (sys.executable, "-m", "vestige.cli.main", *words, "--name", name)
    process = subprocess.Popen(
        [*command, "--cdrom", str(first), "--timeout", str(PATIENCE)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        dots(process.stdout, 5, behind=b"DVD/CD...")
        refused = vestige("insert", name, str(small))
        assert refused.returncode == 2
        assert "no ISO image" in refused.stderr
        dots(process.stdout, 2)  # it goes on with the disc that is in
        assert f"cdrom {first}\n" in vestige("ps").stdout
        assert vestige("eject", name).returncode == 0
        assert "cdrom none\n" in vestige("ps").stdout
        inserted = vestige("insert", name, str(second))
        assert (inserted.returncode, inserted.stdout, inserted.stderr) == (0, "", "")
        rest, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert TEXT[:-1] in rest
    assert (process.returncode, errors) == (0, b"")


def test_a_run_without_a_drive_has_no_disc_to_be_changed(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    loop = bytes.fromhex("baf803b02eeeebfd")  # "." to the serial port, and no more
    disk.write_bytes(loop.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    name = f"discs-{tmp_path.name}"[:60]
    words = ("run", "--accel", "kvm", "--machine", "pc", "--memory", "64M", "--vga", "none")
    command = (sys.executable, "-m", "vestige.cli.main", *words, "--name", name)
    with subprocess.Popen(
        [*command, "--disk", f"{disk},bus=ide"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        try:
            done = vestige("eject", name)
            while done.returncode == 1:  # the guest has only just begun
                done = vestige("eject", name)
            assert done.returncode == 2
            assert "no drive for discs; one comes with --cdrom" in done.stderr
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
