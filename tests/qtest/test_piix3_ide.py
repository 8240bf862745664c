"""Our PIIX3 IDE against QEMU's: random sequences of accesses, and every known difference."""

import collections
from pathlib import Path

import pytest

from tests.devices.piix3_ide.compiled import compiled
from tests.qtest.ide_pair import Difference, Pair, pair
from tests.qtest.ide_rows import ROWS, Row
from tests.qtest.ide_sequences import Sequence

pytestmark = pytest.mark.qtest

SEQUENCES = 500
CHUNKS = 2
PAGE = Path(__file__).parents[2] / "docs/devices/piix3-ide.md"


def run(both: Pair, seed: int) -> "collections.Counter[str]":
    """One sequence; which rows it left accesses out for, how often."""
    left_out: collections.Counter[str] = collections.Counter()
    sequence = Sequence(both, seed)
    both.begin()
    for access in sequence.prologue():
        both.perform(access)
    both.finish()
    both.begin()
    for access in sequence.body():
        rows = [row.name for row in ROWS if row.matches(both, access)]
        if rows:
            left_out.update(rows)
            both.history.append(f"(left out: {access}: {', '.join(rows)})")
        else:
            both.perform(access)
    both.finish()
    return left_out


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_sequences_read_and_write_what_qemu_reads_and_writes(
    chunk: int, tmp_path: Path
) -> None:
    count = SEQUENCES // CHUNKS
    with pair(tmp_path, compiled()) as both:
        for seed in range(chunk * count, (chunk + 1) * count):
            try:
                run(both, seed)
            except Difference as difference:
                raise AssertionError(f"sequence {seed}: {difference}") from None
        assert both.values_compared > 50 * count
        assert both.sectors_written() > count


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_a_difference_and_its_page_says_why(row: Row, tmp_path: Path) -> None:
    assert f"| {row.name} |" in PAGE.read_text()
    matched = False
    with pair(tmp_path, compiled()) as both:
        for access in Sequence(both, 0).prologue():
            both.perform(access)
        both.finish()
        with pytest.raises(Difference):  # noqa: PT012 - the example differs somewhere
            for access in row.example:
                matched = matched or row.matches(both, access)
                both.perform(access)
            both.finish()
    assert matched
