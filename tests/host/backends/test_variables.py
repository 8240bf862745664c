"""A UEFI firmware's variables: the file is whole at any time, one run's, and no other's."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.backends.disks import open_disk
from vestige.host.backends.variables import (
    Lent,
    Variables,
    open_device,
    open_variables,
    sealed,
    unsealed,
)
from vestige.host.options import DiskOption

SIZE = 8192


def volume(size: int = SIZE, *, fill: int = 0xFF) -> bytes:
    """What has a firmware volume's header, and nothing else of one."""
    header = bytes(0x20) + size.to_bytes(8, "little") + b"_FVH"
    return header.ljust(size, bytes([fill]))


CHANGED = volume(fill=0xA5)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "TEMPLATE_VARS.fd"
    path.write_bytes(volume())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "guests"
    folder.mkdir()
    return folder / "my.vars"


def change(opened: Variables, contents: bytes = CHANGED) -> None:
    """As the guest's flash memory does."""
    os.pwrite(opened.file.descriptor, contents, 0)


def names(path: Path) -> list[str]:
    """What is in its directory."""
    return [each.name for each in path.parent.iterdir()]


def test_one_that_is_not_there_is_made_of_the_template(path: Path, template: Path) -> None:
    opened = open_variables(str(path), str(template))
    assert names(path) == [path.name]
    assert path.read_bytes() == volume()
    assert (opened.file.size, os.pread(opened.file.descriptor, SIZE, 0)) == (SIZE, volume())
    opened.close()


def test_one_that_was_made_for_a_run_that_is_refused_goes_with_it(
    path: Path, template: Path
) -> None:
    open_variables(str(path), str(template)).close()
    assert names(path) == []
    opened = open_variables(str(path), str(template))
    opened.begin()
    opened.close()
    assert names(path) == [path.name]
    open_variables(str(path), str(template)).close()
    assert path.read_bytes() == volume()


def test_another_file_that_has_its_name_stays(path: Path, template: Path) -> None:
    opened = open_variables(str(path), str(template))
    path.unlink()
    path.write_bytes(b"somebody's")
    opened.close()
    assert path.read_bytes() == b"somebody's"


def test_hard_links_to_one_file_are_one_file(path: Path, template: Path, tmp_path: Path) -> None:
    path.write_bytes(volume())
    other = tmp_path / "other.vars"
    other.hardlink_to(path)
    opened = open_variables(str(path), str(template))
    with pytest.raises(UsageError, match=f"^--variables {other}: in use by another run"):
        open_variables(str(other), str(template))
    for read_only in (False, True):
        with pytest.raises(UsageError, match=f"^{other}: in use by another run"):
            open_disk(DiskOption(str(other), read_only=read_only))
    opened.close()
    disk = open_disk(DiskOption(str(other), read_only=True))
    with pytest.raises(UsageError, match=f"^--variables {path}: in use by another run"):
        open_variables(str(path), str(template))
    disk.close()


def test_what_a_machine_has_changed_is_in_the_file_when_it_has_ended(
    path: Path, template: Path
) -> None:
    opened = open_variables(str(path), str(template))
    change(opened)
    assert path.read_bytes() == volume()
    opened.keep()
    assert path.read_bytes() == CHANGED
    change(opened, volume(fill=1))
    opened.keep()
    opened.close()
    assert path.read_bytes() == volume(fill=1)
    assert names(path) == [path.name]


