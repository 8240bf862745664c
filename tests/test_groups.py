"""Tests of one group run on one worker: what they share is made once, and used by one at a time.

pytest-xdist 3.8 marks a group in the names of its tests, which pytest 9.2 does not let it do.
"""

import os

import pytest


@pytest.mark.xdist_group("groups")
def test_a_worker_knows_of_groups(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("needs workers (pytest -n 2)")
    assert request.node.nodeid.endswith("@groups")
