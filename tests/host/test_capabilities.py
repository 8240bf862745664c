"""What a privileged user's threads may not do for the monitor."""

import threading
from pathlib import Path

import pytest

from vestige.host import capabilities
from vestige.host.capabilities import CAP_IPC_LOCK, REAL_TIME_IO, drop_real_time_io, unprivileged


def held() -> dict[str, int]:
    """The calling thread's sets, by name."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return {line[:6]: int(line[7:], 16) for line in lines if line.startswith("Cap")}


def test_a_thread_that_drops_it_has_lost_it_for_good_and_no_other() -> None:
    before = held()
    found = []

    def drop() -> None:
        drop_real_time_io()
        found.append(held())

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    for name in ("CapEff", "CapPrm"):
        assert found[0][name] == before[name] & ~REAL_TIME_IO
    assert held() == before


def test_it_is_kept_back_meanwhile_alone() -> None:
    before = held()
    meanwhile = unprivileged(held)
    assert meanwhile["CapEff"] == before["CapEff"] & 1 << CAP_IPC_LOCK
    with pytest.raises(ZeroDivisionError):
        unprivileged(lambda: 1 // 0)
    assert held() == before


def test_a_kernel_that_refuses_is_no_reason_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "syscall", lambda *_: -1)
    with pytest.raises(PermissionError):
        drop_real_time_io()
