"""fw_cfg behind the whole core: how wide each access is, and on which machine it is there."""

import pytest

from tests.devices.fw_cfg.driver import FILES, ITEMS, LONG, SHORT
from tests.monitor.rig import Rig
from vestige.abi import PORT_FW_CFG, PORT_FW_CFG_DMA, Board, FirmwareKey

DATA = PORT_FW_CFG + 1


def started(board: Board) -> Rig:
    rig = Rig()
    rig.shared.config.board = board
    rig.shared.config.firmware_items = ITEMS
    return rig.start()


@pytest.fixture
def rig() -> Rig:
    return started(Board.PC)


def test_firmware_selects_with_a_word_and_reads_by_a_string_of_bytes(rig: Rig) -> None:
    assert rig.port(DATA, 1, bytes(4), write=False) == b"QEMU"
    rig.out(PORT_FW_CFG, FirmwareKey.ID, size=2)
    assert rig.port(DATA, 1, bytes(4), write=False) == bytes((3, 0, 0, 0))


def test_firmware_reads_by_dma_into_ram(rig: Rig) -> None:
    at, target = 0x1000, 0x2000
    structure = bytes((0, FirmwareKey.ID, 0, 0x0A, 0, 0, 0, 4)) + target.to_bytes(8, "big")
    rig.memory[at : at + 16] = list(structure)
    halves = bytes(4) + at.to_bytes(4, "big")
    for n in (0, 4):
        rig.port(PORT_FW_CFG_DMA + n, 4, halves[n : n + 4], write=True)
    assert bytes(rig.memory[at : at + 4]) == bytes(4)
    assert bytes(rig.memory[target : target + 4]) == bytes((3, 0, 0, 0))


def test_other_accesses_are_one_byte_after_the_other(rig: Rig) -> None:
    assert rig.inp(DATA, size=2) == 0xFF00 | ord("Q")
    rig.out(PORT_FW_CFG, FirmwareKey.ID, size=4)
    assert rig.inp(DATA) == ord("E")
    assert rig.port(PORT_FW_CFG_DMA + 2, 4, bytes(4), write=False) == b"MU C"
    assert rig.port(PORT_FW_CFG_DMA, 4, bytes(8), write=False) == b"QEMU" * 2
    assert rig.port(PORT_FW_CFG_DMA + 4, 4, bytes(8), write=False) == b" CFG" * 2


def test_a_string_of_words_to_the_selector_leaves_the_last(rig: Rig) -> None:
    rig.port(PORT_FW_CFG, 2, bytes((SHORT, 0, LONG, 0)), write=True)
    assert rig.port(DATA, 1, bytes(4), write=False) == FILES["etc/long"][:4]


def test_a_modern_machine_has_none() -> None:
    modern = started(Board.MODERN)
    assert modern.inp(DATA) == 0xFF
    assert modern.inp(PORT_FW_CFG_DMA, size=4) == 0xFFFF_FFFF


def test_a_pc_without_items_has_an_empty_one() -> None:
    rig = Rig()
    rig.shared.config.board = Board.PC
    rig.start()
    assert rig.inp(DATA) == 0
