"""What packets are answered: MMC-3, clause 6; SPC-2, clause 7."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import SECONDARY, FakeDisc, Rig
from vestige.monitor.devices.piix3_ide.packet_spec import LARGEST_CD, Packet, Sense, SenseKey
from vestige.monitor.devices.piix3_ide.spec import Status

BLOCKS = 5000  # 1 minute, 8 seconds, 50 frames with what is before block 0
LEAD_OUT_TIME = bytes((0, 1, 8, 50))
FAILED = Status.DRDY | Status.ERR


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A drive with a disc as the secondary channel's device 0."""
    return make_rig([FakeDisc(BLOCKS)])


def refused(rig: Rig, *packet: int) -> int:
    """The Sense of a packet that is refused."""
    rig.packet(*packet)
    assert rig.status(SECONDARY) == FAILED
    data = rig.ask(Packet.REQUEST_SENSE, 0, 0, 0, 18)
    assert data[2] == SenseKey.ILLEGAL_REQUEST
    return data[12] << 8 | data[13]


def test_inquiry_says_a_removable_cd_drive(rig: Rig) -> None:
    data = rig.ask(Packet.INQUIRY, 0, 0, 0, 255)
    assert data[:8] == bytes((5, 0x80, 0, 0x21, 31, 0, 0, 0))
    assert data[8:] == b"VENDOR  PRODUCT         1.0 "
    assert rig.ask(Packet.INQUIRY, 0, 0, 0, 5) == data[:5]
    assert rig.ask(Packet.INQUIRY) == b""
    assert refused(rig, Packet.INQUIRY, 1, 0x80, 0, 255) == Sense.INVALID_FIELD_IN_PACKET


def test_an_unknown_packet_is_an_illegal_request(rig: Rig) -> None:
    assert refused(rig, 0x0A) == Sense.INVALID_COMMAND  # WRITE(6)


def test_the_table_of_contents_has_one_track_and_the_lead_out(rig: Rig) -> None:
    lead_out = (BLOCKS).to_bytes(4, "big")
    track, behind = bytes((0, 0x14, 1, 0)), bytes((0, 0x16, 0xAA, 0))
    toc = rig.ask(Packet.READ_TOC, 0, 0, 0, 0, 0, 0, 0, 255)
    assert toc == bytes((0, 18, 1, 1)) + track + bytes(4) + behind + lead_out
    toc = rig.ask(Packet.READ_TOC, 2, 0, 0, 0, 0, 1, 0, 255)
    assert toc == bytes((0, 18, 1, 1)) + track + bytes((0, 0, 2, 0)) + behind + LEAD_OUT_TIME
    toc = rig.ask(Packet.READ_TOC, 0, 0, 0, 0, 0, 0xAA, 0, 255)
    assert toc == bytes((0, 10, 1, 1)) + behind + lead_out
    invalid = refused(rig, Packet.READ_TOC, 0, 0, 0, 0, 0, 2, 0, 255)
    assert invalid == Sense.INVALID_FIELD_IN_PACKET


@pytest.mark.parametrize("form", [(1, 0), (0, 0x40)], ids=["MMC", "SFF-8020i"])
def test_there_is_one_session(rig: Rig, form: tuple[int, int]) -> None:
    toc = rig.ask(Packet.READ_TOC, 0, form[0], 0, 0, 0, 0, 0, 12, form[1])
    assert toc == bytes((0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0))


def test_the_lead_in_has_times_alone(rig: Rig) -> None:
    toc = rig.ask(Packet.READ_TOC, 0, 2, 0, 0, 0, 0, 0, 255)
    assert toc[:4] == bytes((0, 46, 1, 1))
    points = [toc[i : i + 11] for i in range(4, 48, 11)]
    assert [point[3] for point in points] == [0xA0, 0xA1, 0xA2, 1]
    assert points[2][7:] == LEAD_OUT_TIME
    assert points[3][7:] == bytes((0, 0, 2, 0))


def test_a_large_disc_is_a_dvd(make_rig: MakeRig) -> None:
    for blocks, profile in ((0, 0), (LARGEST_CD, 8), (LARGEST_CD + 1, 0x10)):
        rig = make_rig([FakeDisc(blocks)])
        data = rig.ask(Packet.GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 1, 0)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        assert data[6:8] == bytes((0, profile))
        assert data[14] == (profile == 0x10)
        assert data[18] == (profile == 8)


def test_features_are_listed_from_one_on_or_one_alone(rig: Rig) -> None:
    def codes(request: int, first: int) -> list[int]:
        data = rig.ask(Packet.GET_CONFIGURATION, request, 0, first, 0, 0, 0, 1, 0)
        found, place = [], 8
        while place < len(data):
            found.append(data[place] << 8 | data[place + 1])
            place += 4 + data[place + 3]
        assert place == len(data)
        return found

    assert codes(0, 0) == [0, 1, 3, 0x10, 0x1E, 0x1F]
    assert codes(1, 0) == [0, 1, 3, 0x10, 0x1E]  # a CD is in
    assert codes(0, 4) == [0x10, 0x1E, 0x1F]
    assert codes(2, 3) == [3]
    assert codes(2, 2) == []


def test_no_event_of_another_class_comes(rig: Rig) -> None:
    data = rig.ask(Packet.GET_EVENT_STATUS, 1, 0, 0, 2, 0, 0, 0, 8)
    assert data == bytes((0, 2, 0x80, 0x10))
    asynchronous = refused(rig, Packet.GET_EVENT_STATUS, 0, 0, 0, 0x10, 0, 0, 0, 8)
    assert asynchronous == Sense.INVALID_FIELD_IN_PACKET


