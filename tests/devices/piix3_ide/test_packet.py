"""A packet device: how packets and data move, ATA/ATAPI-6 8.23 and 9.8; and discs that change."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import CONTROL, SECONDARY, FakeDisc, FakeDisk, Rig
from vestige.monitor.devices.piix3_ide.packet_spec import BLOCK, MediaEvent, Packet, Sense, SenseKey
from vestige.monitor.devices.piix3_ide.spec import Command, Error, Status

READY = Status.DRDY | Status.DSC
FAILED = Status.DRDY | Status.ERR
OVER = 3  # Interrupt Reason
NONE_LEFT = (SenseKey.NO_SENSE, Sense.NONE)


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A disk, and a drive for discs with one of 400 blocks as the secondary channel's device 0."""
    return make_rig([FakeDisk(), FakeDisc()])


def read_10(block: int, count: int) -> tuple[int, ...]:
    return (Packet.READ_10, 0, *block.to_bytes(4, "big"), 0, *count.to_bytes(2, "big"))


def sense(rig: Rig) -> tuple[int, int]:
    data = rig.ask(Packet.REQUEST_SENSE, 0, 0, 0, 18)
    assert len(data) == 18
    assert data[0] == 0x70
    return data[2], data[12] << 8 | data[13]


def event(rig: Rig) -> tuple[int, int]:
    """A media event, and whether there is a disc (2) or the tray is open (1)."""
    data = rig.ask(Packet.GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8)
    assert data[:4] == bytes((0, 6, 4, 0x10))
    return data[4], data[5]


def disc(rig: Rig) -> FakeDisc:
    found = rig.disks[2]
    assert isinstance(found, FakeDisc)
    return found


def test_after_a_reset_the_signature_says_packet_device(rig: Rig) -> None:
    rig.reset_drives(SECONDARY)
    assert [rig.read(SECONDARY + i) for i in range(1, 6)] == [1, 1, 1, 0x14, 0xEB]
    assert rig.status(SECONDARY) == 0


@pytest.mark.parametrize("code", [Command.IDENTIFY_DEVICE, Command.READ_SECTORS])
def test_commands_of_disks_are_aborted_with_the_signature(rig: Rig, code: Command) -> None:
    rig.command(code, 0, 1, base=SECONDARY, device=0xA0)
    assert rig.status(SECONDARY) == FAILED
    assert rig.error(SECONDARY) == Error.ABRT
    assert (rig.read(SECONDARY + 4), rig.read(SECONDARY + 5)) == (0x14, 0xEB)


def test_a_disk_knows_no_packets(rig: Rig) -> None:
    for code in (Command.PACKET, Command.IDENTIFY_PACKET_DEVICE, Command.DEVICE_RESET):
        rig.command(code)
        assert rig.error() == Error.ABRT


def test_identify_packet_device_says_what_it_is(rig: Rig) -> None:
    rig.command(Command.IDENTIFY_PACKET_DEVICE, base=SECONDARY, device=0xA0)
    data = rig.read_sectors(1, SECONDARY)
    words = [int.from_bytes(data[i : i + 2], "little") for i in range(0, 512, 2)]
    assert words[0] == 0x85C0
    assert words[82] & 1 << 4  # PACKET
    assert words[83] & words[84] & 1 << 14
    assert b"".join(word.to_bytes(2, "big") for word in words[27:47]).startswith(b"VENDOR  PROD")
    assert rig.status(SECONDARY) == READY


def test_a_packet_is_asked_for_without_an_interrupt(rig: Rig) -> None:
    rig.write(SECONDARY + 6, 0xA0)
    rig.write(SECONDARY + 7, Command.PACKET)
    assert rig.edges[1] == 0
    assert rig.status(SECONDARY) == READY | Status.DRQ
    assert rig.read(SECONDARY + 2) & 7 == 1
    rig.write_string(SECONDARY, 2, bytes(12))  # TEST UNIT READY
    assert rig.edges[1] == 1
    assert rig.status(SECONDARY) == READY
    assert rig.read(SECONDARY + 2) & 7 == OVER


def test_data_comes_in_pieces_of_the_byte_count(rig: Rig) -> None:
    rig.packet(*read_10(3, 2), limit=1000)
    pieces = rig.pieces()
    assert [len(piece) for piece in pieces] == [1000, 1000, 1000, 1000, 96]
    assert b"".join(pieces) == disc(rig).block(3) + disc(rig).block(4)
    assert rig.status(SECONDARY) == READY
    assert rig.read(SECONDARY + 2) & 7 == OVER
    assert rig.edges[1] == 6  # each piece, and the end


def test_more_than_the_buffer_holds_is_read_piece_by_piece(rig: Rig) -> None:
    assert rig.ask(*read_10(7, 19)) == bytes(disc(rig).data[7 * BLOCK : 26 * BLOCK])


