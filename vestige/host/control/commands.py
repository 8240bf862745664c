"""What a run does when it is asked to: a row for each command.

To add one, write its function here and its row below. A command of the run is answered by the run's
own process, whatever has become of the guest's. A command of the machine is answered by the
machine's process, in its jail: what it needs of the host is imported before, and nothing can be
opened. Either function raises UsageError for a request that is wrong.
"""

import time
from _collections_abc import Callable, Mapping

from vestige.host.screen import told
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from vestige.host.control.server import Control
    from vestige.host.process.inner import Machine

    Request = Mapping[str, Any]  # a JSON object, as it came
    Answer = Mapping[str, Any]  # what JSON can say, and bytes: these are told in base64


def status(control: "Control", _request: "Request") -> "Answer":
    """What runs here, and for how long."""
    running = control.running_since is not None
    since = control.running_since if control.running_since is not None else control.since
    state = "running" if running else "starting"
    return {**control.about, "state": state, "seconds": round(time.monotonic() - since, 1)}


def stop(control: "Control", _request: "Request") -> "Answer":
    """End the run, in order, as SIGTERM does."""
    control.end()
    return {}


def exits(machine: "Machine", _request: "Request") -> "Answer":
    """How often each of the guest's CPUs has left it: of a guest that does something, ever more."""
    threads = [each for each in machine.session.threads if not each.is_worker]
    return {"cpus": [sum(each.loop.exits) for each in threads]}


def screen(machine: "Machine", _request: "Request") -> "Answer":
    """What a viewer needs to draw the guest's screen."""
    return told(machine.session.untrusted.screen(), machine.memory.region.view)


OF_RUN: "Mapping[str, Callable[[Control, Request], Answer]]" = {
    "status": status,
    "stop": stop,
}
OF_MACHINE: "Mapping[str, Callable[[Machine, Request], Answer]]" = {
    "exits": exits,
    "screen": screen,
}
