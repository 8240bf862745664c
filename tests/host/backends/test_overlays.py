"""Overlays: what is made, what is refused and with which words, and who holds the lock."""

import errno
import os
import resource
import struct
from contextlib import closing
from pathlib import Path

import pytest

from tests.host import layers
from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host.backends import overlays
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.files import beside
from vestige.host.options import TEMPORARY, DiskOption

SECTORS = 100_000
VERSION_AT, SECTOR_AT, SECTORS_AT, TIME_AT, LENGTH_AT = 16, 20, 24, 32, 40


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.img"
    path.touch()
    os.truncate(path, SECTORS * abi.SECTOR)
    return path


@pytest.fixture
def file(base: Path) -> Path:
    """An overlay of it."""
    path = base.parent / "overlay"
    with closing(opened(base, path)) as image:
        assert image.overlay is not None
        image.overlay.begin()
    return path


def opened(base: Path, overlay: Path | str, *, discard: bool = False) -> DiskImage:
    return open_disk(DiskOption(str(base), discard=discard, overlay=str(overlay)))


def refusal(base: Path, overlay: Path | str) -> str:
    with pytest.raises(UsageError) as error:
        opened(base, overlay)
    message = str(error.value)
    words = f"--disk {base}: overlay={overlay}: "
    assert message.startswith(words)
    assert "\n" not in message
    return message.removeprefix(words)


def test_one_is_made_where_there_is_none_and_has_nothing(base: Path, file: Path) -> None:
    sectors, bits, written = layers.parts(file)
    assert (sectors, any(bits), any(written)) == (SECTORS, False, False)
    assert file.stat().st_blocks * 512 <= 64 << 10
    assert sorted(path.name for path in base.parent.iterdir()) == ["base.img", "overlay"]


@pytest.mark.parametrize("sectors", [1, 100_000, 8 * (2 << 20) - 8 * 4096, 8 * (2 << 20), 1 << 30])
def test_what_is_aligned_on_the_disk_is_so_in_the_file(sectors: int) -> None:
    """Behind the map, and as near to it as a huge page's alignment lets it be."""
    map_size, start, end = overlays.layout(sectors)
    assert start * abi.SECTOR % (2 << 20) == 0
    assert 0 <= start * abi.SECTOR - abi.OVERLAY_MAP_AT - map_size < 2 << 20
    assert end == start + sectors


def test_it_takes_what_is_written_and_its_base_is_only_read(base: Path, file: Path) -> None:
    with closing(opened(base, file)) as image:
        assert image.read_only
        assert image.written == str(file)
        told = abi.Disk()
        image.describe(told, 0, 3)
        assert image.overlay is not None
        image.overlay.describe(told, 4, 0x1000)
        assert (told.read_only, told.file, told.has_overlay, told.overlay_file) == (0, 3, 1, 4)
        assert told.overlay_map == 0x1000
        assert (told.overlay_start + SECTORS) * abi.SECTOR == file.stat().st_size
        os.pwrite(image.overlay.descriptor, b"x", 1 << 20)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(image.descriptor, b"x")
        image.renew()
        os.pwrite(image.overlay.descriptor, b"x", 1 << 20)


def test_runs_share_a_base_and_no_overlay(base: Path, file: Path) -> None:
    with closing(opened(base, file)), closing(opened(base, base.parent / "other")):
        line = "in use by another run; end that one first, or give another file"
        assert refusal(base, file) == line
        with pytest.raises(UsageError, match="in use by another run"):
            open_disk(DiskOption(str(base)))
    open_disk(DiskOption(str(base))).close()


def test_a_temporary_one_has_no_name(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = base.parent / "folder"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with closing(opened(base, TEMPORARY)) as image:
        assert image.overlay is not None
        assert os.fstat(image.overlay.descriptor).st_nlink == 0
        image.renew()
        os.pwrite(image.overlay.descriptor, b"x", 1 << 20)
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("TMPDIR", str(base))
    line = f"{base}: Not a directory; have TMPDIR name a directory with room"
    assert refusal(base, TEMPORARY) == line


def test_one_named_like_the_temporary_one_has_a_folder_before_it(base: Path) -> None:
    os.chdir(base.parent)
    with closing(opened(base, f"./{TEMPORARY}")):
        assert (base.parent / TEMPORARY).exists()


def test_what_is_no_overlay_is_refused_and_left_as_it_was(base: Path) -> None:
    path = base.parent / "text"
    for content in (b"", b"text", bytes(1 << 20)):
        path.write_bytes(content)
        assert refusal(base, path) == (
            "not an overlay; give a name that isn't there yet, or an overlay of this disk"
        )
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("place", "form", "value", "line"),
    [
        (VERSION_AT, "I", 1, "an overlay of version 1, and this Vestige knows 2; "),
        (VERSION_AT, "I", 3, "an overlay of version 3, and this Vestige knows 2; "),
        (SECTOR_AT, "I", 4096, "an overlay of version 2, and this Vestige knows 2; "),
        (SECTORS_AT, "Q", 8, "an overlay of {base}, a disk of 8 sectors, and this one has 100000"),
        (SECTORS_AT, "Q", (1 << 64) - 1, "an overlay of {base}, a disk of 18446744073709551615"),
        (TIME_AT, "q", 1, "made over {base} as it was on 1970-01-01 at "),
        (TIME_AT, "q", (1 << 63) - 1, "made over {base} as it was on 2262-04-11 at "),
        (TIME_AT, "q", -(1 << 63), "made over {base} as it was "),
    ],
)
def test_another_version_or_base_is_refused(
    base: Path, file: Path, place: int, form: str, value: int, line: str
) -> None:
    with file.open("r+b") as changed:
        changed.seek(place)
        changed.write(struct.pack(f"<{form}", value))
    assert refusal(base, file).startswith(line.format(base=base))


