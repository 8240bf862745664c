"""TRIM: of drives that can let sectors go, and of no others. ACS-3 (T13 2161-D)."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import BUS_MASTER, FakeDisk, Rig
from tests.devices.piix3_ide.test_identify import words
from vestige.monitor.block import Operation
from vestige.monitor.devices.piix3_ide.spec import Command

TRIM = 1
READY, FAILED, WAITING = 0x50, 0x41, 0x58
ABRT = 0x04
TABLE, DATA = 0x1000, 0x2000


@pytest.fixture
def disk() -> FakeDisk:
    """A drive that can."""
    return FakeDisk(can_discard=True)


@pytest.fixture
def rig(make_rig: MakeRig, disk: FakeDisk) -> Rig:
    """It, on the primary channel."""
    return make_rig([disk])


def ranges(*pairs: tuple[int, int]) -> bytes:
    """A sector of (first, count); unused entries are 0."""
    return b"".join((first | count << 48).to_bytes(8, "little") for first, count in pairs).ljust(
        512, b"\0"
    )


def trim(rig: Rig, *pairs: tuple[int, int], count: int = 1, features: int = TRIM) -> None:
    """The command, then its data by the bus master."""
    rig.poke(DATA, ranges(*pairs))
    rig.prd(TABLE, (DATA, 512))
    rig.command(Command.DATA_SET_MANAGEMENT, count=count, features=features, wide=True)
    rig.start_dma(TABLE, to_memory=False)


def test_a_drive_that_can_says_so(make_rig: MakeRig) -> None:
    for can in (False, True):
        identity = words(make_rig([FakeDisk(can_discard=can)]))
        assert (identity[169], identity[105]) == (can, can)
        assert bool(identity[80] >> 7 & 1) == can


def test_its_ranges_are_let_go_in_one_request(rig: Rig, disk: FakeDisk) -> None:
    trim(rig, (5, 3), (0, 0), (100, 64), (4095, 1))
    assert disk.discarded == [(5, 3), (100, 64), (4095, 1)]
    assert [operation for operation, *_ in rig.requests] == [Operation.DISCARD]
    assert (rig.status(), rig.edges[0]) == (READY, 1)
    assert rig.bus_master_status() & 1 == 0


def test_ranges_that_follow_each_other_are_one(rig: Rig, disk: FakeDisk) -> None:
    trim(rig, *((10 + 5 * number, 5) for number in range(64)))
    assert disk.discarded == [(10, 320)]


def test_no_range_at_all_is_done_at_once(rig: Rig, disk: FakeDisk) -> None:
    trim(rig)
    assert disk.discarded == []
    assert rig.status() == READY


def test_it_waits_for_the_bus_master(rig: Rig, disk: FakeDisk) -> None:
    rig.poke(DATA, ranges((1, 1)))
    rig.prd(TABLE, (DATA, 512))
    rig.command(Command.DATA_SET_MANAGEMENT, count=1, features=TRIM, wide=True)
    assert rig.status() == WAITING
    assert disk.discarded == []
    rig.start_dma(TABLE, to_memory=False)
    assert disk.discarded == [(1, 1)]


@pytest.mark.parametrize("beyond", [(4096, 1), (4095, 2), (1 << 47, 1), (0, 65_535)])
def test_a_range_beyond_the_end_aborts_and_lets_nothing_go(
    rig: Rig, disk: FakeDisk, beyond: tuple[int, int]
) -> None:
    trim(rig, (1, 1), beyond)
    assert (rig.status(), rig.error()) == (FAILED, ABRT)
    assert disk.discarded == []
    rig.write(BUS_MASTER, 0)
    trim(rig, (1, 1))
    assert disk.discarded == [(1, 1)]


def test_a_failure_below_is_an_error(rig: Rig, disk: FakeDisk) -> None:
    disk.discard_error = 5
    trim(rig, (1, 1))
    assert (rig.status(), rig.error()) == (FAILED, ABRT)


@pytest.mark.parametrize(
    ("count", "features"), [(0, TRIM), (2, TRIM), (0x101, TRIM), (1, 0), (1, 3)]
)
def test_what_it_does_not_know_it_aborts(
    rig: Rig, disk: FakeDisk, count: int, features: int
) -> None:
    trim(rig, (1, 1), count=count, features=features)
    assert (rig.status(), rig.error()) == (FAILED, ABRT)
    assert disk.discarded == []


@pytest.mark.parametrize(("read_only", "can_discard"), [(True, True), (False, False)])
def test_a_drive_that_can_not_aborts(make_rig: MakeRig, read_only: bool, can_discard: bool) -> None:
    disk = FakeDisk(read_only=read_only, can_discard=can_discard)
    rig = make_rig([disk])
    trim(rig, (1, 1))
    assert (rig.status(), rig.error()) == (FAILED, ABRT)
    assert disk.discarded == []
