"""The run's side of a drive for discs: what may be put in, and when the old one is let go."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vestige.errors import GuestError, UsageError
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.backends.drive import EJECT, INSERT, Drive
from vestige.host.options import DiskOption


def iso(path: Path) -> Path:
    path.write_bytes(bytes(0x8000) + b"\1CD001\1".ljust(2048, b"\0"))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Iterator[dict[int, DiskImage]]:
    first = open_disk(DiskOption(str(iso(tmp_path / "first")), read_only=True, is_optical=True))
    images = {2: first}
    yield images
    images[2].close()


def is_locked(path: Path) -> bool:
    try:
        open_disk(DiskOption(str(path), raw=True)).close()
    except UsageError:
        return True
    return False


def test_the_old_disc_stays_until_the_other_is_in(
    images: dict[int, DiskImage], tmp_path: Path
) -> None:
    second = iso(tmp_path / "second")
    drive = Drive(2, images)
    taken = drive.take(INSERT, {"image": str(second)})
    assert (taken.sectors, taken.is_optical) == (68, True)
    assert drive.path == str(tmp_path / "first")
    with pytest.raises(GuestError, match="is being changed"):
        drive.take(EJECT, {})
    drive.settle(is_in=False)
    assert not is_locked(second)
    assert is_locked(tmp_path / "first")
    drive.take(INSERT, {"image": str(second)})
    drive.settle(is_in=True)
    assert drive.path == str(second)
    assert is_locked(second)
    assert not is_locked(tmp_path / "first")
    drive.take(EJECT, {})
    drive.settle(is_in=True)
    assert drive.path is None
    assert not is_locked(second)


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({}, "a disc is an image's path"),
        ({"image": 3}, "a disc is an image's path"),
        ({"image": "first", "raw": 1}, "a disc is an image's path"),
        ({"image": "first"}, "not an absolute path"),
        ({"image": "/nowhere/first"}, "no such image of a disc"),
        ({"image": "/dev/null"}, "neither a file nor a block device; give an ISO image"),
    ],
)
def test_what_can_not_be_put_in_leaves_all_as_it_was(
    images: dict[int, DiskImage], request_: dict[str, object], complaint: str
) -> None:
    drive = Drive(2, images)
    before = drive.path
    with pytest.raises(UsageError, match=complaint):
        drive.take(INSERT, request_)
    assert drive.path == before
    drive.take(EJECT, {})  # nothing is under way


def test_an_answer_of_something_else_changes_nothing(images: dict[int, DiskImage]) -> None:
    drive = Drive(2, images)
    before = drive.path
    drive.settle(is_in=True)
    assert drive.path == before
