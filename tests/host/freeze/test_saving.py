"""Which bytes of a machine's memory are saved, and which machine's are not."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vestige.errors import UsageError
from vestige.host.control.commands import NotNowError
from vestige.host.files.sparse import PAGE, copy, copy_part, data_of
from vestige.host.freeze.saving import joined, present
from vestige.host.process.inner import Machine

EXTENTS = [
    ([], []),
    ([(0, 4)], [(0, 4)]),
    ([(0, 4), (4, 8)], [(0, 8)]),
    ([(0, 4), (2, 8), (3, 5)], [(0, 8)]),
    ([(0, 4), (6, 8), (7, 9), (20, 24)], [(0, 4), (6, 9), (20, 24)]),
]


@pytest.mark.parametrize(("extents", "whole"), EXTENTS)
def test_bytes_that_are_named_twice_are_written_once(
    extents: list[tuple[int, int]], whole: list[tuple[int, int]]
) -> None:
    assert list(joined(extents)) == whole


def test_what_is_between_two_that_are_near_is_written_too() -> None:
    extents = [(8, 9), (12, 14), (19, 20), (21, 22)]
    assert list(joined(extents, 4)) == [(8, 14), (19, 22)]
    assert list(joined([(0, 1), (3, 4)], 4)) == [(0, 4)]


@pytest.mark.parametrize(
    ("pages", "runs"),
    [
        ("", []),
        ("...", []),
        ("mmm", [(0, 3)]),
        (".s.mm.", [(1, 2), (3, 5)]),
        ("s..m", [(0, 1), (3, 4)]),
    ],
)
def test_pages_in_memory_and_swapped_ones_are_there(
    pages: str, runs: list[tuple[int, int]]
) -> None:
    others = (1 << 55) | (1 << 61) | 0x1234  # soft-dirty, of a file, a frame
    bits = {".": 0, "m": 1 << 63, "s": 1 << 62}
    entries = b"".join((bits[each] | others).to_bytes(8, "little") for each in pages)
    assert list(present(entries)) == runs


def test_a_files_holes_are_no_data(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(64 * PAGE)
        file.seek(16 * PAGE)
        file.write(b"x" * PAGE)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = list(data_of(descriptor, 64 * PAGE))
    finally:
        os.close(descriptor)
    assert any(start <= 16 * PAGE < end for start, end in found)
    assert sum(end - start for start, end in found) < 64 * PAGE
    assert all(start % PAGE == end % PAGE == 0 for start, end in found)


def test_a_copy_of_a_file_has_its_holes(tmp_path: Path) -> None:
    with (tmp_path / "one").open("w+b") as one, (tmp_path / "other").open("w+b") as other:
        one.truncate(1 << 30)
        for place in (5 * PAGE, 77 << 20):
            one.seek(place)
            one.write(b"x" * 100)
        one.flush()
        copy(one.fileno(), other.fileno())
        for place in (0, 5 * PAGE, 77 << 20):
            assert os.pread(other.fileno(), 200, place) == os.pread(one.fileno(), 200, place)
        status = os.fstat(other.fileno())
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_part_of_a_file_is_copied_from_the_page_that_is_asked_for(
    tmp_path: Path, in_memory: bool
) -> None:
    source = os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    if in_memory:  # as what a viewer sees
        target = os.memfd_create("target")
    else:
        target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(source, 64 * PAGE)
        os.ftruncate(target, 8 * PAGE)
        for page in (0, 15, 16, 20, 23, 24, 40):
            os.pwrite(source, bytes([page + 1]) * PAGE, page * PAGE)
        copy_part(source, 16 * PAGE, 8 * PAGE, target)
        assert os.fstat(target).st_size == 8 * PAGE
        assert os.pread(target, 9 * PAGE, 0) == os.pread(source, 8 * PAGE, 16 * PAGE)
    finally:
        os.close(source)
        os.close(target)


def test_a_machine_with_a_controller_of_its_own_is_not_frozen() -> None:
    machine: Any = object.__new__(Machine)
    machine._orders = SimpleNamespace(controllers=("0000:01:00.0",))
    machine.session = None
    with pytest.raises(
        UsageError, match=r"^--disk vfio:0000:01:00\.0: a controller that is handed"
    ):
        machine.freeze(-1, stays=False)


def test_a_guest_that_ends_while_its_ram_is_copied_is_not_frozen() -> None:
    done: list[str] = []
    machine: Any = object.__new__(Machine)
    machine._orders = SimpleNamespace(controllers=())
    machine._wakes = ()
    machine.session = SimpleNamespace(
        is_paused=False,
        outcome=object(),
        look=lambda: None,
        settle=lambda _: done.append("still"),
    )
    machine._saver = SimpleNamespace(
        save_ahead=lambda _pipe, _between: done.append("ahead"), end=lambda: done.append("end")
    )
    with pytest.raises(NotNowError, match="has ended"):
        machine.freeze(-1, stays=False)
    assert done == ["ahead", "still", "end"]
