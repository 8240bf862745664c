"""The same random accesses to virtio devices of ours and of QEMU's."""

import random
import shutil
from collections.abc import Iterator

import pytest

from tests.qtest.virtio_others import CONSOLE, ENTROPY, NETWORK, QUEUES, Pair, ours, qemus
from tests.qtest.virtio_registers import Sequence, difference

pytestmark = [
    pytest.mark.qtest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]

SEQUENCES = 6
CONFIG_SIZES = {ENTROPY: 0, CONSOLE: 8, NETWORK: 12}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Pair]]:
    """QEMU's, by number."""
    with qemus(tmp_path_factory.mktemp("qemu")) as pairs:
        yield pairs


@pytest.mark.parametrize("number", [ENTROPY, CONSOLE, NETWORK])
@pytest.mark.parametrize("seed", range(3))
def test_both_answer_alike(theirs: list[Pair], number: int, seed: int) -> None:
    chance = random.Random(seed)
    mine = ours(number).guest
    for _ in range(SEQUENCES):
        accesses = Sequence(chance, QUEUES[number], CONFIG_SIZES[number]).accesses
        assert (found := difference(mine, theirs[number].guest, accesses)) is None, found
