"""The bridge to ISA, function 0 of a PC's PIIX3: Intel 82371SB data sheet, 2.2."""

import pytest

from vestige.abi import Power
from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix3_isa.model import IsaBridge
from vestige.monitor.devices.piix3_isa.spec import Register
from vestige.place import GOES_ON, PROCESSORS_RESET


@pytest.fixture
def bridge() -> IsaBridge:
    model = IsaBridge()
    model.reset()
    return model


def test_it_says_what_it_is_and_that_there_are_other_functions(bridge: IsaBridge) -> None:
    assert bridge.read_config(0, PciRegister.VENDOR, 4) == 0x7000_8086
    assert bridge.read_config(0, PciRegister.REVISION, 4) == 0x0601_0000
    assert bridge.read_config(0, 0x0E, 1) == 0x80


@pytest.mark.parametrize(
    ("register", "reset", "written"),
    [
        (Register.PIRQ_ROUTE, 0x80, 0x8F),
        (Register.PIRQ_ROUTE + 3, 0x80, 0x8F),
        (Register.TOP_OF_MEMORY, 0x02, 0xFE),
        (Register.IO_RECOVERY, 0x4D, 0xFF),
    ],
)
def test_registers_are_kept(bridge: IsaBridge, register: int, reset: int, written: int) -> None:
    assert bridge.read_config(0, register, 1) == reset
    bridge.write_config(0, register, 1, 0xFF)
    assert bridge.read_config(0, register, 1) == written


def test_it_is_always_enabled_and_forgets_aborts_that_are_cleared(bridge: IsaBridge) -> None:
    bridge.write_config(0, PciRegister.COMMAND, 2, 0)
    assert bridge.read_config(0, PciRegister.COMMAND, 2) == 0x000F
    bridge.config.values[PciRegister.STATUS + 1] |= 0x20
    bridge.write_config(0, PciRegister.STATUS, 2, 0xFFFF)
    assert bridge.read_config(0, PciRegister.STATUS, 2) == 0x0280


@pytest.mark.parametrize(
    ("values", "ending"),
    [
        ((0x00,), GOES_ON),
        ((0xF9,), GOES_ON),
        ((0x02,), GOES_ON),
        ((0x04,), PROCESSORS_RESET),
        ((0x06,), Power.RESET),
        ((0x02, 0x0E), Power.RESET),
        ((0x02, 0x04), PROCESSORS_RESET),
    ],
)
def test_the_reset_control_register_resets_where_its_bit_2_becomes_1(
    bridge: IsaBridge, values: tuple[int, ...], ending: int
) -> None:
    for value in values:
        bridge.write(0, 1, value, 0)
    assert bridge.ending() == ending
    assert bridge.read(0, 1, 0) == values[-1] & 6


def test_a_reset_of_the_processors_ends_and_can_be_asked_for_again(bridge: IsaBridge) -> None:
    bridge.write(0, 1, 4, 0)
    bridge.processors_reset()
    assert (bridge.ending(), bridge.read(0, 1, 0)) == (GOES_ON, 0)
    bridge.write(0, 1, 4, 0)
    assert bridge.ending() == PROCESSORS_RESET
