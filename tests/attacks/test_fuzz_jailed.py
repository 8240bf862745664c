"""Some hundred rounds of the fuzzer of whole runs."""

import random

import pytest

from tests.attacks.fuzz_jailed import fuzz
from tests.devices.fuzzing import Limit
from tests.host.harness import why_not

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.mark.parametrize("seed", range(2))
def test_anything_in_a_jailed_run_ends_as_runs_may(seed: int) -> None:
    done, problem = fuzz(Limit(1500), random.Random(seed))
    assert problem is None
    assert done == 1500
