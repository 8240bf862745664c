"""Every command's effect, and the error it gives where it can't be done."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import CONTROL, PRIMARY, FakeDisk, Rig
from vestige.monitor.block import Operation
from vestige.monitor.devices.piix3_ide.spec import Command

READY, FAILED, DATA = 0x50, 0x41, 0x58
UNC, IDNF, ABRT = 0x40, 0x10, 0x04
READS = (Command.READ_SECTORS, Command.READ_SECTORS_NO_RETRY, Command.READ_MULTIPLE)
WRITES = (Command.WRITE_SECTORS, Command.WRITE_SECTORS_NO_RETRY, Command.WRITE_MULTIPLE)
WITH_SECTORS = (
    *READS, *WRITES, Command.READ_DMA, Command.READ_DMA_NO_RETRY, Command.WRITE_DMA,
    Command.WRITE_DMA_NO_RETRY, Command.READ_VERIFY, Command.READ_VERIFY_NO_RETRY,
)  # fmt: skip
WIDE = (
    Command.READ_SECTORS_EXT, Command.READ_MULTIPLE_EXT, Command.READ_DMA_EXT,
    Command.WRITE_SECTORS_EXT, Command.WRITE_MULTIPLE_EXT, Command.WRITE_DMA_EXT,
    Command.READ_VERIFY_EXT,
)  # fmt: skip


def outcome(rig: Rig) -> tuple[int, int]:
    return rig.status(), rig.error()


@pytest.mark.parametrize("code", WITH_SECTORS)
def test_an_address_beyond_the_end_is_not_found(rig: Rig, code: Command) -> None:
    rig.command(Command.SET_MULTIPLE_MODE, count=16)
    rig.command(code, lba=4090, count=7)
    assert outcome(rig) == (FAILED, IDNF)
    assert rig.address() == 4096  # the first that isn't there
    assert rig.requests == []


@pytest.mark.parametrize("code", WIDE)
def test_a_48_bit_address_beyond_the_end_is_not_found(rig: Rig, code: Command) -> None:
    rig.command(Command.SET_MULTIPLE_MODE, count=16)
    rig.command(code, lba=1 << 40, count=1, wide=True)
    assert outcome(rig) == (FAILED, IDNF)
    assert rig.requests == []


@pytest.mark.parametrize("code", [*WIDE[:2], Command.READ_VERIFY_EXT])
def test_a_48_bit_read_reaches_beyond_28_bits(make_rig: MakeRig, code: Command) -> None:
    rig = make_rig([FakeDisk(1 << 33)])
    rig.command(Command.SET_MULTIPLE_MODE, count=16)
    rig.command(code, lba=(1 << 33) - 300, count=300, wide=True)
    assert rig.requests[0][1] == (1 << 33) - 300


def test_a_28_bit_read_ends_below_the_28_bit_limit(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(1 << 33)])
    rig.command(Command.READ_SECTORS, lba=(1 << 28) - 2, count=1)
    assert rig.status() == DATA
    rig.read_sectors()
    rig.command(Command.READ_SECTORS, lba=(1 << 28) - 2, count=2)
    assert outcome(rig) == (FAILED, IDNF)


def test_a_count_of_0_means_256_sectors(rig: Rig) -> None:
    rig.command(Command.READ_VERIFY, lba=0, count=0)
    assert outcome(rig) == (READY, 0)
    assert sum(sectors for _, _, sectors, _ in rig.requests) == 256


def test_a_wide_count_of_0_means_65536_sectors(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(1 << 20)])
    rig.command(Command.READ_VERIFY_EXT, lba=5, count=0, wide=True)
    assert rig.status() == READY
    assert sum(sectors for _, _, sectors, _ in rig.requests) == 65536


@pytest.mark.parametrize("code", [Command.READ_MULTIPLE, Command.WRITE_MULTIPLE_EXT])
def test_multiple_commands_are_aborted_until_they_are_enabled(rig: Rig, code: Command) -> None:
    rig.command(code, count=1)
    assert outcome(rig) == (FAILED, ABRT)


@pytest.mark.parametrize(("count", "accepted"), [(0, 1), (1, 1), (3, 0), (16, 1), (32, 0)])
def test_set_multiple_mode_takes_powers_of_two_up_to_16(
    rig: Rig, count: int, accepted: int
) -> None:
    rig.command(Command.SET_MULTIPLE_MODE, count=count)
    assert outcome(rig) == ((READY, 0) if accepted else (FAILED, ABRT))


@pytest.mark.parametrize("code", [*WRITES[:2], Command.WRITE_DMA, Command.WRITE_SECTORS_EXT])
def test_a_read_only_drive_aborts_writes(make_rig: MakeRig, code: Command) -> None:
    rig = make_rig([FakeDisk(read_only=True)])
    rig.command(code, count=1)
    assert outcome(rig) == (FAILED, ABRT)
    rig.command(Command.READ_SECTORS, count=1)
    assert rig.status() == DATA


@pytest.mark.parametrize("code", [0x00, 0x08, 0xA0, 0xA1, 0xB0, 0xF5, 0xFF])
def test_a_command_there_is_not_is_aborted(rig: Rig, code: int) -> None:
    rig.command(code)
    assert outcome(rig) == (FAILED, ABRT)
    assert rig.edges[0] == 1


def test_an_unreadable_sector_is_uncorrectable_and_its_address_told(rig: Rig) -> None:
    rig.disks[0].bad.add(12)
    rig.command(Command.READ_SECTORS, lba=11, count=3)
    assert rig.read_sectors() == rig.disks[0].sector(11)
    assert outcome(rig) == (FAILED, UNC)
    assert rig.address() == 12


@pytest.mark.parametrize("code", [Command.READ_VERIFY, Command.READ_VERIFY_EXT])
def test_verifying_an_unreadable_sector_is_uncorrectable(rig: Rig, code: Command) -> None:
    rig.disks[0].bad.add(12)
    rig.command(code, lba=0, count=20, wide=code == Command.READ_VERIFY_EXT)
    assert outcome(rig) == (FAILED, UNC)


def test_an_unwritable_sector_aborts(rig: Rig) -> None:
    rig.disks[0].bad.add(3)
    rig.command(Command.WRITE_SECTORS, lba=3, count=1)
    rig.write_string(PRIMARY, 2, bytes(512))
    assert outcome(rig) == (FAILED, ABRT)
    assert rig.address() == 3


def test_verify_reads_everything_and_moves_nothing(rig: Rig) -> None:
    rig.command(Command.READ_VERIFY, lba=2, count=40)
    assert outcome(rig) == (READY, 0)
    assert [request[1:3] for request in rig.requests] == [(2, 16), (18, 16), (34, 8)]


@pytest.mark.parametrize("code", [Command.FLUSH_CACHE, Command.FLUSH_CACHE_EXT])
def test_flush_cache_ends_when_the_medium_has_it_all(make_rig: MakeRig, code: Command) -> None:
    rig = make_rig(immediate=False)
    rig.command(code)
    assert rig.status() & 0x80
    rig.serve()
    assert (rig.status(), rig.disks[0].flushes) == (READY, 1)


def test_a_flush_that_fails_is_told(rig: Rig) -> None:
    rig.disks[0].flush_error = 5
    rig.command(Command.FLUSH_CACHE)
    assert outcome(rig) == (FAILED, ABRT)


def test_without_a_write_cache_every_write_command_is_flushed(rig: Rig) -> None:
    rig.command(Command.SET_FEATURES, features=0x82)
    assert rig.disks[0].flushes == 1
    rig.command(Command.WRITE_SECTORS, count=2)
    for _ in range(2):
        rig.write_string(PRIMARY, 2, bytes(512))
    assert [request[0] for request in rig.requests[1:]] == [
        Operation.WRITE, Operation.WRITE, Operation.FLUSH,
    ]  # fmt: skip
    rig.command(Command.SET_FEATURES, features=0x02)
    rig.command(Command.WRITE_SECTORS, count=1)
    rig.write_string(PRIMARY, 2, bytes(512))
    assert rig.disks[0].flushes == 2


@pytest.mark.parametrize(
    "mode", [0x00, 0x01, *range(0x08, 0x0D), *range(0x20, 0x23), *range(0x40, 0x43)]
)
def test_set_transfer_mode_takes_what_identify_claims(rig: Rig, mode: int) -> None:
    rig.command(Command.SET_FEATURES, features=0x03, count=mode)
    assert outcome(rig) == (READY, 0)


@pytest.mark.parametrize("mode", [0x02, 0x0D, 0x10, 0x23, 0x43, 0x45, 0xFF])
def test_set_transfer_mode_aborts_any_other(rig: Rig, mode: int) -> None:
    rig.command(Command.SET_FEATURES, features=0x03, count=mode)
    assert outcome(rig) == (FAILED, ABRT)


@pytest.mark.parametrize("features", [0x00, 0x05, 0x10, 0xC2, 0xFF])
def test_a_feature_there_is_not_is_aborted(rig: Rig, features: int) -> None:
    rig.command(Command.SET_FEATURES, features=features)
    assert outcome(rig) == (FAILED, ABRT)


@pytest.mark.parametrize("features", [0x55, 0xAA, 0x66, 0xCC])
def test_look_ahead_and_keeping_settings_are_taken(rig: Rig, features: int) -> None:
    rig.command(Command.SET_FEATURES, features=features)
    assert outcome(rig) == (READY, 0)


def test_initialize_device_parameters_changes_what_chs_means(rig: Rig) -> None:
    rig.command(Command.INITIALIZE_DEVICE_PARAMETERS, count=8, device=0xA3)  # 4 heads
    assert outcome(rig) == (READY, 0)
    for offset, value in ((6, 0xA2), (2, 1), (3, 5), (4, 1), (5, 0), (7, 0x20)):
        rig.write(PRIMARY + offset, value)
    assert rig.requests[-1][1] == (1 * 4 + 2) * 8 + 4


def test_initialize_device_parameters_without_sectors_is_aborted(rig: Rig) -> None:
    rig.command(Command.INITIALIZE_DEVICE_PARAMETERS, count=0, device=0xAF)
    assert outcome(rig) == (FAILED, ABRT)


def test_read_native_max_gives_the_last_address(rig: Rig) -> None:
    rig.command(Command.READ_NATIVE_MAX)
    assert (rig.status(), rig.address()) == (READY, 4095)


def test_read_native_max_of_a_large_drive_stays_within_28_bits(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(1 << 33)])
    rig.command(Command.READ_NATIVE_MAX)
    assert rig.address() == 268_435_454
    rig.command(Command.READ_NATIVE_MAX_EXT)
    low = rig.address() & 0xFF_FFFF
    rig.write(CONTROL[PRIMARY], 0x80)
    high = sum(rig.read(PRIMARY + 3 + i) << 8 * i for i in range(3))
    assert high << 24 | low == (1 << 33) - 1


def test_a_diagnostic_is_done_by_both_devices_whichever_is_selected(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(unit=0), FakeDisk(unit=1)])
    rig.command(Command.EXECUTE_DEVICE_DIAGNOSTIC, lba=0x777777, device=0xF0)
    for device in (0xE0, 0xF0):
        assert [rig.read(PRIMARY + i) for i in (1, 2, 3, 4, 5)] == [1, 1, 1, 0, 0]
        assert rig.status() == READY
        rig.write(PRIMARY + 6, device)
    assert rig.edges[0] == 1


def test_power_commands_move_between_standby_and_idle(rig: Rig) -> None:
    for code, mode in (
        (Command.STANDBY_IMMEDIATE, 0x00), (Command.IDLE, 0xFF), (Command.STANDBY, 0x00),
        (Command.IDLE_IMMEDIATE, 0xFF),
    ):  # fmt: skip
        rig.command(code)
        assert rig.status() & 0x41 == 0x40
        rig.command(Command.CHECK_POWER_MODE)
        assert (rig.status(), rig.read(PRIMARY + 2)) == (READY, mode)


def test_using_the_medium_leaves_standby(rig: Rig) -> None:
    rig.command(Command.STANDBY_IMMEDIATE)
    rig.command(Command.READ_VERIFY, count=1)
    rig.command(Command.CHECK_POWER_MODE)
    assert rig.read(PRIMARY + 2) == 0xFF


def test_only_a_reset_wakes_a_sleeping_drive(rig: Rig) -> None:
    rig.command(Command.SLEEP)
    assert rig.edges[0] == 1
    rig.status()
    rig.command(Command.IDENTIFY_DEVICE)
    rig.command(Command.EXECUTE_DEVICE_DIAGNOSTIC)
    assert not rig.status() & 0x08
    rig.reset_drives()
    rig.command(Command.IDENTIFY_DEVICE)
    assert rig.status() == DATA


def test_seek_and_recalibrate_succeed_where_there_is_something(rig: Rig) -> None:
    rig.command(Command.SEEK, lba=4095)
    assert outcome(rig) == (READY, 0)
    rig.command(Command.RECALIBRATE)
    assert outcome(rig) == (READY, 0)
    rig.command(Command.SEEK, lba=4096)
    assert outcome(rig) == (FAILED, IDNF)
