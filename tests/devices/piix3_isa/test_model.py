"""The bridge to ISA, function 0 of a PC's PIIX3: Intel 82371SB data sheet, 2.2."""

import pytest

from vestige.monitor.devices.pci.spec import Register as PciRegister
from vestige.monitor.devices.piix3_isa.model import IsaBridge
from vestige.monitor.devices.piix3_isa.spec import Register


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