def test_an_odd_byte_count_is_made_even_unless_all_fits(rig: Rig) -> None:
    rig.packet(*read_10(0, 1), limit=1025)
    assert [len(piece) for piece in rig.pieces()] == [1024, 1024]
    rig.packet(Packet.INQUIRY, 0, 0, 0, 35, limit=35)
    assert [len(piece) for piece in rig.pieces()] == [35]
    assert rig.status(SECONDARY) == READY


@pytest.mark.parametrize("limit", [0, 1])
def test_a_byte_count_of_nothing_is_aborted_where_data_would_move(rig: Rig, limit: int) -> None:
    rig.packet(Packet.INQUIRY, 0, 0, 0, 36, limit=limit)
    assert (rig.status(SECONDARY), rig.error(SECONDARY)) == (FAILED, Error.ABRT)
    rig.packet(Packet.TEST_UNIT_READY, limit=limit)
    assert rig.status(SECONDARY) == READY


def test_blocks_go_by_dma_straight_into_ram(rig: Rig) -> None:
    rig.prd(0x1000, (0x2000, 0x1800), (0x8002, 0x0800))
    rig.packet(*read_10(5, 4), features=1)
    assert rig.read(CONTROL[SECONDARY]) & Status.DRQ
    rig.start_dma(0x1000, to_memory=True, channel=1)
    assert rig.peek(0x2000, 0x1800) == bytes(disc(rig).data[5 * BLOCK : 8 * BLOCK])
    assert rig.peek(0x8002, 0x800) == disc(rig).block(8)
    assert rig.read(SECONDARY + 2) & 7 == OVER
    assert rig.status(SECONDARY) == READY
    assert rig.bus_master_status(1) & 7 == 4
    assert rig.edges[1] == 1


def test_blocks_cut_into_many_regions_go_by_dma_too(rig: Rig) -> None:
    rig.prd(0x1000, *((0x8000 + 4 * i, 2) for i in range(1024)))
    rig.packet(*read_10(9, 1), features=1)
    rig.start_dma(0x1000, to_memory=True, channel=1)
    data = b"".join(rig.peek(0x8000 + 4 * i, 2) for i in range(1024))
    assert data == disc(rig).block(9)
    assert rig.status(SECONDARY) == READY


def test_answers_go_by_dma(rig: Rig) -> None:
    expected = rig.ask(Packet.INQUIRY, 0, 0, 0, 36)
    rig.prd(0x1000, (0x2000, 20), (0x3000, 16))
    rig.packet(Packet.INQUIRY, 0, 0, 0, 36, features=1)
    rig.start_dma(0x1000, to_memory=True, channel=1)
    assert rig.peek(0x2000, 20) + rig.peek(0x3000, 16) == expected
    assert rig.status(SECONDARY) == READY


def test_a_table_too_short_for_an_answer_has_the_drive_wait(rig: Rig) -> None:
    rig.prd(0x1000, (0x2000, 20))
    rig.packet(Packet.INQUIRY, 0, 0, 0, 36, features=1)
    rig.start_dma(0x1000, to_memory=True, channel=1)
    assert rig.status(SECONDARY) & Status.DRQ
    assert rig.bus_master_status(1) & 1 == 0
    assert rig.edges[1] == 0


def test_overlap_is_aborted(rig: Rig) -> None:
    rig.packet(Packet.TEST_UNIT_READY, features=2)
    assert rig.error(SECONDARY) == Error.ABRT


def test_device_reset_ends_any_command_without_an_interrupt(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisc()], immediate=False)
    rig.packet(*read_10(0, 1))
    assert rig.status(SECONDARY) & Status.BSY
    rig.write(SECONDARY + 7, Command.DEVICE_RESET)
    assert rig.read(CONTROL[SECONDARY]) == Status.BSY  # memory may still change
    rig.serve(1)
    assert rig.status(SECONDARY) == 0
    assert rig.read(SECONDARY + 5) == 0xEB
    assert rig.edges[1] == 0


def test_an_error_of_the_medium_is_told(rig: Rig) -> None:
    disc(rig).bad.add(4 * 11 + 2)
    rig.packet(*read_10(11, 1))
    assert (rig.status(SECONDARY), rig.error(SECONDARY)) == (FAILED, SenseKey.MEDIUM_ERROR << 4)
    assert rig.read(SECONDARY + 2) & 7 == OVER
    assert sense(rig) == (SenseKey.MEDIUM_ERROR, Sense.READ_ERROR)
    assert sense(rig) == NONE_LEFT


def test_what_is_not_on_the_disc_is_refused(rig: Rig) -> None:
    for packet in (read_10(399, 2), read_10(400, 1), read_10(0xFFFF_FFFF, 0xFFFF)):
        rig.packet(*packet)
        assert rig.error(SECONDARY) == SenseKey.ILLEGAL_REQUEST << 4
        assert sense(rig) == (SenseKey.ILLEGAL_REQUEST, Sense.OUT_OF_RANGE)
    assert not rig.requests
    assert rig.ask(*read_10(399, 1)) == disc(rig).block(399)


