"""Control blocks and bus master in memory: BARs, reads without effect, posted starts."""

import pytest

from tests.devices.piix3_ide.conftest import MakeRig
from tests.devices.piix3_ide.rig import FakeDisk, Rig
from vestige.abi import (
    IDE_MEMORY_BUS_MASTER,
    IDE_MEMORY_CONTROL,
    IDE_MEMORY_PAGE,
    IDE_MEMORY_SECONDARY_CONTROL,
    PORT_IDE,
    PORT_IDE_BUS_MASTER,
    PORT_IDE_CONTROL,
    PORT_IDE_SECONDARY,
)
from vestige.devices import POSTS
from vestige.monitor.devices.piix3_ide.spec import Command
from vestige.place import Post

COMMAND, STATUS, TABLE = (IDE_MEMORY_BUS_MASTER + offset for offset in (0, 2, 4))
CONTROLS = (IDE_MEMORY_CONTROL + 2, IDE_MEMORY_SECONDARY_CONTROL + 2)
BASES = (PORT_IDE, PORT_IDE_SECONDARY)
PRD, DATA = 0x1000, 0x2000
OFFER, START, TO_MEMORY, ACTIVE, INTERRUPT = 0x10, 0x01, 0x08, 0x01, 0x04
ONES = 0xFFFF_FFFF


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig([FakeDisk(unit=0), FakeDisk(unit=2)], native=True, in_memory=True)


def prepare(rig: Rig, channel: int = 0, lba: int = 5) -> None:
    """All of a read of one sector but the start, in libata's order."""
    base = COMMAND + 8 * channel
    rig.prd(PRD, (DATA, 512))
    rig.store(base + 4, PRD, 4)
    rig.store(base, TO_MEMORY)
    rig.command(Command.READ_DMA, lba, 1, base=BASES[channel])


def test_bars_1_3_and_4_are_pages_of_memory(rig: Rig) -> None:
    bars = [rig.read_config(0x10 + 4 * number) for number in range(6)]
    assert bars == [
        PORT_IDE | 1, IDE_MEMORY_CONTROL, PORT_IDE_SECONDARY | 1,
        IDE_MEMORY_SECONDARY_CONTROL, IDE_MEMORY_BUS_MASTER, 0,
    ]  # fmt: skip
    for number in (1, 3, 4):
        rig.write_config(0x10 + 4 * number, 4, ONES)
        assert rig.read_config(0x10 + 4 * number) == ONES + 1 - IDE_MEMORY_PAGE


def test_the_ports_they_had_are_nobodys(rig: Rig) -> None:
    assert not rig.claims(PORT_IDE_BUS_MASTER)
    assert not rig.claims(PORT_IDE_CONTROL + 2)
    assert rig.claims(PORT_IDE)


def test_the_registers_are_the_same(rig: Rig) -> None:
    rig.store(TABLE, 0x1234_5678, 4)
    rig.store(COMMAND + 8, 0x0060_0008, 4)
    assert rig.load(TABLE, 4) == 0x1234_5678
    assert rig.load(COMMAND + 8, 4) == 0x0060_0008
    assert [rig.load(control) for control in CONTROLS] == [0x50, 0x50]
    assert rig.load(IDE_MEMORY_CONTROL, 4) == 0xFF50_FFFF
    assert rig.load(COMMAND + 16, 4) == ONES


def test_alternate_status_does_not_acknowledge(rig: Rig) -> None:
    rig.command(Command.RECALIBRATE, base=PORT_IDE)
    for _ in range(3):
        assert rig.load(CONTROLS[0]) == 0x50
    assert rig.ide.channels[0].line.level == 1
    rig.read(PORT_IDE + 7)
    assert rig.ide.channels[0].line.level == 0


def test_device_control_resets_from_memory(rig: Rig) -> None:
    rig.store(CONTROLS[1], 0x04)
    assert rig.load(CONTROLS[1]) == 0x80
    rig.store(CONTROLS[1], 0x00)
    assert rig.load(CONTROLS[1]) == 0x50


def test_registers_follow_their_bar_and_the_memory_bit(rig: Rig) -> None:
    rig.write_config(0x20, 4, 0xD123_4000)
    assert (rig.load(0xD123_4000, 4), rig.load(COMMAND, 4)) == (0, ONES)
    rig.write_config(0x04, 2, 0x0005)
    assert (rig.load(0xD123_4000, 4), rig.load(CONTROLS[0])) == (ONES, 0xFF)
    assert rig.read(PORT_IDE + 7) == 0x50


