"""Signals that are noted, and waits that they and deadlines end."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from vestige.signals import SIGNALLED, TIMED_OUT, Ended, Signals, Told, Watch, pipe


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as opened:
        yield opened


def test_a_signal_is_noted_and_raises_nothing(signals: Signals) -> None:
    assert signals.take() is None
    os.kill(os.getpid(), signal.SIGTERM)
    assert select.select([signals], [], [], 10)[0]
    assert signals.take() == signal.SIGTERM
    assert signals.take() is None


def test_the_end_of_a_stop_is_noted(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGCONT)
    assert select.select([signals], [], [], 10)[0]
    assert signals.take() is None
    assert signals.continued


def test_a_signal_that_was_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.take() is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCONT)]
    Signals().close()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCONT)] == before


def test_who_is_told_of_a_signal_by_a_pipe_notes_it_and_a_kill_stays() -> None:
    read, write = pipe()
    with Told(read, write) as told:
        assert told.take() is None
        told.end()
        with pytest.raises(Ended) as ended:
            Watch(told).wait({})
        assert ended.value.status == SIGNALLED + signal.SIGTERM
        assert not told.is_killed
        os.write(write, bytes((signal.SIGTERM, signal.SIGKILL)))
        for _ in range(2):
            with pytest.raises(Ended) as ended:
                Watch(told).check()
            assert ended.value.status == SIGNALLED + signal.SIGKILL


def test_a_wait_ends_by_what_it_waits_for(signals: Signals) -> None:
    event = os.eventfd(1)
    assert Watch(signals).wait({event: select.POLLIN}) == {event: select.POLLIN}
    os.close(event)
    assert Watch(signals).wait({}, 0.01) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait(signals: Signals, number: signal.Signals) -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    with pytest.raises(Ended) as ended:
        Watch(signals).wait({}, 10)
    assert ended.value.status == 128 + number


def test_the_deadline_ends_a_wait_and_counts_anew_from_its_beginning(signals: Signals) -> None:
    watch = Watch(signals, 0.05)
    with pytest.raises(Ended) as ended:
        watch.wait({}, 10)
    assert ended.value.status == 124
    assert watch.left() == 0
    watch.begin()
    assert watch.left()
    assert Watch(signals).left() is None


def test_a_call_answers_or_raises_as_its_function_does(signals: Signals) -> None:
    watch = Watch(signals)
    assert watch.call(lambda: 7) == 7
    with pytest.raises(FileNotFoundError):
        watch.call(lambda: os.open("/no/such/file", os.O_RDONLY))


def test_a_call_that_blocks_is_left_to_itself(signals: Signals) -> None:
    reader, writer = os.pipe()
    with pytest.raises(Ended):
        Watch(signals, 0.05).call(lambda: os.read(reader, 1))
    os.write(writer, b"x")


def test_what_is_done_whole_is_waited_for_and_others_are_served(signals: Signals) -> None:
    """Though a signal came and the deadline is over: the first of them is told afterwards."""

    class Writes:
        def waits_for(self) -> dict[int, int]:
            return {writer: select.POLLOUT}

        def serve(self, ready: dict[int, int]) -> None:
            if not watch.left() and signals.take() is None:
                os.write(writer, b"x")

    reader, writer = os.pipe()
    watch = Watch(signals, 0.05)
    watch.beside.append(Writes())
    done: list[bytes] = []
    with pytest.raises(Ended) as ended:
        watch.call(lambda: done.append(os.read(reader, 1)), whole=True)
    assert done == [b"x"]
    assert ended.value.status == TIMED_OUT
    os.close(reader)
    os.close(writer)


def test_a_blocked_call_holds_up_no_end() -> None:
    script = (
        "import os; from vestige.signals import *\n"
        "reader, writer = os.pipe()\n"
        "with Signals() as signals:\n"
        "    try: Watch(signals, 0.05).call(lambda: os.read(reader, 1))\n"
        "    except Ended as ended: raise SystemExit(ended.status)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 124


@pytest.mark.parametrize("number", [signal.SIGWINCH, signal.SIGCONT, signal.SIGUSR1])
def test_a_signal_that_ends_nothing_ends_no_wait_but_of_who_asks(
    signals: Signals, number: signal.Signals
) -> None:
    event = os.eventfd(0)
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    threading.Timer(0.1, os.eventfd_write, (event, 1)).start()
    assert Watch(signals).wait({event: select.POLLIN}, 10) == {event: select.POLLIN}
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    assert Watch(signals).wait({}, 10, noted=True) == {}
    os.close(event)


def test_a_deadline_in_many_years_is_one(signals: Signals) -> None:
    event = os.eventfd(1)
    assert Watch(signals, 9e8).wait({event: select.POLLIN}, 9e8) == {event: select.POLLIN}
    os.close(event)


def test_a_look_finds_a_signal_that_came_before(signals: Signals) -> None:
    watch = Watch(signals)
    watch.check()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Ended):
        watch.check()


def test_a_deadline_that_is_held_counts_from_the_beginning(signals: Signals) -> None:
    watch = Watch(signals, 0.05)
    watch.hold()
    assert watch.left() is None
    assert watch.wait({}, 0.1) == {}
    assert not watch.has_begun
    watch.begin()
    assert watch.has_begun
    with pytest.raises(Ended) as ended:
        watch.wait({}, 10)
    assert ended.value.status == TIMED_OUT
