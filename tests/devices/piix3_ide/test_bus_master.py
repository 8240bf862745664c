"""The bus master's registers, and how it walks its table."""

from tests.devices.piix3_ide.rig import BUS_MASTER, Rig
from vestige.monitor.block import BlockRequest
from vestige.monitor.devices.piix3_ide.bus_master import BusMaster

TABLE = 0x1000


def test_start_and_direction_are_kept_and_start_makes_it_active(rig: Rig) -> None:
    rig.write(BUS_MASTER, 0xFF)
    assert (rig.read(BUS_MASTER), rig.bus_master_status()) == (0x09, 0x01)
    rig.write(BUS_MASTER, 0x08)
    assert (rig.read(BUS_MASTER), rig.bus_master_status()) == (0x08, 0x00)


def test_the_capability_bits_are_the_guest_s_notes(rig: Rig) -> None:
    rig.write(BUS_MASTER + 2, 0xFF)
    assert rig.bus_master_status() == 0x60
    rig.write(BUS_MASTER + 2, 0x00)
    assert rig.bus_master_status() == 0


def test_the_table_pointer_is_aligned_and_can_be_written_in_parts(rig: Rig) -> None:
    rig.write(BUS_MASTER + 4, 0x1234_5677, 4)
    assert rig.read(BUS_MASTER + 4, 4) == 0x1234_5674
    rig.write(BUS_MASTER + 5, 0xAB)
    rig.write(BUS_MASTER + 6, 0xCDEF, 2)
    assert rig.read(BUS_MASTER + 4, 4) == 0xCDEF_AB74


def test_each_channel_has_its_own_registers(rig: Rig) -> None:
    rig.write(BUS_MASTER + 4, 0x1000, 4)
    rig.write(BUS_MASTER + 12, 0x2000, 4)
    assert (rig.read(BUS_MASTER + 4, 4), rig.read(BUS_MASTER + 12, 4)) == (0x1000, 0x2000)
    rig.write(BUS_MASTER + 8, 1)
    assert (rig.bus_master_status(0), rig.bus_master_status(1)) == (0, 1)


def test_a_wide_read_has_command_and_status(rig: Rig) -> None:
    rig.write(BUS_MASTER, 0x0060_0009, 4)
    assert rig.read(BUS_MASTER, 4) == 0x0061_0009


def gathered(rig: Rig, wanted: int, *regions: tuple[int, int]) -> tuple[BusMaster, BlockRequest]:
    rig.prd(TABLE, *regions)
    bus_master, request = BusMaster(enabled=1, table=TABLE), BlockRequest()
    bus_master.write(0, 1)
    request.prepare(0, 0, 0, 0)
    assert bus_master.gather(rig.ide.ram, request, wanted) == sum(
        request.segments[i].length for i in range(request.segment_count)
    )
    return bus_master, request


def lengths(request: BlockRequest) -> list[int]:
    return [request.segments[i].length for i in range(request.segment_count)]


def test_a_length_of_0_is_64_kib_and_odd_ones_are_even(rig: Rig) -> None:
    _, request = gathered(rig, 0x1_0200, (0x1_0001, 0), (0x4_0000, 513))
    assert lengths(request) == [0x1_0000, 512]
    assert request.segments[0].address == rig.ide.ram.low + 0x1_0000


def test_no_more_is_taken_than_wanted(rig: Rig) -> None:
    bus_master, request = gathered(rig, 512, (0x4000, 4096))
    assert (lengths(request), bus_master.left) == ([512], 3584)


def test_a_sector_the_table_ends_in_is_left_out(rig: Rig) -> None:
    bus_master, request = gathered(rig, 1024, (0x4000, 512), (0x8000, 100))
    assert (lengths(request), bus_master.status) == ([512], 0)


def test_a_sector_with_too_many_pieces_waits_for_the_next_request(rig: Rig) -> None:
    regions = [(0x4000 + 0x400 * i, 512) for i in range(126)]
    pieces = [(0x3_0000 + 0x100 * i, 128) for i in range(4)]
    bus_master, request = gathered(rig, 127 * 512, *regions, *pieces)
    assert lengths(request) == [512] * 126
    assert bus_master.running()
    request = BlockRequest()
    assert bus_master.gather(rig.ide.ram, request, 512) == 512
    assert lengths(request) == [128] * 4


def test_adjacent_pieces_of_a_sector_left_out_do_not_stay_in_the_segment_before(rig: Rig) -> None:
    _, request = gathered(rig, 1024, (0x4000, 512), (0x4200, 100), (0x8000, 100))
    assert lengths(request) == [512]