def test_a_base_that_has_changed_since_is_refused(base: Path, file: Path) -> None:
    with closing(open_disk(DiskOption(str(base)))) as image:
        os.pwrite(image.descriptor, b"x", 0)
    os.utime(base, ns=(0, 1_000_000_000_000_000_123))
    said = refusal(base, file)
    assert f"made over {base} as it was on " in said
    assert ".000000123: both together are no disk's content" in said
    other = base.parent / "other.img"
    other.touch()
    os.truncate(other, (SECTORS + 1) * abi.SECTOR)
    assert "a disk of 100000 sectors, and this one has 100001" in refusal(other, file)


def test_any_bytes_in_the_header_are_taken_or_refused_by_a_line(base: Path, file: Path) -> None:
    head = file.read_bytes()[: abi.OVERLAY_MAP_AT]
    for place in range(100):
        for value in (0, 1, 0x7F, 0xFF):
            with file.open("r+b") as changed:
                changed.write(head[:place] + bytes((value,)) + head[place + 1 :])
            told = ""
            try:
                opened(base, file).close()
            except UsageError as error:
                told = str(error)
            assert "\n" not in told


def test_one_that_is_cut_off_is_refused(base: Path, file: Path) -> None:
    size = file.stat().st_size
    os.truncate(file, size - 1)
    assert refusal(base, file).startswith(f"{size - 1} bytes of an overlay of {size}: its end is")


def test_one_that_is_changed_while_a_guest_has_it_is_told_of(base: Path, file: Path) -> None:
    size = file.stat().st_size
    with closing(opened(base, file)) as image:
        assert image.overlay is not None
        image.overlay.check_whole()
        os.truncate(file, 4096)
        with pytest.raises(GuestError, match=f"overlay={file}: somebody has cut off this file"):
            image.overlay.check_whole()
        os.truncate(file, size)
        file.write_bytes(bytes(size))
        with pytest.raises(GuestError, match="somebody has overwritten this file"):
            image.renew()


@pytest.mark.parametrize("nameless", [True, False])
def test_one_that_no_guest_has_had_goes(
    base: Path, nameless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nameless:
        monkeypatch.setattr(beside, "nameless", lambda *_: None)
    path = base.parent / "new"
    with closing(opened(base, path)):
        assert sorted(each.name for each in base.parent.iterdir()) == ["base.img", "new"]
    assert [each.name for each in base.parent.iterdir()] == ["base.img"]
    with closing(opened(base, path)):
        path.unlink()
        path.write_bytes(b"somebody's")
    assert path.read_bytes() == b"somebody's"


def test_what_can_be_no_file_is_refused(base: Path) -> None:
    folder = base.parent
    os.mkfifo(folder / "fifo")
    assert refusal(base, folder / "fifo").startswith("not a regular file; ")
    assert refusal(base, "/dev/null").startswith("not a regular file; ")
    assert refusal(base, folder) == "Is a directory; give a file that can be written"
    assert refusal(base, folder / "no" / "file").startswith("No such file or directory; ")
    assert "embedded null byte" in refusal(base, "a\0b")


def test_room_that_is_not_there_is_told_before_anything_runs(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert refusal(base, base.parent / "new") == "No space left on device; make room"
    assert [path.name for path in base.parent.iterdir()] == ["base.img"]


def test_a_limit_on_files_sizes_is_told(base: Path, file: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        for path in (file, base.parent / "new"):
            assert "ulimit -f unlimited" in refusal(base, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_overlay_given_as_a_disk_is_told_of(base: Path, file: Path) -> None:
    with pytest.raises(UsageError, match="an overlay of a disk, not a raw image; give that disk"):
        open_disk(DiskOption(str(file)))
    open_disk(DiskOption(str(file), raw=True)).close()


def test_maps_have_places_of_their_own_until_there_are_too_many() -> None:
    class Sized(overlays.Overlay):
        def __init__(self, gib: int) -> None:
            self.path = f"{gib}G"
            self.map_size = overlays.layout(gib << 30 >> 9)[0]

    small, large = Sized(1), Sized(300)
    found = overlays.places([small, large, small])
    assert found[0] == abi.OVERLAY_MAPS
    assert found[1] == found[0] + abi.OVERLAY_MAP_STRIDE
    assert found[2] >= found[1] + large.map_size
    with pytest.raises(UsageError, match="all disks with overlays may have 512 GiB; leave one out"):
        overlays.places([large, large])


def test_a_disk_too_large_for_one_is_refused(base: Path) -> None:
    os.truncate(base, (513 << 30))
    assert "which has at most 512 GiB" in refusal(base, base.parent / "new")
