"""Reading a kernel or an initrd: why there is less of it than its size said."""

import os
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.machine.files import open_input

LISTED = Path("/sys/kernel/uevent_seqnum")  # has a few bytes, and the size of a page


def refusal(path: Path, change: int | None = None) -> str:
    with open_input(str(path), "an initrd") as file:
        if change is not None:
            os.truncate(path, change)
        with pytest.raises(UsageError) as raised:
            file.read_at(0, memoryview(bytearray(file.size)))
    return str(raised.value)


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(bytes(100))
    assert refusal(path, 40) == (
        f"{path}: ended at byte 40 while being read, 100 expected; don't change it while a guest"
        " starts"
    )


@pytest.mark.skipif(not LISTED.exists(), reason=f"needs {LISTED}")
def test_a_file_whose_size_is_a_guess_is_told_from_that() -> None:
    assert refusal(LISTED).endswith("its size is not what its file system says; give a copy of it")


def test_what_can_not_be_read_is_told_with_a_cure(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(bytes(100))
    with open_input(str(path), "an initrd") as file, open("/proc/self/mem", "rb") as other:  # noqa: PTH123
        os.dup2(other.fileno(), file.descriptor)
        with pytest.raises(UsageError, match=r"reading failed: Input.*; give a copy that can be"):
            file.read_at(0, memoryview(bytearray(100)))
