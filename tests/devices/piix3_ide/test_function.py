"""The PCI function: configuration space, modes, and which ports it claims."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import CONTROL, PRIMARY, SECONDARY, FakeDisk, Rig
from vestige.abi import (
    PIN_PCI_INTA,
    PORT_IDE,
    PORT_IDE_BUS_MASTER,
    PORT_IDE_CONTROL,
    PORT_IDE_SECONDARY,
    PORT_IDE_SECONDARY_CONTROL,
    Board,
    Config,
)
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.piix3_ide.spec import Command, Device, Register
from vestige.place import NOWHERE


@pytest.fixture
def native(make_rig: MakeRig) -> Rig:
    return make_rig([FakeDisk(unit=0), FakeDisk(unit=2)], native=True)


def test_it_is_a_piix3_ide(rig: Rig) -> None:
    assert rig.read_config(0x00) == 0x7010_8086
    assert rig.read_config(0x08) == 0x0101_8000
    assert rig.read_config(0x06, 2) == 0x0280


def test_in_native_mode_it_has_five_bars_and_a_pin(native: Rig) -> None:
    assert native.read_config(0x08) == 0x0101_8F00
    bars = [native.read_config(0x10 + 4 * i) for i in range(6)]
    assert bars == [
        PORT_IDE | 1, PORT_IDE_CONTROL | 1, PORT_IDE_SECONDARY | 1,
        PORT_IDE_SECONDARY_CONTROL | 1, PORT_IDE_BUS_MASTER | 1, 0,
    ]  # fmt: skip
    assert native.read_config(0x3D, 1) == 1


def test_a_pc_begins_as_its_firmware_leaves_it() -> None:
    ide = Ide()
    ide.reset()
    ide.configure(Config(board=Board.PC))
    ports = (0x1F0, 0x3F6, 0x177, PORT_IDE)
    assert [ide.port_offset(port) != NOWHERE for port in ports] == [True, True, True, False]
    assert ide.read_config(0, 0x08, 4) == 0x0101_8000


def test_bars_tell_their_size(native: Rig) -> None:
    for i, size in enumerate((8, 4, 8, 4, 16)):
        native.write_config(0x10 + 4 * i, 4, 0xFFFF_FFFF)
        assert native.read_config(0x10 + 4 * i) == 0x1_0000_0000 - size | 1


def test_in_compatibility_mode_only_the_bus_master_has_a_bar(rig: Rig) -> None:
    bars = [rig.read_config(0x10 + 4 * i) for i in range(6)]
    assert bars == [0, 0, 0, 0, PORT_IDE_BUS_MASTER | 1, 0]
    assert rig.read_config(0x3D, 1) == 0


@pytest.mark.parametrize(
    ("port", "claimed"),
    [
        (PRIMARY - 1, False), (PRIMARY, True), (PRIMARY + 7, True), (PRIMARY + 8, False),
        (0x3F5, False), (0x3F6, True), (0x3F7, False), (SECONDARY, False), (0x376, False),
        (PORT_IDE_BUS_MASTER - 1, False), (PORT_IDE_BUS_MASTER, True),
        (PORT_IDE_BUS_MASTER + 15, True), (PORT_IDE_BUS_MASTER + 16, False), (PORT_IDE, False),
    ],
)  # fmt: skip
def test_the_ports_of_compatibility_mode(rig: Rig, port: int, claimed: bool) -> None:
    assert rig.claims(port) == claimed


@pytest.mark.parametrize("port", [PORT_IDE, PORT_IDE_CONTROL + 2, PORT_IDE_SECONDARY + 7])
def test_the_ports_of_native_mode(native: Rig, port: int) -> None:
    assert native.claims(port)
    assert not native.claims(PRIMARY)
    native.write_config(0x04, 2, 0)
    assert not native.claims(port)


def test_a_drive_answers_in_native_mode(native: Rig) -> None:
    native.command(Command.IDENTIFY_DEVICE, base=PORT_IDE_SECONDARY)
    assert native.edges == [0, 1]
    assert native.read(PORT_IDE_SECONDARY_CONTROL + 2) == 0x58
    assert native.read_sectors(base=PORT_IDE_SECONDARY)[:2] == b"\x40\x00"


def test_registers_follow_their_bar(native: Rig) -> None:
    native.write_config(0x10, 4, 0xD008)
    assert (native.read(0xD00F), native.read(PORT_IDE + 7)) == (0x50, 0xFF)


def test_a_disabled_channel_claims_nothing(rig: Rig) -> None:
    rig.write_config(0x40, 2, 0)
    assert not rig.claims(PRIMARY)
    assert (rig.read(PRIMARY + 7), rig.read(CONTROL[PRIMARY])) == (0xFF, 0xFF)
    rig.write_config(0x41, 1, 0x80)
    assert rig.status() == 0x50


def test_only_channels_with_a_drive_are_enabled_at_first(native: Rig, rig: Rig) -> None:
    assert [native.read_config(0x41 + 2 * i, 1) for i in (0, 1)] == [0x80, 0x80]
    assert [rig.read_config(0x41 + 2 * i, 1) for i in (0, 1)] == [0x80, 0]


@pytest.mark.parametrize(("flash", "timing"), [(0, 0), (0x1000, 0x8000)])
def test_before_a_uefi_firmware_both_channels_are_enabled(flash: int, timing: int) -> None:
    config, ide = Config(), Ide()
    config.board, config.firmware_items, config.flash.size = Board.PC, 0x1000, flash
    ide.reset()
    ide.configure(config)
    assert [ide.read_config(0, 0x40 + 2 * i, 2) for i in (0, 1)] == [timing] * 2
    assert ide.read_config(0, 0x04, 2) == 0


def test_the_guest_may_switch_a_channel_to_compatibility_mode(native: Rig) -> None:
    native.write_config(0x09, 1, 0x01)
    assert native.read_config(0x09, 1) == 0x8B
    assert native.ide.channels[0].route() == PIN_PCI_INTA
    assert native.ide.channels[1].route() == 15
    assert native.read(SECONDARY + 7) == 0x50
    assert not native.claims(PORT_IDE_SECONDARY)


def test_without_native_mode_there_is_nothing_to_switch(rig: Rig) -> None:
    rig.write_config(0x09, 1, 0xFF)
    assert rig.read_config(0x09, 1) == 0x80
    assert [rig.ide.channels[i].route() for i in (0, 1)] == [14, 15]


def test_both_native_channels_interrupt_by_inta(native: Rig) -> None:
    assert [native.ide.channels[i].route() for i in (0, 1)] == [PIN_PCI_INTA, PIN_PCI_INTA]
    native.command(Command.RECALIBRATE, base=PORT_IDE)
    native.command(Command.RECALIBRATE, base=PORT_IDE_SECONDARY)
    assert native.edges == [1, 1]


def test_what_the_guest_may_not_write_stays(rig: Rig) -> None:
    for offset in range(0, 256, 4):
        if offset not in (0x04, 0x0C, 0x20, 0x40, 0x44):
            before = rig.read_config(offset)
            rig.write_config(offset, 4, 0xFFFF_FFFF)
            assert rig.read_config(offset) == before
    rig.write_config(0x04, 2, 0xFFFF)
    assert rig.read_config(0x04, 2) == 0x0005


def test_wide_accesses_of_registers_are_so_many_bytes(rig: Rig) -> None:
    rig.write(PRIMARY + 2, 0x4433_2211, 4)
    assert [rig.read(PRIMARY + 2 + i) for i in range(4)] == [0x11, 0x22, 0x33, 0x44]
    assert rig.read(PRIMARY + 2, 4) == 0x4433_2211
    assert rig.read(PRIMARY + 7, 4) == 0xFFFF_FF50
    assert rig.read_string(PRIMARY + 3, 2, 2) == b"\x22\x33\x22\x33"


def test_string_writes_of_a_register_come_one_by_one(rig: Rig) -> None:
    rig.write_string(PRIMARY + 3, 1, b"\x0a\x0b")
    rig.write(CONTROL[PRIMARY], 0x80)
    assert rig.read(PRIMARY + 3) == 0x0A


def test_unclaimed_ports_read_ones_and_forget(rig: Rig) -> None:
    rig.write(0x300, 0x55)
    assert rig.read(0x300, 4) == 0xFFFF_FFFF


# ---- what needs no look at the machine afterwards ------------------------------------------


def test_reads_are_quiet_but_of_data_and_of_an_interrupt(rig: Rig) -> None:
    status, alternate = PRIMARY + Register.STATUS, CONTROL[PRIMARY]
    quiet = rig.is_quiet_read
    assert [quiet(port) for port in (status, alternate, PORT_IDE_BUS_MASTER)] == [True] * 3
    assert not quiet(PRIMARY + Register.DATA)
    assert not quiet(0x80)
    rig.command(Command.FLUSH_CACHE)
    assert not quiet(status)
    assert quiet(alternate)


def test_nothing_is_quiet_for_who_polls(make_rig: MakeRig) -> None:
    rig = make_rig(immediate=False)
    rig.command(Command.READ_SECTORS, count=1)
    assert not rig.is_quiet_read(CONTROL[PRIMARY])
    rig.serve(0)
    assert rig.is_quiet_read(CONTROL[PRIMARY])


def test_writes_of_the_task_file_are_quiet_till_the_command(rig: Rig) -> None:
    quiet = rig.is_quiet_write
    for register in (Register.FEATURES, Register.COUNT, Register.LBA_LOW, Register.LBA_HIGH):
        assert quiet(PRIMARY + register, 1, 0)
    assert quiet(PRIMARY + Register.DEVICE, 1, 0xE0)
    assert not quiet(PRIMARY + Register.DEVICE, 1, 0xE0 | Device.DEV)
    assert not quiet(PRIMARY + Register.STATUS, 1, Command.READ_DMA)
    assert not quiet(PRIMARY + Register.COUNT, 2, 0)
    assert quiet(PORT_IDE_BUS_MASTER + 2, 1, 0x04)
    assert quiet(PORT_IDE_BUS_MASTER + 4, 4, 0x1000)
    assert not quiet(PORT_IDE_BUS_MASTER, 1, 0x09)
    assert not quiet(CONTROL[PRIMARY], 1, 0x04)
