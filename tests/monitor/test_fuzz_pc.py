"""Some runs of the fuzzer of a PC in a VM."""

import pytest

from tests.host.harness import why_not
from tests.monitor.fuzz_pc import run

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

ACCESSES = 3000


@pytest.mark.parametrize("seed", range(1, 4))
def test_any_access_to_a_pc_s_devices_leaves_the_monitor_in_order(seed: int) -> None:
    assert run(ACCESSES, seed << 40 | 0x9E37_79B9, spares=True) == (ACCESSES, None)


def test_accesses_that_may_end_the_machine_end_it_and_no_more() -> None:
    made, problem = run(ACCESSES, 0x9E37_79B9, spares=False)
    assert problem is None
    assert 0 < made < ACCESSES, "some access has ended it"
