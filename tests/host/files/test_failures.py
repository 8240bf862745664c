"""The lines that say why a disk's requests fail."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from vestige import abi
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.files import failures
from vestige.host.files.failures import (
    EDQUOT,
    EFBIG,
    EIO,
    ENOSPC,
    EOPNOTSUPP,
    MOST_REASONS,
    OPERATIONS,
    FileFailures,
    reported,
)
from vestige.host.options import DiskOption

SIZE = 8192
FULL = os.statvfs_result((4096, 4096, 100, 0, 0, 10, 10, 10, 0, 255))


@pytest.fixture
def image(tmp_path: Path) -> Iterator[DiskImage]:
    """An image that is well."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(SIZE))
    with closing(open_disk(DiskOption(str(path)))) as opened:
        yield opened


def failed(**errors: int) -> abi.Statistics:
    """A domain whose disk 0 failed so."""
    reports = abi.Statistics()
    for operation, error in errors.items():
        setattr(reports.disks[0], operation, error)
    return reports


@pytest.mark.parametrize(
    ("operation", "error", "told"),
    [
        ("write", ENOSPC, "No space left on device: the guest's write failed; make room"),
        ("flush", EDQUOT, "Disk quota exceeded: the guest's flush failed; make room"),
        (
            "write",
            EFBIG,
            "File too large: the guest's write failed; raise the limit on the size of files"
            " (ulimit -f), or take another file system",
        ),
        ("read", EIO, "Input/output error: the guest's read failed"),
        ("write", EIO, "Input/output error: the guest's write failed"),
    ],
)
def test_a_line_names_the_image_the_reason_and_the_cure(
    image: DiskImage, capsys: pytest.CaptureFixture[str], operation: str, error: int, told: str
) -> None:
    FileFailures({0: image}).tell(reported([failed(**{operation: error})]))
    assert capsys.readouterr().err == f"vestige: {image.path}: {told}\n"


def test_an_image_that_became_shorter_is_told_as_that(image: DiskImage) -> None:
    os.truncate(image.path, SIZE // 2)
    assert failures.line(image, "read", EIO) == (
        f"{image.path}: the file has become shorter than the disk: the guest's read failed"
    )


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (
            "flush",
            "Input/output error, and its file system has no room left: the guest's flush failed;"
            " make room",
        ),
        ("read", "Input/output error: the guest's read failed"),
    ],
)
def test_an_error_that_says_nothing_is_looked_into(
    image: DiskImage, monkeypatch: pytest.MonkeyPatch, operation: str, expected: str
) -> None:
    """As behind a device of the software host's, whose file's name the image has."""
    monkeypatch.setattr(os, "statvfs", lambda path: FULL)
    assert failures.line(image, operation, EIO) == f"{image.path}: {expected}"


def test_a_full_file_system_lacks_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x")
    assert not failures.lacks_room(str(path))
    monkeypatch.setattr(os, "statvfs", lambda path: FULL)
    assert failures.lacks_room(str(path))


@pytest.mark.parametrize("name", ["/dev/null", "/dev/no-such-device"])
def test_a_device_has_no_file_system_that_lacks_room(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: FULL)
    assert not failures.lacks_room(name)


def test_each_reason_is_told_once_however_often_and_by_whom(
    image: DiskImage, capsys: pytest.CaptureFixture[str]
) -> None:
    file_failures = FileFailures({0: image})
    domains = [failed(), failed(write=ENOSPC), failed(write=ENOSPC, flush=ENOSPC)]
    for _ in range(3):
        file_failures.tell(reported(domains))
    file_failures.tell(reported([failed(write=EIO), *domains]))
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in told] == [os.strerror(ENOSPC), os.strerror(EIO)]


@pytest.mark.parametrize("errors", [{}, {"discard": EOPNOTSUPP}])
def test_what_is_no_failure_is_not_told(
    image: DiskImage, capsys: pytest.CaptureFixture[str], errors: Mapping[str, int]
) -> None:
    FileFailures({0: image}).tell(reported([failed(**errors)]))
    assert capsys.readouterr().err == ""


def test_whatever_a_monitor_reports_is_a_line(
    image: DiskImage, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that a guest has taken over: of a disk there is not, too."""
    file_failures = FileFailures({0: image})
    reports = failed()
    reports.disks[3].write = ENOSPC
    for error in range(256):
        reports.disks[0].write = error
        file_failures.tell(reported([reports]))
        FileFailures({0: image}).tell(reported([reports]))
        assert len(capsys.readouterr().err.splitlines()) == (error > 0) + (
            0 < error <= MOST_REASONS
        )


def test_reports_of_all_domains_become_numbers() -> None:
    first, second = failed(write=ENOSPC), failed(flush=EIO)
    second.disks[3].discard = EDQUOT
    write, flush, discard = (OPERATIONS.index(name) for name in ("write", "flush", "discard"))
    assert [*reported([first, failed(), second])] == [
        (0, write, ENOSPC), (0, flush, EIO), (3, discard, EDQUOT),
    ]  # fmt: skip


def test_whatever_the_machines_process_says_is_a_line(
    image: DiskImage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any three bytes: of a disk or an operation that there is not, too."""
    file_failures = FileFailures({0: image})
    for disk in (0, 1, 255):
        for operation in range(256):
            file_failures.tell((disk, operation, error) for error in (0, 1, ENOSPC, 255))
    told = capsys.readouterr().err.splitlines()
    assert 0 < len(told) <= MOST_REASONS
    assert all(line.startswith(f"vestige: {image.path}: ") for line in told)
