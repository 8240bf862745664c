"""Waiting for what ends a run: the guest itself, a signal, the deadline."""

import select
import time

from vestige.errors import GuestError
from vestige.host.console import Console
from vestige.host.messages import tell
from vestige.host.session import Session
from vestige.host.signals import Signals
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from vestige.host.network import Network

POWERED_OFF = 0
RESET = 3  # the guest asked for it; the caller begins anew, or ends the run with this status
TIMED_OUT = 124
SIGNALLED = 128  # and the signal's number


def wait(
    session: Session,
    signals: Signals,
    console: Console,
    deadline: float | None,
    network: "Network | None" = None,
) -> int:
    """Serve `console` and `network` until the end; the exit status, see run.py.

    `deadline` is of time.monotonic. Raises GuestError where the guest or its monitor failed.
    """
    while True:
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        poll.register(session.ended, select.POLLIN)
        for descriptor, events in console.waits_for().items():
            poll.register(descriptor, events)
        if network is not None:
            for descriptor, events in network.waits_for().items():
                poll.register(descriptor, events)
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        ready = dict(poll.poll(left))
        outcome = session.outcome
        if outcome is not None and not outcome.reset:
            if outcome.error is not None:
                raise GuestError(outcome.error)
            return POWERED_OFF
        if (number := signals.take()) is not None:
            return SIGNALLED + number
        if deadline is not None and time.monotonic() >= deadline:
            tell("the timeout is over")
            return TIMED_OUT
        if outcome is not None:  # last: a guest that resets for ever can be stopped
            return RESET
        console.serve(ready)
        if network is not None:
            network.serve(ready)
