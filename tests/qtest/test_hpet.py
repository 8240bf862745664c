"""The same 500 random sequences of accesses to our HPET and to QEMU's."""

import random
from collections.abc import Iterator

import pytest

from tests.qtest.client import Qtest, qemu
from tests.qtest.hpet_pair import Access, compare, ours, sequence, theirs
from vestige.monitor.devices.hpet.spec import Register

pytestmark = pytest.mark.qtest

SEQUENCES = 50
CAPABILITIES = Access(Register.CAPABILITIES, None)
ROUTES = Access(Register.TIMER_CONFIGURATION + 4, None)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qtest]:
    """QEMU's pc has one at the same address."""
    with qemu(tmp_path_factory.mktemp("qemu"), []) as started:
        yield started


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(machine: Qtest, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SEQUENCES):
        difference = compare(machine, sequence(chance))
        assert difference is None, difference


def test_the_rows_of_the_page_are_real_differences(machine: Qtest) -> None:
    legacy = 1 << 15
    assert theirs(machine, [CAPABILITIES]) == [ours([CAPABILITIES])[0] | legacy]
    assert theirs(machine, [ROUTES]) != ours([ROUTES])
    invalid = [
        Access(Register.TIMER_CONFIGURATION, 5 << 9),
        Access(Register.TIMER_CONFIGURATION, None),
    ]
    assert theirs(machine, invalid)[1] >> 9 & 31 == 5
    assert ours(invalid)[1] >> 9 & 31 != 5
    message = [Access(Register.TIMER_MESSAGE, 5), Access(Register.TIMER_MESSAGE, None)]
    assert theirs(machine, message)[1] == 5
    assert ours(message)[1] == 0
