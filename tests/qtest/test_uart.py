"""The same 500 random sequences of accesses to our UART and to QEMU's ISA serial port."""

import random
from collections.abc import Iterator

import pytest

from tests.qtest.client import Qtest, qemu
from tests.qtest.uart_pair import compare, interrupts, sequence

pytestmark = pytest.mark.qtest

SEQUENCES = 50


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qtest]:
    """QEMU with one serial port, whose interrupts are told."""
    with qemu(tmp_path_factory.mktemp("qemu"), ["-serial", "null"]) as machine:
        machine.send("irq_intercept_in ioapic")
        machine.flush()
        yield machine


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_and_interrupt_alike(serial: Qtest, seed: int) -> None:
    chance = random.Random(seed)
    before = interrupts(serial)
    for _ in range(SEQUENCES):
        difference = compare(serial, sequence(chance))
        assert difference is None, str(difference)
    assert interrupts(serial) - before > SEQUENCES // 10  # it is not silence that agrees
