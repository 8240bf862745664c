"""Waiting for what ends a run: the guest itself, a signal, the deadline, nobody who reads."""

from vestige.errors import GuestError
from vestige.host.backends.console import DESERTED
from vestige.host.backends.consoles import Consoles
from vestige.host.messages import tell
from vestige.host.process.outer import MachineProcess
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import SIGNALLED, Ended, Watch

if TYPE_CHECKING:
    from vestige.host.backends.network import Network

POWERED_OFF = 0
RESET = 3  # the guest asked for it; the caller begins anew, or ends the run with this status
SIGPIPE = 13


def wait(
    machine: MachineProcess, watch: Watch, console: Consoles, network: "Network | None" = None
) -> int:
    """Serve `console` and `network` until the end; the exit status, see run.py.

    Raises GuestError where the guest or its monitor failed, Ended where `watch` ends it.
    """
    while True:
        wanted = machine.waits_for() | console.waits_for()
        if network is not None:
            wanted |= network.waits_for()
        ready, ended = _wait(watch, wanted, console.look)
        if ended is None:
            machine.serve(ready)
        else:
            machine.take()  # what it said before counts
        outcome = machine.outcome
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
        if (size := console.new_size()) is not None:
            machine.tell_size(*size)
        if console.deserted:
            tell(DESERTED.format(console.what))
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