def test_a_file_is_left_alone_where_nothing_has_changed(path: Path) -> None:
    path.write_bytes(volume())
    before = path.stat()
    opened = open_variables(str(path), None)
    opened.keep()
    opened.close()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_file_has_its_name_only_once_it_is_whole(
    path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed while it writes leaves the file as it was."""
    opened = open_variables(str(path), str(template))
    change(opened)
    seen: list[bytes] = []
    pwrite = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        seen.append(path.read_bytes())
        return pwrite(descriptor, data[: SIZE // 4], offset)

    monkeypatch.setattr(os, "pwrite", half)
    opened.keep()
    opened.close()
    assert seen == [volume()] * 4
    assert path.read_bytes() == CHANGED


def test_another_file_of_the_name_stays_and_the_variables_are_beside_it(
    path: Path, template: Path
) -> None:
    opened = open_variables(str(path), str(template))
    change(opened)
    path.rename(path.with_suffix(".moved"))
    path.write_bytes(b"somebody's")
    with pytest.raises(UsageError, match="another file has that name since") as told:
        opened.keep()
    opened.close()
    assert path.read_bytes() == b"somebody's"
    assert Path(str(told.value).rpartition(" in ")[2]).read_bytes() == CHANGED
    assert len(names(path)) == 3


def test_where_it_can_t_be_written_it_stays_and_a_line_says_so(
    path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_variables(str(path), str(template))
    change(opened)

    def full(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(UsageError) as told:
            opened.keep()
    assert str(told.value) == (
        f"--variables {path}: No space left on device; what the guest has changed in its variables"
        " is lost"
    )
    assert (path.read_bytes(), names(path)) == (volume(), [path.name])
    opened.keep()
    assert path.read_bytes() == CHANGED
    opened.close()


def test_mode_and_links_are_kept(path: Path, tmp_path: Path) -> None:
    path.write_bytes(volume())
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    opened = open_variables(str(link), None)
    change(opened)
    opened.keep()
    opened.close()
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_bytes() == CHANGED


def test_a_second_run_is_refused_before_and_after_the_file_is_replaced(
    path: Path, template: Path
) -> None:
    opened = open_variables(str(path), str(template))
    for _ in range(2):
        with pytest.raises(UsageError) as told:
            open_variables(str(path), str(template))
        assert str(told.value) == (
            f"--variables {path}: in use by another run; end that one first, or give another file"
        )
        change(opened)
        opened.keep()
    opened.close()
    open_variables(str(path), str(template)).close()


def test_a_run_that_ends_while_another_opens_the_file_leaves_it_the_new_one(
    path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_variables(str(path), str(template))
    change(opened)
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        opened.keep()
        opened.close()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = open_variables(str(path), str(template))
    assert os.pread(second.file.descriptor, SIZE, 0) == CHANGED
    with pytest.raises(UsageError, match="in use"):
        open_variables(str(path), str(template))
    second.close()


def test_without_a_file_they_last_as_long_as_the_run(template: Path) -> None:
    opened = open_variables(None, str(template))
    change(opened)
    opened.keep()
    opened.close()
    assert template.read_bytes() == volume()


def test_nobody_changes_the_memory_s_size(path: Path) -> None:
    path.write_bytes(volume())
    opened = open_variables(str(path), None)
    for size in (0, 2 * SIZE):
        with pytest.raises(PermissionError):
            os.ftruncate(opened.file.descriptor, size)
    opened.close()


NEW = "give a name that isn't there yet, or what this firmware has made"
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another size": (
        lambda path: path.write_bytes(volume(2 * SIZE)),
        f"16384 bytes; this firmware's variables have 8192, as {{template}} has; {NEW}",
    ),
    "cut short": (
        lambda path: path.write_bytes(volume()[:-4096]),
        f"4096 bytes, and its header says 8192; {NEW}",
    ),
    "something else": (
        lambda path: path.write_bytes(bytes(SIZE)),
        f"no variables of a UEFI firmware (no _FVH at 0x28); {NEW}",
    ),
    "empty": (
        lambda path: path.write_bytes(b""),
        f"no variables of a UEFI firmware (no _FVH at 0x28); {NEW}",
    ),
    "a directory": (lambda path: path.mkdir(), "Is a directory; give a file that can be written"),
    "a FIFO": (os.mkfifo, f"not a regular file; {NEW}"),
    "no directory": (
        lambda path: path.parent.rmdir(),
        "No such file or directory; give a file that can be written",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_stays_as_it_is(path: Path, template: Path, name: str) -> None:
    make, line = BAD[name]
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UsageError) as told:
        open_variables(str(path), str(template))
    assert str(told.value) == f"--variables {path}: {line.format(template=template)}"
    assert (path.read_bytes() if path.is_file() else None) == before


def test_without_a_template_the_file_has_to_be_there(path: Path) -> None:
    with pytest.raises(UsageError) as told:
        open_variables(str(path), None)
    assert str(told.value) == (
        f"--variables {path}: not there, and this firmware is not beside a template of its"
        " variables (OVMF_VARS… for OVMF_CODE…); give a copy of one"
    )


def test_a_template_that_is_not_there_is_told_with_its_cure(path: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    with pytest.raises(UsageError) as told:
        open_variables(str(path), str(missing))
    assert str(told.value) == (
        f"{missing}: No such file or directory; give the variables of a UEFI firmware (sudo apt"
        " install ovmf)"
    )


# ---- in a software host -------------------------------------------------------------------------


def test_a_device_s_contents_are_whole_or_known_not_to_be() -> None:
    data = sealed(volume())
    assert len(data) == SIZE + 512
    assert unsealed(data) == volume()
    assert unsealed(data[:100] + b"x" + data[101:]) is None


def test_what_a_run_inside_has_kept_comes_back(path: Path, template: Path) -> None:
    opened = open_variables(str(path), str(template))
    lent = Lent(opened)
    inside = open_device("my.vars", f"/proc/self/fd/{lent.descriptor}")
    assert os.pread(inside.file.descriptor, SIZE, 0) == volume()
    change(inside)
    inside.keep()
    inside.close()
    lent.take_back()
    lent.close()
    opened.close()
    assert path.read_bytes() == CHANGED


def test_what_came_back_in_part_is_not_believed(path: Path, template: Path) -> None:
    opened = open_variables(str(path), str(template))
    opened.begin()
    lent = Lent(opened)
    os.pwrite(lent.descriptor, CHANGED[:4096], 0)
    with pytest.raises(UsageError) as told:
        lent.take_back()
    assert str(told.value) == (
        f"--variables {path}: what the guest has changed in its variables is lost"
    )
    lent.close()
    opened.close()
    assert path.read_bytes() == volume()
