"""Disk images, made and judged by Debian's own tools."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.guests import fat, images
from tests.guests.images import MEBIBYTE, SECTOR, FileSystem, ImageError, SystemPartition
from vestige.softhost import packages


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").write_bytes(bytes(range(256)) * 100)
    return root


def test_a_whole_disk_holds_the_tree(tmp_path: Path, tree: Path) -> None:
    image = tmp_path / "disk.img"
    images.whole_disk(image, FileSystem(8, tree))
    assert image.stat().st_size == 8 * MEBIBYTE
    images.check_ext4(image)
    assert images.read_file(image, "/folder/file") == bytes(range(256)) * 100


def test_partitions_follow_one_another_and_each_holds_its_tree(tmp_path: Path, tree: Path) -> None:
    image = tmp_path / "disk.img"
    images.partitioned(image, [FileSystem(8, tree), FileSystem(4, None)])
    second = images.FIRST_PARTITION + 8 * MEBIBYTE
    for offset in (images.FIRST_PARTITION, second):
        images.check_ext4(image, offset)
    assert images.read_file(image, "/folder/file", images.FIRST_PARTITION)[:4] == b"\0\1\2\3"
    said = subprocess.run(
        [images.tool("sfdisk"), "--json", image], capture_output=True, check=True
    ).stdout
    found = [
        (each["start"], each["size"]) for each in json.loads(said)["partitiontable"]["partitions"]
    ]
    sectors = MEBIBYTE // SECTOR
    assert found == [(sectors, 8 * sectors), (9 * sectors, 4 * sectors)]


def test_what_firmware_boots_from_is_a_fat_with_its_files(tmp_path: Path, tree: Path) -> None:
    image, alone = tmp_path / "disk.img", tmp_path / "fat.img"
    names = ("EFI/BOOT/BOOTX64.EFI", "EFI/debian/a longer name.cfg")
    files = dict.fromkeys(names, tree / "folder" / "file")
    images.partitioned(image, [FileSystem(4, None), SystemPartition(files), FileSystem(4, tree)])
    with image.open("rb") as file:
        file.seek(images.partition_offset(image, 2))
        alone.write_bytes(file.read(SystemPartition.mebibytes * MEBIBYTE))
    check = [str(packages.place(fat.tools(), "sbin/fsck.fat")), "-n", str(alone)]
    said = subprocess.run(check, capture_output=True, text=True, check=True).stdout
    assert "5 files" in said, "three of them are folders"
    for name in names:
        copy = tmp_path / "copy"
        fat.run("mcopy", "-n", "-i", alone, f"::{name}", copy)
        assert copy.read_bytes() == (tree / "folder" / "file").read_bytes()
        copy.unlink()
    said = subprocess.run(
        [images.tool("sfdisk"), "--json", image], capture_output=True, text=True, check=True
    ).stdout
    kinds = [each["type"] for each in json.loads(said)["partitiontable"]["partitions"]]
    assert kinds == ["83", "ef", "83"]
    for number in (1, 3):
        images.check_ext4(image, images.partition_offset(image, number))


def test_damage_is_found(tmp_path: Path, tree: Path) -> None:
    image = tmp_path / "disk.img"
    images.whole_disk(image, FileSystem(8, tree))
    with image.open("r+b") as file:
        file.seek(4096)  # the group descriptors
        file.write(b"\xff" * 64)
    with pytest.raises(ImageError, match="e2fsck"):
        images.check_ext4(image)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, tree: Path) -> None:
    image = tmp_path / "disk.img"
    images.whole_disk(image, FileSystem(8, tree))
    with pytest.raises(ImageError, match="/absent"):
        images.read_file(image, "/absent")


def test_a_copy_is_equal_and_keeps_its_holes(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    images.whole_disk(image, FileSystem(32, None))
    copy = images.copy(image, tmp_path / "copy.img")
    assert copy.read_bytes() == image.read_bytes()
    assert copy.stat().st_blocks * 512 < 16 * MEBIBYTE


def test_random_bytes_depend_on_the_seed_alone() -> None:
    assert images.random_bytes(1, 7) == images.random_bytes(1, 7)
    assert images.random_bytes(1, 7) != images.random_bytes(1, 8)
