"""The bridge to ISA, function 0 of a PC's PIIX3: Intel 82371SB data sheet, 2.2."""

import pytest

from vestige.abi import Config, Power
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


PIRQ_PINS = range(16, 20)  # where the core has INTA to INTD


def test_after_reset_no_pirq_leads_anywhere(bridge: IsaBridge) -> None:
    assert [bridge.steer(1 << pin) for pin in PIRQ_PINS] == [0] * 4


def test_other_lines_go_on_as_they_are(bridge: IsaBridge) -> None:
    others = 0xFFFF_FFFF & ~sum(1 << pin for pin in PIRQ_PINS)
    assert bridge.steer(0xFFFF_FFFF) == others
    assert bridge.steer(1 << 4) == 1 << 4


def test_each_pirq_leads_to_the_irq_of_its_register(bridge: IsaBridge) -> None:
    for pirq, irq in enumerate((5, 10, 11, 10)):
        bridge.write_config(0, Register.PIRQ_ROUTE + pirq, 1, irq)
    assert [bridge.steer(1 << pin) for pin in PIRQ_PINS] == [1 << 5, 1 << 10, 1 << 11, 1 << 10]
    assert bridge.steer(0xF << 16 | 1) == 1 << 5 | 1 << 10 | 1 << 11 | 1


def test_irqs_that_it_may_not_have_are_none(bridge: IsaBridge) -> None:
    reached = set()
    for irq in range(16):
        bridge.write_config(0, Register.PIRQ_ROUTE, 1, irq)
        if steered := bridge.steer(1 << 16):
            assert steered == 1 << irq
            reached.add(irq)
    assert reached == set(range(16)) - {0, 1, 2, 8, 13}


def test_without_a_firmware_the_routes_are_as_one_leaves_them(bridge: IsaBridge) -> None:
    bridge.configure(Config(firmware_items=1))
    assert bridge.read_config(0, Register.PIRQ_ROUTE, 4) == 0x8080_8080
    bridge.configure(Config())
    assert bridge.read_config(0, Register.PIRQ_ROUTE, 4) == 0x0B0B_0A0A
