"""A short run of the fuzzer of the virtio console, entropy device and tablet."""

import random

import pytest

from tests.devices.fuzz_ports import ConsoleRun, EntropyRun, Run, TabletRun, fuzz
from tests.devices.fuzzing import Limit


@pytest.mark.parametrize("kind", [ConsoleRun, EntropyRun, TabletRun])
def test_drivers_that_do_anything(kind: type[Run]) -> None:
    assert fuzz(kind, Limit(800), random.Random(3)) == 800
