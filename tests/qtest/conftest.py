"""Which tests a QEMU newer than Debian 12's is no judge of: it does what the rows don't have."""

import shutil
from pathlib import Path

import pytest

from tests.qtest.client import QEMU
from vestige.softhost.emulator import Version, version_of

# By file or by test: the versions that do otherwise, first and one past the last, and how.
OTHERWISE: dict[str, tuple[Version, Version, str]] = {
    "test_the_registers_of_queues": (
        (10, 0),
        (11,),
        "a disk's queues have room for 1,024 there, whatever queue-size says",
    ),
    "test_virtio_others.py": (
        (11,),
        (99,),
        "a queue takes no size above the one it offers there, and emergency-write is gone",
    ),
    "test_virtio_registers.py": (
        (11,),
        (99,),
        "a queue takes no size above the one it offers there",
    ),
    "test_random_sequences_read_and_write_what_qemu_reads_and_writes": (
        (11,),
        (99,),
        "a word at an odd port reads 0 there",
    ),
    "test_out_in_mode_1_is_high_while_qemu_counts": (
        (10, 0),
        (99,),
        "OUT of a PIT in mode 1 is low there, as on the page",
    ),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine's QEMU does otherwise."""
    program = shutil.which(QEMU)
    if program is None:
        return  # each file says that it needs one
    version = version_of(Path(program))
    for item in items:
        for name in (item.path.name, getattr(item, "originalname", "")):
            first, end, how = OTHERWISE.get(name, ((99,), (99,), ""))
            if item.path.parent == Path(__file__).parent and first <= version < end:
                shown = ".".join(map(str, version))
                item.add_marker(pytest.mark.skip(reason=f"QEMU {shown} is no judge: {how}"))
