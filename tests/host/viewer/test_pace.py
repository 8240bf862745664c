"""When a viewer's process looks at the screen, by what looks have taken."""

import time

import pytest

from vestige.host.viewer.inner import LIVELY, QUIET, SHARE, Pace

HALF = 0.5


@pytest.mark.parametrize(
    ("took", "around", "counted"),
    [(0.001, 0.0, 0.001), (0.01, 0.005, 0.015), (0.01, 0.3, 0.02)],
)
@pytest.mark.parametrize("lively", [False, True])
def test_looks_and_what_is_around_them_take_their_share(
    took: float, around: float, counted: float, lively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(HALF)
    monkeypatch.setattr(time, "process_time", lambda: 5.0)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    pace.looked(100.0)
    if lively:
        pace.enliven(200.0)
    monkeypatch.setattr(time, "process_time", lambda: 5.0 + took + around)
    monkeypatch.setattr(time, "monotonic", lambda: 200.0 + took)
    pace.looked(200.0)
    least, share = (LIVELY, HALF) if lively else (QUIET, SHARE)
    assert pace.due == pytest.approx(200.0 + max(least, counted / share))
