"""Files that a run writes: what is somebody else's already is neither emptied nor overwritten."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.backends.disks import open_disk
from vestige.host.files.outputs import OutputFile, empty, open_output, own_descriptor
from vestige.host.options import DiskOption


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(b"precious\n")
    return path


def given(log: Path, flags: int) -> int:
    """A descriptor as the caller of a command gives it."""
    descriptor = os.open(log, flags)
    os.set_inheritable(descriptor, True)
    return descriptor


@pytest.fixture
def appended(log: Path) -> Iterator[int]:
    """What `3>>log` gives."""
    descriptor = given(log, os.O_WRONLY | os.O_APPEND)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd", "/proc/{}/fd"])
def test_a_descriptor_of_ours_is_itself_and_its_file_keeps_what_it_has(
    folder: str, appended: int, log: Path
) -> None:
    descriptor = open_output(f"{folder.format(os.getpid())}/{appended}", None)
    empty(descriptor)
    os.write(descriptor, b"more\n")
    os.close(descriptor)
    assert log.read_bytes() == b"precious\nmore\n"


def test_what_went_through_a_descriptor_before_stays_before(log: Path) -> None:
    ours = given(log, os.O_WRONLY | os.O_TRUNC)
    os.write(ours, b"header\n")
    descriptor = open_output(f"/dev/fd/{ours}", None)
    empty(descriptor)
    os.write(descriptor, b"body\n")
    os.write(ours, b"footer\n")
    os.close(ours)
    os.close(descriptor)
    assert log.read_bytes() == b"header\nbody\nfooter\n"


def test_a_file_opened_by_its_name_is_emptied(log: Path) -> None:
    descriptor = open_output(str(log), None)
    assert log.read_bytes() == b"precious\n"
    empty(descriptor)
    os.close(descriptor)
    assert log.read_bytes() == b""


def test_what_was_given_only_to_be_read_is_not_written(log: Path) -> None:
    ours = given(log, os.O_RDONLY)
    with pytest.raises(OSError, match="not open for writing"):
        open_output(f"/dev/fd/{ours}", None)
    os.close(ours)


def test_what_nobody_gave_us_is_not_written(log: Path) -> None:
    ours = os.open(log, os.O_RDWR)  # close-on-exec, as all that we open ourselves
    with pytest.raises(OSError, match="not open for writing"):
        open_output(f"/dev/fd/{ours}", None)
    os.close(ours)


def test_a_descriptor_that_is_not_open_is_not_there() -> None:
    for name in ("987654", "9" * 99):
        with pytest.raises(FileNotFoundError):
            open_output(f"/dev/fd/{name}", None)


def test_names_of_descriptors_are_known_through_links(tmp_path: Path, appended: int) -> None:
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "other").symlink_to(f"/dev/fd/{appended}")
    (tmp_path / str(appended)).write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    names = ["link", str(appended), "loop", "missing", "\0"]
    numbers = [own_descriptor(str(tmp_path / name)) for name in names]
    assert numbers == [appended, None, None, None, None]
    assert (own_descriptor("/dev/stdout"), own_descriptor("/dev/stderr")) == (1, 2)


def test_a_removed_working_directory_is_said_to_be_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError, match="the working directory has been removed"):
        open_output("log", None)
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        open_output(str(tmp_path / "none" / "log"), None)


# ---- made, or emptied, as the guest starts ------------------------------------------------------


def output(path: Path | str) -> OutputFile:
    return OutputFile(str(path), f"--stats {path}", "give another", None)


def test_a_file_that_is_not_there_is_made_as_the_guest_starts_and_not_before(
    tmp_path: Path,
) -> None:
    (tmp_path / "link").symlink_to("log")
    for name in ("log", "link"):
        file = output(tmp_path / name)
        assert [each.name for each in tmp_path.iterdir()] == ["link"]
        descriptor = file.descriptor
        file.prepare()
        file.prepare()
        assert file.descriptor == descriptor
        assert not os.get_inheritable(descriptor)
        os.write(descriptor, b"said")
        file.close()
        file.close()
        assert (tmp_path / "log").read_bytes() == b"said"
        (tmp_path / "log").unlink()


def test_one_that_is_there_is_emptied_once_as_the_guest_starts_and_not_before(log: Path) -> None:
    output(log).close()
    file = output(log)
    assert log.read_bytes() == b"precious\n"
    file.prepare()
    os.write(file.descriptor, b"said")
    file.prepare()
    file.close()
    assert log.read_bytes() == b"said"


def test_what_somebody_else_has_made_meanwhile_stays(tmp_path: Path) -> None:
    file = output(tmp_path / "log")
    (tmp_path / "log").write_bytes(b"theirs")
    with pytest.raises(UsageError) as told:
        file.prepare()
    file.close()
    assert str(told.value) == (
        f"--stats {tmp_path}/log: somebody has made this file since the run began; give another"
    )
    assert (tmp_path / "log").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/log", "No such file or directory"),
        ("file/log", "Not a directory"),
        ("log/", "Is a directory"),
        (".", "Is a directory"),
        ("n" * 256, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("astray", "No such file or directory"),
        ("a\0b", "embedded null byte"),
        ("/proc/self/log", "No such file or directory"),
    ],
)
def test_one_that_can_not_be_made_is_told_at_once(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "astray").symlink_to("none/log")
    before = sorted(tmp_path.iterdir())
    path = name if name.startswith("/") else f"{tmp_path}/{name}"
    with pytest.raises(UsageError) as told:
        output(path)
    assert str(told.value) == f"--stats {path}: {reason}; give another"
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_that_may_not_be_written_is_told_at_once(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied; give another"):
        output(tmp_path / "log")


# ---- another run's ------------------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_another_runs_disk_is_neither_written_nor_emptied(
    log: Path, tmp_path: Path, read_only: bool
) -> None:
    log.write_bytes(bytes(512))
    (tmp_path / "hard").hardlink_to(log)
    with closing(open_disk(DiskOption(str(log), read_only=read_only))):
        for path in (log, tmp_path / "hard"):
            with pytest.raises(UsageError) as told:
                output(path)
            assert str(told.value) == (
                f"--stats {path}: in use by another run; end that one first, or give another"
            )
    output(log).close()


def test_what_another_run_writes_is_not_emptied_nor_its_disk(log: Path, tmp_path: Path) -> None:
    log.write_bytes(bytes(512))
    new = output(tmp_path / "new")
    new.prepare()
    os.write(new.descriptor, bytes(512))
    with closing(output(log)), closing(new):
        for path in (log, tmp_path / "new"):
            with pytest.raises(UsageError, match="in use by another run; end that one first"):
                output(path)
            with pytest.raises(UsageError, match="in use by another run; end that one first"):
                open_disk(DiskOption(str(path)))
    open_disk(DiskOption(str(tmp_path / "new"))).close()


def test_what_the_caller_has_open_is_nobodys_alone(log: Path, appended: int) -> None:
    with closing(output(f"/dev/fd/{appended}")), closing(output(log)):
        pass
