"""A short run of the fuzzer of the virtio console and the entropy device."""

import random

import pytest

from tests.devices.fuzz_ports import ConsoleRun, EntropyRun, fuzz
from tests.devices.fuzzing import Limit


@pytest.mark.parametrize("kind", [ConsoleRun, EntropyRun])
def test_drivers_that_do_anything(kind: type[ConsoleRun | EntropyRun]) -> None:
    assert fuzz(kind, Limit(800), random.Random(3)) == 800
