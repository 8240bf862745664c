"""Images that are not raw are named, with what makes them so; raw and format=raw go through."""

import bz2
import gzip
import lzma
import re
import struct
import subprocess
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.guests.programs import programs
from vestige import abi
from vestige.errors import UsageError
from vestige.host.backends.disk_formats import check
from vestige.host.backends.disks import open_disk
from vestige.host.options import DiskOption

SIZE = 1 << 16
VDI = b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(0x40, b"\0") + b"\x7f\x10\xda\xbe"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "my disk"


def fill(image: Path, *pieces: tuple[int, bytes], size: int = SIZE) -> None:
    """Write `pieces` at their offsets into zeroes."""
    content = bytearray(size)
    for offset, data in pieces:
        content[offset : offset + len(data)] = data
    image.write_bytes(content)


def refusal(image: Path, *, read_only: bool = False) -> str:
    with image.open("rb") as file, pytest.raises(UsageError) as refused:
        check(file.fileno(), str(image), read_only)
    return str(refused.value)


def qemu_img() -> list[str]:
    """Debian's, with the libraries that it was made for."""
    files = programs("qemu-img")
    folder = files["bin/qemu-img"].parent.parent
    loader, libraries = folder / "lib64/ld-linux-x86-64.so.2", folder / "lib/x86_64-linux-gnu"
    return [str(loader), "--library-path", str(libraries), str(files["bin/qemu-img"])]


