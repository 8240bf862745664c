"""The fuzzer of kernels: it finds nothing, and finds what is there to be found."""

import random

import pytest

from tests.devices.fuzzing import Limit
from tests.machine import fuzz_kernels
from vestige.machine import bzimage


def test_no_damage_makes_a_loader_fail_but_by_one_line() -> None:
    assert fuzz_kernels.fuzz(Limit(2_000), random.Random(12)) == (2_000, None)


def test_a_check_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bzimage, "FIELDS_END", 0x204)
    done, problem = fuzz_kernels.fuzz(Limit(20_000), random.Random(12))
    assert done < 20_000
    assert problem is not None
