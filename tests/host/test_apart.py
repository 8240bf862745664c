"""A thread with descriptors and a place of its own."""

import os
import signal
import threading
from pathlib import Path

from vestige.host.apart import Apart, close_all_but

PATIENCE = 30
SEEN = 3  # bytes


def test_it_has_copies_of_descriptors_and_closes_none_of_others(tmp_path: Path) -> None:
    read, write = os.pipe()
    other = os.open(os.devnull, os.O_RDONLY)
    before, here = os.fstat(0), Path.cwd()
    found: list[object] = []

    def body() -> None:
        os.chdir(tmp_path)
        found.append(Path.cwd())
        os.dup2(write, 0)
        close_all_but([write])
        found.append(len(os.listdir("/proc/thread-self/fd")))  # noqa: PTH208 - that has one, too
        os.write(write, b"end")

    thread = Apart(body)
    os.close(write)  # the other side's end is told by the thread's alone from now on
    thread.go()
    assert os.read(read, 2 * SEEN) == b"end"
    assert os.read(read, 1) == b""
    assert found == [tmp_path, 5]
    assert os.fstat(0) == before
    assert Path.cwd() == here
    os.fstat(other)
    for each in (read, other):
        os.close(each)


def test_no_signal_comes_to_it() -> None:
    blocked: list[set[int]] = []
    done = threading.Event()

    def body() -> None:
        blocked.append({int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())})
        done.set()

    mine = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    Apart(body).go()
    assert done.wait(PATIENCE)
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGWINCH} <= blocked[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mine


def test_it_does_nothing_until_it_may() -> None:
    done = threading.Event()
    thread = Apart(done.set)
    assert not done.is_set()
    thread.go()
    assert done.wait(PATIENCE)
