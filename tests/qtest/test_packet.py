"""Packets to a drive for discs, against QEMU's `ide-cd`: random sequences, and every difference."""

import random
from pathlib import Path

import pytest

from tests.devices.piix3_ide.compiled import compiled
from tests.qtest.packet_pair import Asked, pair
from tests.qtest.packet_rows import ROWS, Row
from tests.qtest.packet_sequences import random_step

pytestmark = pytest.mark.qtest

SEQUENCES, LENGTH = 500, 8
PAGE = Path(__file__).parents[2] / "docs/devices/piix3-ide.md"


def test_random_sequences_of_packets_are_answered_as_qemu_answers_them(tmp_path: Path) -> None:
    compared = pieces = by_dma = 0
    with pair(tmp_path, compiled()) as both:
        for seed in range(SEQUENCES):
            chance = random.Random(seed)
            history = []
            for _ in range(LENGTH):
                asked = random_step(chance)
                if any(row.matches(asked) for row in ROWS):
                    continue
                history.append(asked)
                ours, theirs = both.both(asked)
                assert ours == theirs, f"sequence {seed}, after {history}"
                compared += 1
                pieces += len(ours.pieces)
                by_dma += isinstance(asked, Asked) and asked.dma is not None
    assert compared > SEQUENCES * LENGTH / 2
    assert pieces > compared / 2
    assert by_dma > compared / 4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_a_difference_and_its_page_says_why(row: Row, tmp_path: Path) -> None:
    assert f"| {row.name} |" in PAGE.read_text()
    assert row.matches(row.example)
    with pair(tmp_path, compiled()) as both:
        ours, theirs = both.both(row.example)
        assert ours != theirs
