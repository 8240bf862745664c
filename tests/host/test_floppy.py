"""Floppy disks as SeaBIOS uses them, on this KVM: it boots, reads, writes and formats them."""

from pathlib import Path

import pytest

from tests.assembly import NEEDED, assembled
from tests.host.harness import why_not
from tests.host.test_firmware import SEABIOS, vestige

SOURCE = Path(__file__).with_name("floppy_sector.s")
SECTOR, TRACK = 512, 18 * 512
FILLER = b"\xf6"  # the BIOS's

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios"),
    NEEDED,
]


def track_of(cylinder: int, head: int) -> slice:
    """Where in an image that track is."""
    first = (cylinder * 2 + head) * TRACK
    return slice(first, first + TRACK)


def test_seabios_boots_a_floppy_disk_and_reads_writes_and_formats_it(tmp_path: Path) -> None:
    sector = assembled(SOURCE, tmp_path)
    assert len(sector) == SECTOR
    before = bytearray(b"".join(number.to_bytes(2, "little") * 256 for number in range(2880)))
    before[:SECTOR] = sector
    disk = tmp_path / "floppy.img"
    disk.write_bytes(before)
    words = ("--machine", "pc", "--memory", "64M", "--vga", "none", "--timeout", "50")
    done = vestige(*words, "--floppy", str(disk))
    assert b"Booting from Floppy" in done.stdout, done
    assert b"done\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, b"")
    before[track_of(40, 0)] = before[track_of(3, 1)]
    before[track_of(79, 1)] = FILLER * TRACK
    assert disk.read_bytes() == before


def test_seabios_can_not_write_a_protected_floppy_disk(tmp_path: Path) -> None:
    disk = tmp_path / "floppy.img"
    before = assembled(SOURCE, tmp_path).ljust(2880 * SECTOR, b"\0")
    disk.write_bytes(before)
    words = ("--machine", "pc", "--memory", "64M", "--vga", "none", "--timeout", "50")
    done = vestige(*words, "--floppy", f"{disk},readonly")
    assert b"Booting from Floppy" in done.stdout, done
    assert b"done" not in done.stdout
    assert done.returncode == 0
    assert disk.read_bytes() == before