def test_mode_pages_are_sensed(rig: Rig) -> None:
    def ask(page: int) -> bytes:
        return rig.ask(Packet.MODE_SENSE_10, 0, page, 0, 0, 0, 0, 0, 255)

    recovery, capabilities = ask(1), ask(0x2A)
    assert recovery == bytes((0, 14, 1, 0, 0, 0, 0, 0, 1, 6, 0, 5, 0, 0, 0, 0))
    assert capabilities[:10] == bytes((0, 28, 1, 0, 0, 0, 0, 0, 0x2A, 20))
    assert ask(0x3F)[8:] == recovery[8:] + capabilities[8:]
    assert refused(rig, Packet.MODE_SENSE_10, 0, 5, 0, 0, 0, 0, 0, 255)
    assert refused(rig, Packet.MODE_SENSE_10, 0, 0xC1) == Sense.SAVING_NOT_SUPPORTED
    rig.packet(Packet.PREVENT_ALLOW, 0, 0, 0, 1)
    assert ask(0x2A)[14] ^ capabilities[14] == 2  # locked
    rig.packet(Packet.PREVENT_ALLOW)
    rig.packet(Packet.START_STOP_UNIT, 0, 0, 0, 2)
    assert ask(1)[2] == 0x71  # the door is open


def select(rig: Rig, pages: bytes) -> None:
    data = bytes(8) + pages
    rig.packet(Packet.MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, len(data))
    assert rig.read(SECONDARY + 2) & 7 == 0
    assert rig.read(SECONDARY + 4) == len(data)
    rig.write_string(SECONDARY, 2, data)


def test_error_recovery_is_selected(rig: Rig) -> None:
    select(rig, bytes((1, 6, 0x20, 9, 0, 0, 0, 0)))
    assert rig.status(SECONDARY) == Status.DRDY | Status.DSC
    assert rig.ask(Packet.MODE_SENSE_10, 0, 1, 0, 0, 0, 0, 0, 255)[10:12] == bytes((0x20, 9))
    assert rig.ask(Packet.MODE_SENSE_10, 0, 0x81, 0, 0, 0, 0, 0, 255)[10:12] == bytes((0, 5))
    assert rig.ask(Packet.MODE_SENSE_10, 0, 0x41, 0, 0, 0, 0, 0, 255)[10:12] == b"\xff\xff"


def test_nothing_else_can_be_selected(rig: Rig) -> None:
    for pages, expected in (
        (bytes((0x2A, 20)).ljust(22, b"\0"), Sense.INVALID_FIELD_IN_PARAMETERS),
        (bytes((1, 6, 0, 5)), Sense.PARAMETER_LIST_LENGTH),
    ):
        select(rig, pages)
        assert rig.status(SECONDARY) == FAILED
        assert rig.ask(Packet.REQUEST_SENSE, 0, 0, 0, 18)[12] == expected >> 8
    short = refused(rig, Packet.MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 4)
    assert short == Sense.PARAMETER_LIST_LENGTH


def test_parameters_come_by_dma(rig: Rig) -> None:
    rig.poke(0x2000, bytes(8) + bytes((1, 6, 0, 3, 0, 0, 0, 0)))
    rig.prd(0x1000, (0x2000, 16))
    rig.packet(Packet.MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 16, features=1)
    rig.start_dma(0x1000, to_memory=False, channel=1)
    assert rig.status(SECONDARY) == Status.DRDY | Status.DSC
    assert rig.ask(Packet.MODE_SENSE_10, 0, 1, 0, 0, 0, 0, 0, 255)[11] == 3


def test_blocks_are_read_by_any_of_the_commands(rig: Rig) -> None:
    disc = rig.disks[2]
    assert isinstance(disc, FakeDisc)
    expected = disc.block(600) + disc.block(601)
    place = (600).to_bytes(4, "big")
    assert rig.ask(Packet.READ_10, 0, *place, 0, 0, 2) == expected
    assert rig.ask(Packet.READ_12, 0, *place, 0, 0, 0, 2) == expected
    assert rig.ask(Packet.READ_CD, 0, *place, 0, 0, 2, 0x10) == expected
    assert rig.ask(Packet.READ_CD, 0, *place, 0, 0, 2, 0) == b""
    raw = refused(rig, Packet.READ_CD, 0, *place, 0, 0, 2, 0xF8)
    assert raw == Sense.INVALID_FIELD_IN_PACKET
    assert refused(rig, Packet.SEEK_10, 0, *(BLOCKS).to_bytes(4, "big")) == Sense.OUT_OF_RANGE
    assert refused(rig, Packet.READ_12, 0, *place, *b"\xff" * 4) == Sense.OUT_OF_RANGE


def test_the_disc_and_the_mechanism_say_what_they_are(rig: Rig) -> None:
    data = rig.ask(Packet.READ_DISC_INFORMATION, 0, 0, 0, 0, 0, 0, 0, 255)
    assert data == bytes((0, 32, 0x0E, 1, 1, 1, 1, 0x20)).ljust(34, b"\0")
    status = rig.ask(Packet.MECHANISM_STATUS, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    assert status == bytes((0, 0, 0, 0, 0, 1, 0, 0))
