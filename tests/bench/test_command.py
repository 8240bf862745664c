"""Rounds of a benchmark."""

import pytest

from bench.common import command


def test_every_configuration_is_measured_once_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[int] = []

    def one(configuration: int) -> dict[str, float]:
        order.append(configuration)
        return {"rate": len(order)}

    measured = command.by_turns({"a": 1, "b": 2}, 2, one, command.Progress("x"))
    assert order == [1, 2, 1, 2]
    assert measured == {"a": [{"rate": 1}, {"rate": 3}], "b": [{"rate": 2}, {"rate": 4}]}
    assert "round 2 of 2: b" in capsys.readouterr().err