def test_a_channel_in_compatibility_mode_has_its_control_block_at_ports(rig: Rig) -> None:
    rig.write_config(0x09, 1, 0x04)
    assert (rig.load(CONTROLS[0]), rig.load(CONTROLS[1])) == (0xFF, 0x50)
    assert rig.read(0x3F6) == 0x50


def test_a_channel_without_drives_shows_no_status(make_rig: MakeRig) -> None:
    rig = make_rig([FakeDisk(unit=0)], native=True, in_memory=True)
    assert [rig.load(control) for control in CONTROLS] == [0x50, 0xFF]


# ---- starts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [0, 1])
def test_a_waiting_command_offers_its_start_and_shows_the_bus_master_active(
    rig: Rig, channel: int
) -> None:
    command, status = COMMAND + 8 * channel, STATUS + 8 * channel
    assert rig.load(command) == 0
    prepare(rig, channel)
    assert rig.load(command) == OFFER | TO_MEMORY
    assert rig.load(status) == ACTIVE
    assert rig.requests == []
    written = rig.load(command) | START
    number = POSTS.index(Post(command, written))
    rig.post(number)
    assert rig.edges[channel] == 1
    assert rig.peek(DATA, 512) == rig.disks[2 * channel].sector(5)
    assert rig.load(command) == START | TO_MEMORY
    assert rig.load(status) == INTERRUPT
    rig.store(command, rig.load(command) & ~START)
    assert rig.load(command) == TO_MEMORY


def test_the_offered_bytes_are_those_that_are_posted() -> None:
    bytes_ = [OFFER | START, OFFER | START | TO_MEMORY]
    expected = [(COMMAND + 8 * channel, value) for channel in (0, 1) for value in bytes_]
    assert [(post.address, post.value) for post in POSTS] == expected


def test_an_offered_start_that_comes_as_a_write_does_the_same(rig: Rig) -> None:
    prepare(rig)
    rig.store(COMMAND, rig.load(COMMAND) | START)
    assert rig.load(COMMAND) == START | TO_MEMORY
    assert rig.peek(DATA, 512) == rig.disks[0].sector(5)


def test_a_stop_ends_the_offer(rig: Rig) -> None:
    prepare(rig)
    rig.store(COMMAND, 0)
    assert (rig.load(COMMAND), rig.load(STATUS)) == (0, 0)
    rig.store(COMMAND, START | TO_MEMORY)
    assert rig.peek(DATA, 512) == rig.disks[0].sector(5)


def test_a_reset_ends_the_offer(rig: Rig) -> None:
    prepare(rig)
    rig.store(CONTROLS[0], 0x04)
    rig.store(CONTROLS[0], 0x00)
    assert (rig.load(COMMAND), rig.load(STATUS)) == (TO_MEMORY, 0)


def test_a_command_that_fails_at_once_offers_nothing(rig: Rig) -> None:
    prepare(rig, lba=1 << 27)
    assert (rig.load(COMMAND), rig.load(STATUS)) == (TO_MEMORY, INTERRUPT)


def test_a_bus_master_that_was_started_before_is_not_offered(rig: Rig) -> None:
    rig.prd(PRD, (DATA, 512))
    rig.store(TABLE, PRD, 4)
    rig.store(COMMAND, START | TO_MEMORY)
    rig.command(Command.READ_DMA, 5, 1, base=PORT_IDE)
    assert rig.load(COMMAND) == START | TO_MEMORY
    assert rig.peek(DATA, 512) == rig.disks[0].sector(5)


def test_a_start_that_arrives_where_nothing_is_decoded_is_lost(rig: Rig) -> None:
    prepare(rig)
    rig.write_config(0x04, 2, 0x0005)
    rig.post(1)
    assert rig.requests == []
    rig.write_config(0x04, 2, 0x0007)
    assert rig.load(COMMAND) == OFFER | TO_MEMORY


def test_a_function_at_ports_offers_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(native=True)
    rig.command(Command.READ_DMA, 5, 1, base=PORT_IDE)
    assert rig.read(PORT_IDE_BUS_MASTER, 4) == 0