@pytest.mark.parametrize(
    ("offset", "magic", "name"),
    [
        (0, b"QFI\xfb\0\0\0\3", "qcow2"),
        (0, b"QED\0", "QED"),
        (0, b"KDMV\1\0\0\0", "VMDK"),
        (0, b"COWD", "VMDK"),
        (0, b"# Disk DescriptorFile\nversion=1\n", "VMDK"),
        (0, VDI, "VDI"),
        (0, b"conectix", "VHD"),
        (SIZE - 512, b"conectix", "VHD"),
        (0, b"vhdxfile", "VHDX"),
        (0, b"WithoutFreeSpace", "Parallels"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_another_format_is_named_with_its_conversion(
    image: Path, offset: int, magic: bytes, name: str, read_only: bool
) -> None:
    fill(image, (offset, magic))
    assert refusal(image, read_only=read_only) == (
        f"{image}: a {name} image, not a raw one: its first write would ruin it; convert it:"
        f" qemu-img convert -O raw '{image}' '{image}.raw' (Debian's qemu-utils), or add"
        " ,format=raw to have its bytes as they are"
    )


@pytest.mark.parametrize(
    ("content", "program"),
    [
        (gzip.compress(bytes(512), mtime=0), "gzip -d"),
        (lzma.compress(bytes(512)), "xz -d"),
        (bz2.compress(bytes(512)), "bzip2 -d"),
        (b"\x28\xb5\x2f\xfd\x20\x00", "zstd -d"),
        (b"\x04\x22\x4d\x18", "lz4 -d"),
    ],
)
def test_a_packed_image_is_told_with_what_unpacks_it(
    image: Path, content: bytes, program: str
) -> None:
    image.write_bytes(content)
    assert f"packed, not a raw image; unpack it: {program} '{image}', or" in refusal(image)


def test_a_zip_archive_is_one(image: Path) -> None:
    with zipfile.ZipFile(image, "w") as archive:
        archive.writestr("disk.img", bytes(512))
    assert f"unpack it: unzip '{image}'" in refusal(image)


@pytest.mark.parametrize(
    ("form", "options", "name"),
    [
        ("qcow2", "compat=0.10", "qcow2"),
        ("qcow2", "compat=1.1", "qcow2"),
        ("qed", "", "QED"),
        ("vmdk", "subformat=monolithicSparse", "VMDK"),
        ("vmdk", "subformat=monolithicFlat", "VMDK"),
        ("vmdk", "subformat=twoGbMaxExtentSparse", "VMDK"),
        ("vmdk", "subformat=streamOptimized", "VMDK"),
        ("vdi", "", "VDI"),
        ("vpc", "subformat=dynamic", "VHD"),
        ("vpc", "subformat=fixed", "VHD"),
        ("vhdx", "", "VHDX"),
        ("parallels", "", "Parallels"),
    ],
)
def test_what_qemu_img_makes_is_named(image: Path, form: str, options: str, name: str) -> None:
    words = [*qemu_img(), "create", "-q", "-f", form, *(["-o", options] if options else [])]
    subprocess.run([*words, str(image), "8M"], check=True, timeout=60)
    assert refusal(image).startswith(f"{image}: a {name} image, not a raw one: ")


@pytest.mark.parametrize(
    ("magic", "name"), [(b"\1CD001\1", "an ISO 9660"), (b"\0BEA01\1", "a UDF")]
)
def test_an_image_of_a_disc_may_be_read_and_not_be_written(
    image: Path, magic: bytes, name: str
) -> None:
    fill(image, (0x8000, magic), (510, b"\x55\xaa"))
    assert re.search(f"{name} image.*--cdrom '.*add ,readonly, or ,format=raw", refusal(image))
    with closing(open_disk(DiskOption(str(image), read_only=True))) as disk:
        assert disk.sectors == SIZE // 512


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        ((510, b"\x55\xaa"),),
        ((512, b"EFI PART"),),
        ((1080, b"\x53\xef"),),
        ((1, b"QFI\xfb"),),
        ((SIZE - 520, b"conectix"),),
    ],
)
def test_raw_images_are_taken(image: Path, pieces: tuple[tuple[int, bytes], ...]) -> None:
    fill(image, *pieces)
    open_disk(DiskOption(str(image))).close()


def test_who_says_raw_is_not_asked(image: Path) -> None:
    fill(image, (0, b"QFI\xfb"))
    with pytest.raises(UsageError, match="a qcow2 image"):
        open_disk(DiskOption(str(image)))
    open_disk(DiskOption(str(image), raw=True)).close()


# ---- discs ------------------------------------------------------------------------------------


def disc(path: Path, *, raw: bool = False) -> DiskOption:
    return DiskOption(str(path), read_only=True, raw=raw, is_optical=True)


def refused_disc(path: Path) -> str:
    with pytest.raises(UsageError) as error:
        open_disk(disc(path))
    return str(error.value)


@pytest.mark.parametrize("magic", [b"\1CD001\1", b"\0BEA01\1"], ids=["ISO 9660", "UDF"])
def test_an_image_with_a_file_system_of_discs_is_taken(image: Path, magic: bytes) -> None:
    fill(image, (0x8000, magic))
    with closing(open_disk(disc(image))) as opened:
        assert opened.sectors == SIZE // 512
        told = abi.Disk()
        opened.describe(told, 3, 0)
        assert (told.is_optical, told.read_only, told.sectors) == (1, 1, 0)
        assert told.disc.sectors == SIZE // 512
        assert bytes(told.model).startswith(b"VESTIGE CD-ROM  ")


def test_what_is_no_disc_is_told_to_be_a_disk(image: Path) -> None:
    fill(image)
    assert 'no ISO image (no "CD001" at byte 32769); is it a disk, --disk' in refused_disc(image)
    fill(image, (0, b"QFI\xfb"))
    assert "a qcow2 image, no ISO image" in refused_disc(image)
    fill(image, (0, b"\x1f\x8b\x08"))
    assert "packed; unpack it: gzip -d" in refused_disc(image)
    fill(image, (0, b"\0" + b"\xff" * 10 + b"\0"))
    assert "sectors of 2352 bytes" in refused_disc(image)
    with closing(open_disk(disc(image, raw=True))) as opened:
        assert opened.sectors == SIZE // 512


def test_a_disc_has_whole_blocks(image: Path) -> None:
    fill(image, (0x8000, b"\1CD001\1"))
    with image.open("ab") as file:
        file.write(bytes(512))
    assert f"{SIZE + 512} bytes, not a multiple of 2048" in refused_disc(image)


@pytest.mark.parametrize(("blocks", "is_whole"), [(SIZE // 2048, True), (SIZE // 2048 + 1, False)])
def test_a_disc_is_all_there(image: Path, blocks: int, is_whole: bool) -> None:
    volume = (0x8050, struct.pack("<I", blocks)), (0x8080, struct.pack("<H", 2048))
    fill(image, (0x8000, b"\1CD001\1"), *volume)
    if is_whole:
        open_disk(disc(image)).close()
    else:
        line = f"{SIZE} bytes of an ISO image of {SIZE + 2048}; is all of it there? Or add ,format"
        assert line in refused_disc(image)
        open_disk(disc(image, raw=True)).close()


def test_a_disc_that_is_not_there_is_none_to_be_made(image: Path) -> None:
    missing = image.with_name("missing.iso")
    assert refused_disc(missing) == (
        f"{missing}: no such image of a disc; give an ISO image that exists"
    )
    assert "a directory; give an ISO image" in refused_disc(image.parent)


def test_a_disc_that_another_run_writes_is_refused(image: Path) -> None:
    fill(image, (0x8000, b"\1CD001\1"))
    with closing(open_disk(DiskOption(str(image), raw=True))):
        assert "in use by another run" in refused_disc(image)


def test_an_empty_drive_has_a_file_of_nothing() -> None:
    with closing(open_disk(DiskOption("", read_only=True, is_optical=True))) as opened:
        opened.renew()
        told = abi.Disk()
        opened.describe(told, 0, 0)
        assert (told.present, told.is_optical, told.disc.sectors) == (1, 1, 0)
