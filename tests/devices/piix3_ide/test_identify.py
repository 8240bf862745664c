"""IDENTIFY DEVICE's words, and that they say what the drive does."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import FakeDisk, Rig
from vestige.monitor.devices.piix3_ide.spec import Command


def words(rig: Rig) -> list[int]:
    rig.command(Command.IDENTIFY_DEVICE)
    data = rig.read_sectors()
    assert rig.status() == 0x50
    return [int.from_bytes(data[i : i + 2], "little") for i in range(0, 512, 2)]


def string(values: list[int]) -> str:
    return b"".join(value.to_bytes(2, "big") for value in values).decode().rstrip()


def test_the_strings_have_their_first_character_on_top(rig: Rig) -> None:
    identity = words(rig)
    assert string(identity[10:20]) == "SERIAL-0"
    assert string(identity[23:27]) == "1.0"
    assert string(identity[27:47]) == "TEST DISK"


@pytest.mark.parametrize(
    ("sectors", "geometry"),
    [
        (1, (1, 1, 1)),
        (1007, (1007, 1, 1)),
        (4096, (4, 16, 63)),
        (16_514_064, (16_383, 16, 63)),
        (1 << 33, (16_383, 16, 63)),
    ],
)
def test_geometry_and_capacity(
    make_rig: MakeRig, sectors: int, geometry: tuple[int, int, int]
) -> None:
    identity = words(make_rig([FakeDisk(sectors)]))
    assert (identity[1], identity[3], identity[6]) == geometry
    assert tuple(identity[54:57]) == geometry
    cylinders, heads, track = geometry
    assert identity[57] | identity[58] << 16 == cylinders * heads * track <= sectors
    assert identity[60] | identity[61] << 16 == min(sectors, (1 << 28) - 1)
    assert sum(identity[100 + i] << 16 * i for i in range(4)) == sectors


def test_of_its_modes_one_is_selected_and_shown(rig: Rig) -> None:
    identity = words(rig)
    assert identity[64] == 0x0003
    assert identity[53] == 7  # word 88 is valid
    assert (identity[63], identity[88]) == (0x0407, 0x0007)
    for mode, multiword, ultra in (
        (0x21, 0x0207, 0x0007),
        (0x42, 0x0007, 0x0407),
        (0x0C, 0x0007, 0x0407),  # a PIO mode is beside those
        (0x40, 0x0007, 0x0107),
        (0x20, 0x0107, 0x0007),
    ):
        rig.command(Command.SET_FEATURES, features=0x03, count=mode)
        identity = words(rig)
        assert (identity[63], identity[88]) == (multiword, ultra)


def test_a_reset_selects_multiword_dma_2_again_unless_settings_are_kept(rig: Rig) -> None:
    rig.command(Command.SET_FEATURES, features=0x03, count=0x42)
    rig.command(Command.SET_FEATURES, features=0x66)
    rig.reset_drives()
    assert words(rig)[88] == 0x0407
    rig.command(Command.SET_FEATURES, features=0xCC)
    rig.reset_drives()
    assert (words(rig)[63], words(rig)[88]) == (0x0407, 0x0007)


def test_the_hardware_reset_result_tells_of_both_drives(make_rig: MakeRig) -> None:
    assert words(make_rig([FakeDisk(1)]))[93] == 0x404F
    both = make_rig([FakeDisk(1), FakeDisk(1, unit=1)])
    assert words(both)[93] == 0x403F
    both.command(Command.IDENTIFY_DEVICE, device=0xF0)
    assert both.read_sectors()[186:188] == b"\x00\x4f"


def test_the_current_multiple_setting_is_shown(rig: Rig) -> None:
    assert words(rig)[59] == 0
    rig.command(Command.SET_MULTIPLE_MODE, count=8)
    assert words(rig)[59] == 0x0108


@pytest.mark.parametrize(("features", "bit"), [(0x82, 5), (0x55, 6)])
def test_what_is_switched_off_is_supported_and_not_enabled(
    rig: Rig, features: int, bit: int
) -> None:
    assert words(rig)[85] >> bit & 1 == 1
    rig.command(Command.SET_FEATURES, features=features)
    identity = words(rig)
    assert (identity[82] >> bit & 1, identity[85] >> bit & 1) == (1, 0)


def test_48_bit_addresses_and_flushes_are_claimed(rig: Rig) -> None:
    identity = words(rig)
    assert identity[83] & 0xC000 == 0x4000
    assert identity[83] & identity[86] & 0x3400 == 0x3400


def test_parameters_initialized_are_the_current_geometry(rig: Rig) -> None:
    rig.command(Command.INITIALIZE_DEVICE_PARAMETERS, count=8, device=0xA3)
    assert tuple(words(rig)[54:57]) == (4096 // 32, 4, 8)
    assert words(rig)[3] == 16
