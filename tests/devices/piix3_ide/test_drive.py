"""Addresses: CHS, 28-bit and 48-bit, into the registers and out of them."""

import pytest

from tests.devices.piix3_ide.rig import FakeDisk
from vestige.monitor.devices.piix3_ide.drive import NO_SUCH_ADDRESS, Drive


@pytest.fixture
def drive() -> Drive:
    drive = Drive()
    drive.attach(0, FakeDisk(200_000).describe())
    return drive


def address(drive: Drive, device: int, high: int, mid: int, low: int) -> None:
    for offset, value in ((6, device), (5, high), (4, mid), (3, low)):
        drive.write(offset, value)


def test_28_bits_come_from_four_registers(drive: Drive) -> None:
    address(drive, 0xEA, 0xBB, 0xCC, 0xDD)
    assert drive.first_sector(wide=False) == 0xABBCCDD


def test_48_bits_come_from_three_registers_written_twice(drive: Drive) -> None:
    address(drive, 0xEF, 0x11, 0x22, 0x33)
    address(drive, 0xEF, 0x44, 0x55, 0x66)
    assert drive.first_sector(wide=True) == 0x112233445566


def test_chs_counts_sectors_from_one(drive: Drive) -> None:
    address(drive, 0xA3, 0, 2, 1)
    assert drive.first_sector(wide=False) == (2 * 16 + 3) * 63


@pytest.mark.parametrize(
    ("device", "cylinder", "sector"),
    [(0xA0, 0, 0), (0xA0, 0, 64), (0xA0, 198, 1), (0xA0, 0xFFFF, 1)],
)
def test_an_address_no_chs_has(drive: Drive, device: int, cylinder: int, sector: int) -> None:
    address(drive, device, cylinder >> 8, cylinder & 0xFF, sector)
    assert drive.first_sector(wide=False) == NO_SUCH_ADDRESS


def test_a_head_beyond_the_translation_has_no_address(drive: Drive) -> None:
    assert drive.set_geometry(4, 10)
    address(drive, 0xA4, 0, 0, 1)
    assert drive.first_sector(wide=False) == NO_SUCH_ADDRESS


@pytest.mark.parametrize("device", [0xE0, 0xA0])
@pytest.mark.parametrize("sector", [0, 62, 63, 1007, 1008, 199_000])
def test_an_address_shown_is_the_address_read(drive: Drive, device: int, sector: int) -> None:
    drive.write(6, device)
    drive.show_sector(sector, wide=False)
    assert drive.first_sector(wide=False) == sector


def test_a_48_bit_address_shown_is_the_address_read(drive: Drive) -> None:
    drive.write(6, 0xE0)
    drive.show_sector(0x112233445566, wide=True)
    assert drive.first_sector(wide=True) == 0x112233445566


@pytest.mark.parametrize(
    ("heads", "track", "accepted"), [(0, 1, False), (1, 0, False), (16, 255, True), (1, 1, True)]
)
def test_which_geometries_can_be(drive: Drive, heads: int, track: int, accepted: bool) -> None:
    assert drive.set_geometry(heads, track) == accepted
    assert drive.cylinders * drive.heads * drive.sectors_per_track <= 200_000


def test_a_translation_larger_than_the_disk_is_refused() -> None:
    drive = Drive()
    drive.attach(0, FakeDisk(10).describe())
    assert not drive.set_geometry(2, 6)
    assert (drive.cylinders, drive.heads, drive.sectors_per_track) == (10, 1, 1)
