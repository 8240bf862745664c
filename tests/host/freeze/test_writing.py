"""The files of a snapshot, from a machine's records, and from what are none."""

import errno
import os
import resource
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.files.sparse import PAGE
from vestige.host.freeze.parts import END, MOST, NAMES, RECORD, Part, sizes
from vestige.host.freeze.writing import Writer

MEMORY, CPUS = 64 << 20, 2
SIZES = sizes(MEMORY, CPUS)


@pytest.fixture
def stood() -> list[str]:
    """Gets a word when the machine stands still."""
    return []


@pytest.fixture
def writer(tmp_path: Path, stood: list[str]) -> Iterator[Writer]:
    made = Writer(str(tmp_path), SIZES, lambda _: stood.append("still"))
    yield made
    made.close()


def record(part: int, place: int, data: bytes, length: int | None = None) -> bytes:
    return RECORD.pack(part, 0, place, len(data) if length is None else length) + data


def give(writer: Writer, data: bytes) -> None:
    """All that a machine's process writes, and its end."""
    os.write(writer.pipe, data)
    writer.given()


def test_records_become_files_of_the_parts_sizes(
    writer: Writer, tmp_path: Path, stood: list[str]
) -> None:
    state = bytes(range(256)) * 4
    first = record(Part.STATE, 0, state)
    give(writer, first + record(Part.RAM, 5 * PAGE, b"here") + record(Part.FLASH, 0, bytes(PAGE)))
    writer.finish()
    assert stood == ["still"]
    assert writer.parts == ["state", "ram", "private", "flash"]
    for part, size in SIZES.items():
        assert (tmp_path / NAMES[part]).stat().st_size == size
    assert (tmp_path / "state").read_bytes().startswith(state)
    assert (tmp_path / "ram").read_bytes()[5 * PAGE :][:5] == b"here\0"
    assert (tmp_path / "ram").stat().st_blocks * 512 < MEMORY
    assert (tmp_path / "flash").read_bytes() == bytes(PAGE)
    assert (tmp_path / "ram").stat().st_mode & 0o777 == 0o600


FORGED = [
    record(99, 0, b"x"),
    record(Part.RAM, MEMORY - 1, b"xy"),
    record(Part.RAM, 1 << 63, b"x"),
    record(Part.RAM, 0, b"x", length=(1 << 64) - 1),
    record(Part.PRIVATE, 0, b""),
    record(Part.FLASH, MOST[Part.FLASH], b"x"),
]


@pytest.mark.parametrize("data", FORGED)
def test_a_record_of_what_the_machine_can_t_have_ends_it(
    writer: Writer, tmp_path: Path, data: bytes
) -> None:
    give(writer, data)
    with pytest.raises(UsageError, match="told of state that it can't have"):
        writer.finish()
    for part, size in SIZES.items():
        assert (tmp_path / NAMES[part]).stat().st_size == size


def test_who_writes_hears_that_all_has_been_taken(writer: Writer) -> None:
    os.write(writer.pipe, record(Part.RAM, 0, b"x") + END)
    taken = select.poll()
    taken.register(writer.pipe, 0)
    assert not taken.poll(0)
    writer.take()
    assert taken.poll(0) == [(writer.pipe, select.POLLERR)]
    assert writer.problem is None


@pytest.mark.parametrize("data", [b"half", record(Part.RAM, 0, b"short", length=4096)])
def test_an_end_in_the_middle_is_told(writer: Writer, data: bytes) -> None:
    give(writer, data)
    with pytest.raises(UsageError, match="ended before it had told all of its state"):
        writer.finish()


def test_who_writes_to_one_that_has_failed_hears_it(writer: Writer) -> None:
    os.write(writer.pipe, FORGED[0])
    writer.take()
    with pytest.raises(BrokenPipeError):
        os.write(writer.pipe, b"more")
    assert writer.problem is not None


def test_a_folder_that_is_not_there_or_not_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: No such file or directory"):
        Writer(str(tmp_path / "nowhere"), SIZES, str)
    (tmp_path / "state").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not empty; give a new folder"):
        Writer(str(tmp_path), SIZES, str)
    assert (tmp_path / "state").read_bytes() == b"mine"


def test_a_limit_is_told_with_its_cure(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(UsageError, match=r"File too large; .*ulimit -f unlimited"):
            Writer(str(tmp_path), SIZES, str)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_with_its_cure_and_who_writes_hears_it(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.write(writer.pipe, record(Part.RAM, 0, b"here"))
    monkeypatch.setattr(os, "splice", full)
    writer.take()
    with pytest.raises(BrokenPipeError):
        os.write(writer.pipe, b"more")
    writer.given()
    with pytest.raises(UsageError, match=f"^{tmp_path}: No space left on device; make room$"):
        writer.finish()