# ---- discs that change ------------------------------------------------------------------------


def test_another_disc_is_told_once_and_then_read(rig: Rig) -> None:
    other = FakeDisc(30)
    other.data = bytearray(b"other".ljust(BLOCK, b".") * 30)
    rig.change_disc(other)
    assert event(rig) == (MediaEvent.NEW_MEDIA, 2)
    assert event(rig) == (MediaEvent.NONE, 2)
    rig.packet(Packet.TEST_UNIT_READY)
    assert rig.error(SECONDARY) == SenseKey.UNIT_ATTENTION << 4
    assert sense(rig) == (SenseKey.UNIT_ATTENTION, Sense.MEDIUM_CHANGED)
    rig.packet(Packet.TEST_UNIT_READY)
    assert rig.status(SECONDARY) == READY
    assert rig.ask(Packet.READ_CAPACITY) == bytes((0, 0, 0, 29, 0, 0, 8, 0))
    assert rig.ask(*read_10(29, 1)) == other.block(29)


def test_a_disc_that_was_taken_out_is_not_there(rig: Rig) -> None:
    rig.change_disc(None)
    assert event(rig) == (MediaEvent.MEDIA_REMOVAL, 1)
    for packet in ((Packet.TEST_UNIT_READY,), read_10(0, 1), (Packet.READ_CAPACITY,)):
        rig.packet(*packet)
        assert rig.error(SECONDARY) == SenseKey.NOT_READY << 4
        assert sense(rig) == (SenseKey.NOT_READY, Sense.NO_MEDIUM_OPEN)


def test_a_drive_may_begin_empty(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisc(0)])
    rig.packet(Packet.TEST_UNIT_READY)
    assert sense(rig) == (SenseKey.NOT_READY, Sense.NO_MEDIUM_CLOSED)
    assert event(rig) == (MediaEvent.NONE, 0)
    rig.change_disc(FakeDisc(40))
    assert event(rig) == (MediaEvent.NEW_MEDIA, 2)


@pytest.mark.parametrize("features", [0, 1])
def test_what_was_read_while_the_disc_changed_is_an_error(make_rig: MakeRig, features: int) -> None:
    rig = make_rig([FakeDisc()], immediate=False)
    rig.prd(0x1000, (0x2000, 0x1000))
    rig.packet(*read_10(0, 2), features=features)
    rig.start_dma(0x1000, to_memory=True, channel=1)
    rig.change_disc(FakeDisc(100))
    rig.serve(1)
    assert rig.error(SECONDARY) == SenseKey.UNIT_ATTENTION << 4
    assert rig.status(SECONDARY) == FAILED


def test_while_the_disc_is_being_changed_there_is_none(rig: Rig) -> None:
    rig.machine.disks[2].disc.changes += 1
    rig.packet(Packet.TEST_UNIT_READY)
    assert sense(rig) == (SenseKey.NOT_READY, Sense.NO_MEDIUM_OPEN)
    rig.machine.disks[2].disc.changes += 1
    assert event(rig) == (MediaEvent.NEW_MEDIA, 2)


def test_the_guest_opens_and_closes_the_tray(rig: Rig) -> None:
    rig.packet(Packet.START_STOP_UNIT, 0, 0, 0, 2)
    assert event(rig) == (MediaEvent.MEDIA_REMOVAL, 1)
    rig.packet(Packet.TEST_UNIT_READY)
    assert sense(rig) == (SenseKey.NOT_READY, Sense.NO_MEDIUM_OPEN)
    rig.packet(Packet.START_STOP_UNIT, 0, 0, 0, 3)
    assert event(rig) == (MediaEvent.NEW_MEDIA, 2)
    assert sense(rig) == (SenseKey.UNIT_ATTENTION, Sense.MEDIUM_CHANGED)
    assert rig.ask(*read_10(1, 1)) == disc(rig).block(1)


def test_a_locked_tray_stays_closed_to_the_guest(rig: Rig) -> None:
    rig.packet(Packet.PREVENT_ALLOW, 0, 0, 0, 1)
    rig.packet(Packet.START_STOP_UNIT, 0, 0, 0, 2)
    assert sense(rig) == (SenseKey.ILLEGAL_REQUEST, Sense.REMOVAL_PREVENTED)
    rig.packet(Packet.PREVENT_ALLOW)
    rig.packet(Packet.START_STOP_UNIT, 0, 0, 0, 2)
    assert rig.status(SECONDARY) == READY


def test_the_other_channel_goes_on_meanwhile(rig: Rig) -> None:
    rig.packet(*read_10(0, 1), limit=512)
    rig.command(Command.READ_SECTORS, 5, 1)
    assert rig.read_sectors() == rig.disks[0].sector(5)
    assert b"".join(rig.pieces()) == disc(rig).block(0)
