"""Paths that others could change are refused, each way in which they could."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vestige import trust
from vestige.trust import UntrustedError

OTHER = 12345  # a user who is neither this one nor root
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")


def give_away(path: Path) -> None:
    """Have another user own it, be it a link."""
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


def read(path: Path) -> bytes:
    """The content of the file, if nobody else could have changed it."""
    above = trust.follow(str(path.parents[1]))
    try:
        folder = trust.enter(above, path.parent.name, str(path.parent))
    finally:
        os.close(above)
    try:
        descriptor = trust.open_file(folder, path.name, str(path))
    finally:
        os.close(folder)
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file, with nothing wrong with it, in `place/above/folder`."""
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"mine")
    return folder / "file"


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """No test leaves a descriptor open."""
    own = Path("/proc/self/fd")
    before = len([*own.iterdir()])
    yield
    assert len([*own.iterdir()]) == before


def refused(file: Path, path: Path, problem: str) -> None:
    with pytest.raises(UntrustedError) as raised:
        read(file)
    assert (raised.value.filename, raised.value.strerror) == (str(path), problem)


def test_what_is_this_users_alone_is_read(file: Path) -> None:
    assert read(file) == b"mine"


@pytest.mark.parametrize("level", [0, 1, 2], ids=["file", "folder", "above"])
@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_what_others_may_write_is_refused(file: Path, level: int, mode: int) -> None:
    path = [file, *file.parents][level]
    path.chmod(mode)
    refused(file, path, "others may write there (chmod go-w)")


@AS_ROOT
@pytest.mark.parametrize("level", [0, 1, 2], ids=["file", "folder", "above"])
def test_what_belongs_to_another_user_is_refused(file: Path, level: int) -> None:
    path = [file, *file.parents][level]
    give_away(path)
    refused(file, path, f"belongs to user {OTHER}, not to this one or root")


@AS_ROOT
def test_what_belongs_to_root_is_read_by_another_user(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert read(file) == b"mine"


def test_a_link_in_the_files_place_is_refused(file: Path) -> None:
    file.rename(file.with_name("other"))
    file.symlink_to("other")
    refused(file, file, "a symbolic link, not a file")


def test_a_file_that_has_another_name_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").hardlink_to(file)
    refused(file, file, "has another name")


def test_a_fifo_in_the_files_place_is_refused_at_once(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    refused(file, file, "not a file")


def test_a_link_in_the_folders_place_is_refused(file: Path) -> None:
    folder = file.parent.rename(file.parents[1] / "other")
    file.parent.symlink_to(folder)
    refused(file, file.parent, "a symbolic link, not a folder")


def test_links_above_the_folder_are_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "absolute").symlink_to(file.parents[1])
    (tmp_path / "relative").symlink_to("./folders/../absolute/.")
    (tmp_path / "folders").mkdir()
    assert read(tmp_path / "relative" / "folder" / "file") == b"mine"


@AS_ROOT
def test_another_users_link_above_the_folder_is_refused(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file.parents[1])
    give_away(link)
    refused(link / "folder" / "file", link, f"belongs to user {OTHER}, not to this one or root")


def test_what_a_link_leads_to_is_looked_at_as_well(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("above")
    file.parents[1].chmod(0o777)
    path = tmp_path / "link" / "folder" / "file"
    refused(path, file.parents[1], "others may write there (chmod go-w)")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        trust.follow(str(tmp_path / "circle"))


def test_a_folder_as_tmp_may_be_above(file: Path) -> None:
    file.parents[1].chmod(0o1777)
    assert read(file) == b"mine"


def test_a_folder_as_tmp_is_refused_where_the_file_is(file: Path) -> None:
    file.parent.chmod(0o1777)
    refused(file, file.parent, "others may write there (chmod go-w)")


@AS_ROOT
def test_another_users_entry_of_a_folder_as_tmp_is_refused(file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    give_away(file.parents[1])
    refused(file, file.parents[1], f"belongs to user {OTHER}, not to this one or root")


@AS_ROOT
@pytest.mark.parametrize("users", ["0 1000 1\n", "0 1000 1\n1 100000 65533\n"])
def test_root_may_be_a_stranger_in_a_user_namespace(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: str
) -> None:
    stranger = int(Path(trust.OTHER_USERS).read_text())
    (tmp_path / "users").write_text(users)
    monkeypatch.setattr(trust, "USERS", str(tmp_path / "users"))
    os.chown(file.parents[1], stranger, stranger)
    assert read(file) == b"mine"
    for path in (file, file.parent):
        os.chown(path, stranger, stranger)
        refused(file, path, f"belongs to user {stranger}, not to this one or root")
        os.chown(path, 0, 0)
    file.parents[1].chmod(0o775)
    refused(file, file.parents[1], "others may write there (chmod go-w)")


@AS_ROOT
@pytest.mark.parametrize("users", ["0 0 4294967295\n", "0 1000 1\n1 100000 65536\n", "", "?"])
def test_a_user_with_the_number_of_strangers_is_another_user(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: str
) -> None:
    stranger = int(Path(trust.OTHER_USERS).read_text())
    if users:
        (tmp_path / "users").write_text(users)
    monkeypatch.setattr(trust, "USERS", str(tmp_path / "users"))
    os.chown(file.parents[1], stranger, stranger)
    refused(file, file.parents[1], f"belongs to user {stranger}, not to this one or root")


def after_looking_at(
    path: Path, swap: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have `swap` called once `path` was found to be this user's alone."""
    require = trust.require

    def then_swap(status: os.stat_result, name: str, *, above: bool = False) -> None:
        require(status, name, above=above)
        if name == str(path):
            swap()

    monkeypatch.setattr(trust, "require", then_swap)


def test_a_file_that_is_swapped_once_looked_at_is_not_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.with_name("other").write_bytes(b"theirs")
    after_looking_at(file, lambda: file.with_name("other").replace(file), monkeypatch)
    assert read(file) == b"mine"
    assert file.read_bytes() == b"theirs"


@pytest.mark.parametrize("level", [0, 1], ids=["folder", "above"])
def test_a_folder_that_is_swapped_once_looked_at_is_not_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    path, theirs = file.parents[level], tmp_path / "theirs" / "folder"
    theirs.mkdir(parents=True)
    (theirs / "file").write_bytes(b"theirs")

    def swap() -> None:
        path.rename(tmp_path / "gone")
        path.symlink_to(theirs if level == 0 else theirs.parent)

    after_looking_at(path, swap, monkeypatch)
    assert read(file) == b"mine"
    assert file.read_bytes() == b"theirs"


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        above = trust.follow(str(tmp_path / "new" / "newer"), make=True)
        os.close(trust.enter(above, "newest", "newest", make=True))
        os.close(above)
    finally:
        os.umask(before)
    for name in ("new", "new/newer", "new/newer/newest"):
        assert (tmp_path / name).stat().st_mode & 0o7777 == trust.PRIVATE


def test_a_folder_that_somebody_else_makes_first_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def beaten(name: str, mode: int, *, dir_fd: int) -> None:
        (tmp_path / name).symlink_to("/")
        mkdir(name, mode, dir_fd=dir_fd)

    above = trust.follow(str(tmp_path))
    monkeypatch.setattr(os, "mkdir", beaten)
    with pytest.raises(UntrustedError, match="a symbolic link"):
        trust.enter(above, "new", "new", make=True)
    os.close(above)


def test_what_is_no_folder_is_said_so(file: Path) -> None:
    with pytest.raises(NotADirectoryError):
        trust.follow(str(file))
    with pytest.raises(NotADirectoryError):
        read(file / "folder" / "file")
