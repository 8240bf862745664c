"""A short run of the fuzzer of agents that say anything; it finds what is there to be found."""

import random

import pytest

from tests.agent import fuzz_talk
from tests.devices.fuzzing import Limit
from vestige.agent import protocol


def test_no_agent_makes_a_conversation_fail_but_by_one_line() -> None:
    assert fuzz_talk.fuzz(Limit(1_500), random.Random(5)) == (1_500, None)


def test_a_check_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "number", lambda told, name, most=0: told[name])
    done, problem = fuzz_talk.fuzz(Limit(20_000), random.Random(5))
    assert done < 20_000
    assert problem is not None
