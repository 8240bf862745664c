"""The same tablet by our model and by QEMU's virtio-tablet-pci."""

import random
import shutil
from collections.abc import Iterator

import pytest

from tests.devices.virtio.reference import Driver, PackedDriver, SplitDriver
from tests.qtest.virtio_pair import EVENT_IDX, INDIRECT, VERSION_1
from tests.qtest.virtio_registers import Sequence, difference
from tests.qtest.virtio_tablet import QUEUES, Side, ask, give, got, ours, qemus
from vestige.abi import TABLET_END

pytestmark = [
    pytest.mark.qtest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]

NAME, IDS, CODES, RANGE = 1, 3, 0x11, 0x12
KEY, REL = 1, 2
GEARS = 0b11 << 0x150  # BTN_GEAR_DOWN and _UP, which QEMU has for a wheel that is no axis
SEQUENCES = 6
REPORTS = 40


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with qemus(tmp_path_factory.mktemp("qemu")) as side:
        yield side


def test_both_are_the_same_function(theirs: Side) -> None:
    assert ours().guest.identity() == theirs.guest.identity()


def test_both_say_the_same_of_themselves(theirs: Side) -> None:
    mine = ours().guest
    for select in range(0x20):
        for subselect in range(6):
            one, other = ask(mine, select, subselect), ask(theirs.guest, select, subselect)
            if select in (NAME, IDS):  # names and numbers are each one's own
                assert bool(one) == bool(other)
            else:
                codes = int.from_bytes(other, "little")
                if (select, subselect) == (CODES, KEY):
                    codes &= ~GEARS
                assert int.from_bytes(one, "little") == codes, (select, subselect)
                assert len(one) == len(other) or select == CODES


@pytest.mark.parametrize("seed", range(2))
def test_random_accesses_are_answered_alike(theirs: Side, seed: int) -> None:
    chance = random.Random(seed)
    mine = ours().guest
    for _ in range(SEQUENCES):
        accesses = Sequence(chance, QUEUES, 0).accesses
        assert (found := difference(mine, theirs.guest, accesses)) is None, found


@pytest.mark.parametrize("kind", [SplitDriver, PackedDriver])
@pytest.mark.parametrize("features", [0, INDIRECT | EVENT_IDX])
def test_the_same_events_come(theirs: Side, kind: type[Driver], features: int) -> None:
    mine = ours()
    chance = random.Random(features)
    drivers = [side.guest.start(kind, features, 0, 1)[0] for side in (mine, theirs)]
    buttons = 0
    for _ in range(REPORTS):
        x, y = (chance.randrange(TABLET_END + 1) for _ in "xy")
        change = chance.choice((0, 0, 1, 2, 4, 8, 16))
        buttons ^= change
        wheel = chance.choice((0, 0, 1, -1))
        count = 3 + (change != 0) + (wheel != 0)
        seen = []
        for side, driver in zip((mine, theirs), drivers, strict=True):
            give(side.guest, driver, count)
            side.hand.put(x, y, buttons, wheel)
            seen.append(got(side.guest, driver, count))
        assert seen[0] == seen[1]
        assert len(seen[0]) == count
    for number in range(5):  # none stays down
        if buttons >> number & 1:
            buttons &= ~(1 << number)
            for side, driver in zip((mine, theirs), drivers, strict=True):
                give(side.guest, driver, 4)
                side.hand.put(0, 0, buttons, 0)
                assert got(side.guest, driver, 4)[2] == (KEY, 0x110 + number, 0)


def test_a_negotiation_has_the_same_steps(theirs: Side) -> None:
    for side in (ours(), theirs):
        assert side.guest.negotiate(VERSION_1) == [0, 1, 3, 11]
