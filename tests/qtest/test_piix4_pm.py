"""The same 500 random sequences of accesses to our PIIX4's ports and to QEMU's."""

import random
from collections.abc import Iterator

import pytest

from tests.qtest.client import qemu
from tests.qtest.piix4_pm_pair import FUNCTION, WITHOUT_SMM, Pair
from tests.qtest.virtual_clock import with_clock
from vestige.monitor.devices.piix4_pm.model import PowerManagement
from vestige.monitor.devices.piix4_pm.spec import PORT_PM, Control, Event, Register

pytestmark = pytest.mark.qtest

SEQUENCES = 50
GLOBAL_RELEASE = 1 << 2  # of PM1 control


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with with_clock(tmp_path_factory.mktemp("qemu"), WITHOUT_SMM) as clock:
        yield Pair(clock)


def test_at_power_on_qemu_s_timer_has_overflowed(pair: Pair) -> None:
    assert pair.read(Register.STATUS, 2) == ({0}, Event.TIMER_OVERFLOW)


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SEQUENCES):
        difference = pair.sequence(chance)
        assert difference is None, difference


@pytest.mark.parametrize("value", [0, GLOBAL_RELEASE, GLOBAL_RELEASE | Control.SCI])
def test_qemu_keeps_the_global_release_and_sci_en(pair: Pair, value: int) -> None:
    pair.begin()
    pair.write(Register.CONTROL, value)
    assert pair.read(Register.CONTROL, 2) == ({Control.SCI}, value)


@pytest.mark.parametrize("register", [6, 0xC, 0xE, 0x10, 0x34, 0x3C])
def test_qemu_has_nothing_at_the_other_ports(pair: Pair, register: int) -> None:
    assert pair.read(register, 2) == ({0}, 0xFFFF)


@pytest.mark.parametrize(
    ("register", "mine", "theirs"),
    [(0x40, 0x601, 1), (0x80, 1, 0), (0x90, 1, 0xB101), (0xD0, 0, 9 << 16)],
)
def test_base_addresses_at_reset(
    tmp_path_factory: pytest.TempPathFactory, register: int, mine: int, theirs: int
) -> None:
    ours = PowerManagement()
    ours.reset()
    with qemu(tmp_path_factory.mktemp("qemu"), WITHOUT_SMM) as fresh:
        fresh.write(0xCF8, FUNCTION | register, 4)
        index = fresh.read(0xCFC, 4)
        answer = fresh.flush()[index]
    assert (ours.read_config(0, register, 4), answer) == (mine, theirs)
    assert PORT_PM == 0x600
