"""Registers, interrupts and resets of a channel."""

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import BUS_MASTER, CONTROL, PRIMARY, SECONDARY, FakeDisk, Rig
from vestige.monitor.block import State
from vestige.monitor.devices.piix3_ide.spec import Command

READY, FAILED, BUSY, DATA = 0x50, 0x41, 0x80, 0x58


def line(rig: Rig, channel: int = 0) -> int:
    return rig.ide.channels[channel].line.level


def test_reading_status_acknowledges_the_interrupt(rig: Rig) -> None:
    rig.command(Command.RECALIBRATE)
    assert line(rig) == 1
    assert rig.status() == READY
    assert line(rig) == 0


def test_reading_alternate_status_acknowledges_nothing(rig: Rig) -> None:
    rig.command(Command.RECALIBRATE)
    assert rig.read(CONTROL[PRIMARY]) == READY
    assert line(rig) == 1


def test_writing_a_command_takes_the_last_one_s_interrupt_back(rig: Rig) -> None:
    rig.command(Command.RECALIBRATE)
    rig.write(PRIMARY + 7, Command.WRITE_SECTORS)
    assert rig.read(CONTROL[PRIMARY]) == DATA
    assert line(rig) == 0


def test_nien_keeps_the_line_low_and_the_interrupt_pending(rig: Rig) -> None:
    rig.write(CONTROL[PRIMARY], 0x02)
    rig.command(Command.RECALIBRATE)
    assert (line(rig), rig.edges[0]) == (0, 0)
    rig.write(CONTROL[PRIMARY], 0x00)
    assert (line(rig), rig.edges[0]) == (1, 1)


def test_only_the_selected_device_drives_the_line(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(unit=0), FakeDisk(unit=1)])
    rig.command(Command.RECALIBRATE)
    rig.write(PRIMARY + 6, 0xF0)
    assert line(rig) == 0
    rig.write(PRIMARY + 6, 0xE0)
    assert (line(rig), rig.edges[0]) == (1, 2)


def test_an_edge_of_the_line_is_latched_in_the_bus_master_s_status(rig: Rig) -> None:
    rig.command(Command.RECALIBRATE)
    assert rig.bus_master_status() == 0x04
    rig.status()
    assert rig.bus_master_status() == 0x04
    rig.write(BUS_MASTER + 2, 0x04)
    assert rig.bus_master_status() == 0


def test_the_interrupt_bit_stays_off_until_the_next_edge(rig: Rig) -> None:
    rig.command(Command.READ_SECTORS, 0, 2)
    rig.write(BUS_MASTER + 2, 0x04)
    rig.read_sectors()
    assert line(rig) == 1
    assert rig.bus_master_status() == 0


def test_16_bit_registers_give_their_previous_byte_with_hob(rig: Rig) -> None:
    for value in (0x12, 0x34):
        rig.write(PRIMARY + 3, value)
    assert rig.read(PRIMARY + 3) == 0x34
    rig.write(CONTROL[PRIMARY], 0x80)
    assert rig.read(PRIMARY + 3) == 0x12
    rig.write(PRIMARY + 2, 0)
    assert rig.read(PRIMARY + 3) == 0x34


def test_both_devices_take_a_register_write(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(unit=0), FakeDisk(unit=1)])
    rig.write(PRIMARY + 4, 0x5A)
    rig.write(PRIMARY + 6, 0xF0)
    assert rig.read(PRIMARY + 4) == 0x5A


def test_registers_are_not_written_while_data_is_asked_for(rig: Rig) -> None:
    rig.command(Command.WRITE_SECTORS, 7, 1)
    rig.write(PRIMARY + 3, 99)
    rig.write(PRIMARY + 6, 0xF0)
    rig.write(PRIMARY + 7, Command.RECALIBRATE)
    assert rig.read(PRIMARY + 3) == 7
    rig.write_string(PRIMARY, 2, bytes(512))
    assert rig.requests[-1][1:3] == (7, 1)


def test_device_0_answers_for_an_absent_device_1_but_for_its_status(rig: Rig) -> None:
    rig.command(0x00)
    rig.write(PRIMARY + 6, 0xF0)
    assert rig.status() == 0
    assert rig.read(PRIMARY + 1) == 0x04
    rig.write(PRIMARY + 7, Command.IDENTIFY_DEVICE)
    assert (rig.status(), rig.edges[0]) == (0, 1)


def test_an_empty_channel_reads_zero(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.write_config(0x42, 2, 0x8000)
    rig.write(SECONDARY + 2, 0x55)
    assert [rig.read(SECONDARY + i) for i in range(8)] == [0] * 8


def test_device_0_absent_is_silent_where_there_is_a_device_1(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(unit=1)])
    assert rig.status() == 0
    rig.command(Command.IDENTIFY_DEVICE)
    assert rig.edges[0] == 0
    rig.command(Command.IDENTIFY_DEVICE, device=0xF0)
    assert (rig.status(), rig.edges[0]) == (DATA, 1)


def test_a_software_reset_is_busy_until_it_ends_and_leaves_the_signature(rig: Rig) -> None:
    rig.command(0x00, lba=0x123456)
    rig.write(CONTROL[PRIMARY], 0x04)
    assert rig.status() == BUSY
    rig.write(CONTROL[PRIMARY], 0x00)
    assert [rig.read(PRIMARY + i) for i in range(1, 8)] == [1, 1, 1, 0, 0, 0xA0, READY]
    assert line(rig) == 0


def test_a_reset_waits_for_the_request_under_way(make_rig: MakeRig) -> None:
    rig = make_rig(immediate=False)
    rig.command(Command.READ_SECTORS, 0, 1)
    rig.reset_drives()
    assert rig.status() == BUSY
    assert rig.serve()
    assert (rig.status(), line(rig)) == (READY, 0)
    assert rig.ide.channels[0].request.state == State.IDLE


def test_a_reset_brings_default_settings_back_unless_told_to_keep_them(rig: Rig) -> None:
    drive = rig.ide.channels[0].drives[0]
    for features, kept in ((0x66, 8), (0xCC, 0)):
        rig.command(Command.SET_MULTIPLE_MODE, count=8)
        rig.command(Command.SET_FEATURES, features=features)
        rig.reset_drives()
        assert drive.multiple == kept


def test_a_reset_selects_device_0(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(unit=0), FakeDisk(unit=1)])
    rig.write(PRIMARY + 6, 0xF0)
    rig.reset_drives()
    assert rig.ide.channels[0].selected == 0
