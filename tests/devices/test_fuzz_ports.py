"""A short run of the fuzzer of the virtio console and the entropy device."""

import pytest

from tests.devices.fuzz_ports import ConsoleRun, EntropyRun, fuzz


@pytest.mark.parametrize("kind", [ConsoleRun, EntropyRun])
def test_drivers_that_do_anything(kind: type[ConsoleRun | EntropyRun]) -> None:
    assert fuzz(kind, 800, None, 3) == 800
