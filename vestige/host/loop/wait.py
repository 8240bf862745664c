"""Waiting for what ends a run: the guest itself, a signal, the deadline, nobody who reads."""

import select

from vestige.errors import GuestError
from vestige.host.backends.console import DESERTED, Console
from vestige.host.loop.session import Session
from vestige.host.messages import tell
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import SIGNALLED, Ended, Watch

if TYPE_CHECKING:
    from vestige.host.backends.network import Network

POWERED_OFF = 0
RESET = 3  # the guest asked for it; the caller begins anew, or ends the run with this status
SIGPIPE = 13


def wait(session: Session, watch: Watch, console: Console, network: "Network | None" = None) -> int:
    """Serve `console` and `network` until the end; the exit status, see run.py.

    Raises GuestError where the guest or its monitor failed, Ended where `watch` ends it.
    """
    while True:
        wanted = {session.ended: select.POLLIN} | console.waits_for()
        if network is not None:
            wanted |= network.waits_for()
        patience = [each for each in (console.look, session.look()) if each is not None]
        ready, ended = _wait(watch, wanted, min(patience, default=None))
        outcome = session.outcome
        if outcome is not None and not outcome.reset:
            if outcome.error is not None:
                raise GuestError(outcome.error)
            return POWERED_OFF
        if ended is not None:
            raise ended
        if outcome is not None:  # last: a guest that resets for ever can be stopped
            return RESET
        if watch.signals.continued:
            watch.signals.continued = False
            console.go_on()
        console.serve(ready)
        if console.deserted:
            tell(DESERTED)
            return SIGNALLED + SIGPIPE
        if network is not None:
            network.serve(ready)


def _wait(
    watch: Watch, wanted: dict[int, int], seconds: float | None
) -> tuple[dict[int, int], Ended | None]:
    """What came, and what ended the wait: the guest's own end counts before that."""
    try:
        return watch.wait(wanted, seconds, noted=True), None
    except Ended as ended:
        return {}, ended
