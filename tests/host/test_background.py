"""Work in a thread while the caller goes on."""

from _thread import allocate_lock
from contextlib import closing

import pytest

from vestige.host.background import Background


def test_the_caller_goes_on_and_then_waits() -> None:
    caller_went_on, done = allocate_lock(), []
    caller_went_on.acquire()

    def work() -> None:
        with caller_went_on:
            done.append("work")

    background = Background(work)
    caller_went_on.release()
    background.wait()
    assert done == ["work"]


def test_the_waiting_caller_gets_the_error() -> None:
    def work() -> None:
        raise ZeroDivisionError

    background = Background(work)
    with pytest.raises(ZeroDivisionError):
        background.wait()


def test_closing_waits_and_raises_nothing() -> None:
    done = []

    def work() -> None:
        done.append("work")
        raise ZeroDivisionError

    with closing(Background(work)):
        pass
    assert done == ["work"]
