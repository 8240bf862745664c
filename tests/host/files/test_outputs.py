"""Files that a run writes: what is somebody else's already is neither emptied nor overwritten."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestige.host.files.outputs import empty, open_output, own_descriptor


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
