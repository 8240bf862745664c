"""Which bytes a block device and a file have in common. Loop devices need root."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vestige.host.files import extents
from vestige.host.files.extents import Extent

pytestmark = pytest.mark.xdist_group("loop devices")

MIB = 1 << 20
SFDISK = "label: dos\nstart=2048, size=2048\nstart=4096, size=2048\n"

Attach = Callable[..., str]


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Makes a file, or another device, a loop device until the end of the test."""
    attached: list[str] = []

    def losetup(*words: str | Path) -> str:
        command = ["losetup", "--show", "-f", *map(str, words)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError:
            pytest.skip("needs losetup")
        if done.returncode:
            pytest.skip(f"needs a loop device: {done.stderr.strip()}")
        attached.append(done.stdout.strip())
        return attached[-1]

    yield losetup
    for device in reversed(attached):
        subprocess.run(["losetup", "-d", device], timeout=60, check=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(4 * MIB))
    return path


def of(path: str | Path) -> Extent:
    status = Path(path).stat()
    is_block = Path(path).is_block_device()
    return extents.of_device(str(path), status.st_rdev) if is_block else extents.of_file(status)


def test_parts_that_touch_have_nothing_in_common() -> None:
    disk = Extent(("device", 1))
    first, second = disk.part(0, 10), disk.part(10, 10)
    assert not first.overlaps(second)
    assert first.overlaps(disk)
    assert disk.overlaps(second)
    assert second.overlaps(disk.part(19))
    assert not second.overlaps(disk.part(20))
    assert not first.overlaps(Extent(("device", 2)))


def test_a_part_ends_where_the_whole_does() -> None:
    part = Extent(("device", 1)).part(100, 50).part(10, 1000)
    assert (part.start, part.end) == (110, 150)


def test_a_loop_device_is_its_file(attach: Attach, image: Path) -> None:
    device = of(attach(image))
    assert device.overlaps(of(image))
    (image.parent / "other").write_bytes(b"")
    assert not device.overlaps(of(image.parent / "other"))


def test_two_loop_devices_of_one_file_share_what_both_have(attach: Attach, image: Path) -> None:
    whole = of(attach(image))
    first = of(attach("--sizelimit", str(MIB), image))
    second = of(attach("--offset", str(MIB), image))
    assert first.overlaps(whole)
    assert second.overlaps(whole)
    assert not first.overlaps(second)


def test_a_loop_device_of_a_device_is_that_device(attach: Attach, image: Path) -> None:
    below = attach(image)
    above = of(attach("--sector-size", "512", below))
    assert above.root == ("device", Path(below).stat().st_rdev)


def test_a_partition_is_part_of_its_disk_and_of_that_disks_file(
    attach: Attach, image: Path
) -> None:
    subprocess.run(["sfdisk", "-q", image], input=SFDISK, text=True, timeout=60, check=True)
    disk = attach(image)
    subprocess.run(["partx", "-u", disk], timeout=60, check=True)
    first, second = Path(f"{disk}p1"), Path(f"{disk}p2")
    if not (first.is_block_device() and second.is_block_device()):
        pytest.skip("needs device nodes of partitions")
    assert of(first).overlaps(of(disk))
    assert of(first).overlaps(of(image))
    assert not of(first).overlaps(of(second))
    assert (of(second).start, of(second).end) == (2 * MIB, 3 * MIB)


def test_a_loop_device_without_a_file_is_itself() -> None:
    free = subprocess.run(["losetup", "-f"], capture_output=True, text=True, check=False)
    if free.returncode or not Path(free.stdout.strip()).is_block_device():
        pytest.skip("needs a free loop device")
    device = free.stdout.strip()
    assert of(device).root == ("device", Path(device).stat().st_rdev)
