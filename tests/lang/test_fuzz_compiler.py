"""The compiler against CPython on 500 random functions; `make fuzz` goes on from there."""

import pytest

from tests.lang.fuzz_compiler import fuzz

FUNCTIONS, PARTS, SEED = 500, 5, 20261


@pytest.mark.parametrize("part", range(PARTS))
def test_compiled_functions_agree_with_cpython(part: int) -> None:
    report = fuzz(SEED + part, FUNCTIONS // PARTS)
    print(report)
    assert report.disagreements == []
    assert report.compared >= FUNCTIONS // PARTS
    assert report.panics > 0
    assert report.refused < report.compared
