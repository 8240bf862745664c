"""Some hundred rounds of the fuzzer of the protocol."""

import random

import pytest

from tests.devices.fuzzing import Limit
from tests.viewer.fuzz_rfb import fuzz


@pytest.mark.parametrize("seed", range(2))
def test_any_bytes_of_those_who_look_on_leave_the_screen_to_others(seed: int) -> None:
    done, problem = fuzz(Limit(400), random.Random(seed))
    assert problem is None
    assert done == 400
