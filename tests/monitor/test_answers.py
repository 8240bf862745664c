"""Reads that the host answers by itself: what they are answered, and when they are not.

Whatever else reads a byte at a port of the rig's has that compared with the host's answer, too.
"""

import random
import struct

import pytest

from tests.monitor.rig import Rig
from tests.monitor.test_core import CoalescedPage, queue
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.monitor import outside

CONFIG = 1 << 31 | abi.IDE_SLOT << 11
STATUS, CONTROL = abi.PORT_IDE + 7, abi.PORT_IDE_CONTROL + 2
COMMAND, BUS_MASTER_STATUS = abi.PORT_IDE_BUS_MASTER, abi.PORT_IDE_BUS_MASTER + 2
READY, BUSY = 0x50, 0x80
IDENTIFY, READ_DMA = 0xEC, 0xC8
PRD = 0x1000


@pytest.fixture
def rig() -> Rig:
    """Two disks on two channels, and the function enabled."""
    disk = bytearray(256 * 512)
    rig = Rig(disks=[disk, bytearray(), disk, bytearray()]).start()
    set_config(rig, 4, 7, 2)
    rig.enable_pin(abi.PIN_PCI_INTA, 0x51)
    return rig


def set_config(rig: Rig, register: int, value: int, size: int = 4) -> None:
    rig.out(abi.PORT_PCI_ADDRESS, CONFIG | register, 4)
    rig.out(abi.PORT_PCI_DATA, value, size)


def known(rig: Rig) -> dict[int, int]:
    """Ports, and what reads of them are answered without the monitor."""
    return {abi.port_of(each): each >> 32 for each in rig.shared.answers.known if each}


def queueing(rig: Rig) -> CoalescedPage:
    page = CoalescedPage()
    rig.shared.config.coalesced = address_of(page)
    rig.shared.config.coalesced_entries = len(page.entries)
    return page


def test_status_and_the_bus_master_are_answered_while_nothing_moves(rig: Rig) -> None:
    found = known(rig)
    assert {
        STATUS: READY,
        CONTROL: READY,
        COMMAND: 0,
        BUS_MASTER_STATUS: 0,
    }.items() <= found.items()
    assert len(found) == abi.ANSWERS
    assert found == {port: rig.inp(port) for port in found}


def test_where_no_disk_is_there_nothing_is_answered_beforehand() -> None:
    rig = Rig(disks=[bytearray(512)], virtio=True).start()
    set_config(rig, 4, 7, 2)
    assert known(rig) == {}


def test_no_status_is_answered_that_its_read_changes(rig: Rig) -> None:
    rig.out(abi.PORT_IDE + 6, 0xE0)
    rig.out(STATUS, IDENTIFY)
    assert STATUS not in known(rig)
    assert known(rig)[CONTROL] == rig.inp(CONTROL)
    rig.inp(STATUS)  # acknowledges the interrupt
    assert known(rig)[STATUS] == rig.inp(CONTROL)


def test_nothing_of_a_channel_is_answered_while_its_request_is_under_way(rig: Rig) -> None:
    rig.ring.inline = False
    memoryview(rig.memory).cast("B")[PRD : PRD + 8] = struct.pack("<IHH", 0x10_0000, 512, 0x8000)
    rig.out(COMMAND + 4, PRD, 4)
    for register, value in ((2, 1), (3, 8), (4, 0), (5, 0), (6, 0xE0), (7, READ_DMA)):
        rig.out(abi.PORT_IDE + register, value)
    assert known(rig)[CONTROL] & BUSY or known(rig)[CONTROL] == rig.inp(CONTROL)
    rig.out(COMMAND, 9)
    assert len(known(rig)) == abi.ANSWERS // 2
    assert STATUS not in known(rig)
    rig.ring.complete()
    rig.work()
    assert known(rig)[BUS_MASTER_STATUS] == rig.inp(BUS_MASTER_STATUS) == 4
    assert STATUS not in known(rig)


def test_a_moved_bar_takes_its_answers_along(rig: Rig) -> None:
    set_config(rig, 0x10, 0xE000)
    assert STATUS not in known(rig)
    assert known(rig)[0xE007] == rig.inp(0xE007) == READY
    set_config(rig, 0x20, 0xE000)  # its bus master is decoded first
    assert 0xE007 not in known(rig)
    assert known(rig)[0xE000] == rig.inp(0xE000) == 0
    set_config(rig, 4, 6, 2)
    assert known(rig) == {}


def test_answers_are_withdrawn_before_a_write_leaves_the_queue(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From then on the host can't see any more that it waits."""
    page, take = queueing(rig), outside.take_write
    taken: list[dict[int, int]] = []

    def look(config: abi.Config) -> object:
        taken.append(known(rig))
        return take(config)

    monkeypatch.setattr(outside, "take_write", look)
    queue(page, BUS_MASTER_STATUS, 0x60)
    rig.inp(CONTROL)
    queue(page, BUS_MASTER_STATUS, 0)
    rig.work()
    assert taken == [{}, {}]
    assert len(known(rig)) == abi.ANSWERS


def test_a_queued_write_that_moves_nothing_changes_the_answers(rig: Rig) -> None:
    page = queueing(rig)
    queue(page, BUS_MASTER_STATUS, 0x60)
    rig.inp(CONTROL)
    assert known(rig)[BUS_MASTER_STATUS] == 0x60
    queue(page, BUS_MASTER_STATUS, 0)
    rig.out(abi.PORT_PCI_ADDRESS, CONFIG, 4)
    rig.inp(abi.PORT_PCI_DATA, 4)  # quiet, too
    assert known(rig)[BUS_MASTER_STATUS] == 0


@pytest.mark.parametrize("seed", range(3))
def test_each_answer_is_what_the_monitor_would_answer(rig: Rig, seed: int) -> None:
    chosen = random.Random(seed)
    page = queueing(rig)
    ports = [*range(abi.PORT_IDE, STATUS + 1), CONTROL, *range(COMMAND, COMMAND + 16)]
    ports += [*range(abi.PORT_IDE_SECONDARY, abi.PORT_IDE_SECONDARY + 8)]
    for _ in range(300):
        port, value = chosen.choice(ports), chosen.choice((0, 1, 9, 0xE0, 0xF0, IDENTIFY, READ_DMA))
        if chosen.random() < 0.2 and port not in (abi.PORT_IDE, abi.PORT_IDE_SECONDARY):
            queue(page, port, value)
        elif chosen.random() < 0.5:
            rig.out(port, value)
        if chosen.random() < 0.1:
            rig.work()
        for asked in chosen.sample(ports, 4):
            rig.inp(asked)  # compares
