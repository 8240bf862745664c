"""The I/O APIC: Intel 82093AA data sheet, section 3."""

import pytest

from vestige.abi import PINS
from vestige.monitor.devices.ioapic.model import IoApic
from vestige.monitor.devices.ioapic.spec import Delivery, Entry, Index, Register

PIN = 5
VECTOR = 0x31


@pytest.fixture
def ioapic() -> IoApic:
    """Just reset."""
    ioapic = IoApic()
    ioapic.reset()
    return ioapic


def read(ioapic: IoApic, index: int) -> int:
    """An indirect register."""
    ioapic.write(Register.SELECT, 4, index, 0)
    return ioapic.read(Register.WINDOW, 4, 0)


def write(ioapic: IoApic, index: int, value: int) -> None:
    """Set an indirect register."""
    ioapic.write(Register.SELECT, 4, index, 0)
    ioapic.write(Register.WINDOW, 4, value, 0)


def enter(ioapic: IoApic, low: int, pin: int = PIN) -> None:
    """Program the low half of a pin's entry."""
    write(ioapic, Index.REDIRECTION + 2 * pin, low)


def test_the_version_says_24_pins(ioapic: IoApic) -> None:
    assert read(ioapic, Index.VERSION) == 0x0017_0020
    write(ioapic, Index.VERSION, 0)
    assert read(ioapic, Index.VERSION) == 0x0017_0020


def test_the_identity_has_four_bits(ioapic: IoApic) -> None:
    write(ioapic, Index.ID, 0xFFFF_FFFF)
    assert read(ioapic, Index.ID) == 0x0F00_0000
    assert read(ioapic, Index.ARBITRATION) == 0x0F00_0000


def test_all_pins_are_masked_after_reset(ioapic: IoApic) -> None:
    for pin in range(PINS):
        assert read(ioapic, Index.REDIRECTION + 2 * pin) == Entry.MASKED
        ioapic.edge(pin)
    ioapic.take_lines((1 << PINS) - 1, 0)
    assert ioapic.take_requests() == 0


def test_reserved_registers_read_zero_and_ignore_writes(ioapic: IoApic) -> None:
    before = bytes(ioapic)[1:]
    for index in (3, 0x0F, 0x10 + 2 * PINS, 0xFF):
        write(ioapic, index, 0xFFFF_FFFF)
        assert read(ioapic, index) == 0
    assert bytes(ioapic)[1:] == before
    assert ioapic.read(0x20, 4, 0) == 0


def test_status_bits_of_an_entry_cannot_be_written(ioapic: IoApic) -> None:
    enter(ioapic, 0xFFFF_FFFF)
    assert read(ioapic, Index.REDIRECTION + 2 * PIN) == 0x1_AFFF
    write(ioapic, Index.REDIRECTION + 2 * PIN + 1, 0xFFFF_FFFF)
    assert read(ioapic, Index.REDIRECTION + 2 * PIN + 1) == 0xFF00_0000


def test_an_edge_is_sent_once(ioapic: IoApic) -> None:
    enter(ioapic, VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.edge(PIN)
    assert ioapic.take_requests() == 1 << PIN
    assert ioapic.take_requests() == 0


def test_every_source_of_a_shared_edge_pin_is_heard(ioapic: IoApic) -> None:
    enter(ioapic, VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.edge(PIN)
    ioapic.take_requests()
    ioapic.edge(PIN)  # a second source, while the first still asserts the line
    assert ioapic.take_requests() == 1 << PIN


def test_an_edge_at_a_masked_pin_is_lost(ioapic: IoApic) -> None:
    enter(ioapic, Entry.MASKED | VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.edge(PIN)
    enter(ioapic, VECTOR)
    assert ioapic.take_requests() == 0


def test_a_level_is_sent_once_until_its_end_of_interrupt(ioapic: IoApic) -> None:
    enter(ioapic, Entry.LEVEL | VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.edge(PIN)
    assert ioapic.take_requests() == 1 << PIN
    assert read(ioapic, Index.REDIRECTION + 2 * PIN) & Entry.REMOTE_IRR
    ioapic.take_lines(0, 0)
    ioapic.take_lines(1 << PIN, 0)
    assert ioapic.take_requests() == 0
    ioapic.end_of_interrupt(VECTOR + 1)
    assert ioapic.take_requests() == 0
    ioapic.end_of_interrupt(VECTOR)
    assert ioapic.take_requests() == 1 << PIN
    ioapic.take_lines(0, 0)
    ioapic.end_of_interrupt(VECTOR)
    assert ioapic.take_requests() == 0
    assert not read(ioapic, Index.REDIRECTION + 2 * PIN) & Entry.REMOTE_IRR


def test_the_eoi_register_does_what_a_local_apic_does(ioapic: IoApic) -> None:
    enter(ioapic, Entry.LEVEL | VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.take_requests()
    ioapic.write(Register.EOI, 4, VECTOR, 0)
    assert ioapic.take_requests() == 1 << PIN


def test_a_level_still_high_is_sent_when_unmasked(ioapic: IoApic) -> None:
    enter(ioapic, Entry.MASKED | Entry.LEVEL | VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    assert ioapic.take_requests() == 0
    enter(ioapic, Entry.LEVEL | VECTOR)
    assert ioapic.take_requests() == 1 << PIN


def test_a_level_gone_before_it_is_unmasked_leaves_nothing(ioapic: IoApic) -> None:
    enter(ioapic, Entry.MASKED | Entry.LEVEL | VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.take_lines(0, 0)
    enter(ioapic, Entry.LEVEL | VECTOR)
    assert ioapic.take_requests() == 0


def test_going_through_edge_mode_forgets_remote_irr(ioapic: IoApic) -> None:
    enter(ioapic, Entry.LEVEL | VECTOR)
    ioapic.take_lines(1 << PIN, 0)
    ioapic.take_requests()
    enter(ioapic, Entry.MASKED | VECTOR)
    enter(ioapic, Entry.LEVEL | VECTOR)
    assert ioapic.take_requests() == 1 << PIN


def test_nmi_is_edge_triggered_whatever_the_entry_says(ioapic: IoApic) -> None:
    enter(ioapic, Entry.LEVEL | 4 << 8)
    ioapic.take_lines(1 << PIN, 0)
    assert ioapic.take_requests() == 0
    ioapic.edge(PIN)
    assert ioapic.take_requests() == 1 << PIN
    assert not read(ioapic, Index.REDIRECTION + 2 * PIN) & Entry.REMOTE_IRR


@pytest.mark.parametrize(
    ("low", "destination", "address", "data"),
    [
        (VECTOR, 0, 0xFEE0_0000, 0x31),
        (VECTOR, 3, 0xFEE0_3000, 0x31),
        (VECTOR | Entry.LOGICAL, 0xFF, 0xFEEF_F004, 0x31),
        (VECTOR | Delivery.LOWEST_PRIORITY | Entry.LOGICAL, 1, 0xFEE0_100C, 0x131),
        (VECTOR | Entry.LEVEL, 0, 0xFEE0_0000, 0xC031),
        (VECTOR | 4 << 8, 0, 0xFEE0_0000, 0x431),
    ],
)
def test_an_entry_is_a_message(
    ioapic: IoApic, low: int, destination: int, address: int, data: int
) -> None:
    enter(ioapic, low)
    write(ioapic, Index.REDIRECTION + 2 * PIN + 1, destination << 24)
    assert ioapic.message_address(PIN) == address
    assert ioapic.message_data(PIN) == data
