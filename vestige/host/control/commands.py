"""What a run does when it is asked to: a row for each command.

To add one, write its function here and its row below. A command of the run is answered by the run's
own process, whatever has become of the guest's. A command of the machine is answered by the
machine's process, in its jail: `prepare` imports before what it needs of the host, and nothing can
be opened. Either function raises UsageError for a request that is wrong; where it may be right at
another time, one of the run's raises GuestError, and one of the machine's NotNowError.
"""

import time
from _collections_abc import Callable, Mapping

from vestige.errors import GuestError, UsageError
from vestige.host.backends.drive import EJECT, INSERT
from vestige.host.options import PC
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from vestige.host.backends.events import Dropped, Events
    from vestige.host.control.server import Control
    from vestige.host.process.inner import Machine

    Request = Mapping[str, Any]  # a JSON object, as it came
    Answer = Mapping[str, Any]  # what JSON can say, and bytes: these are told in base64


STARTING = "the guest does not run now: it starts; try again once `vestige ps` shows it as running"
HELD = "the guest is held; who thawed it lets it go on, by machine.go() or out of a pool"
BETWEEN = "the guest does not run now: it restarts, or has ended; try again"
PAUSE, RESUME, FREEZE = "pause", "resume", "freeze"
STATISTICS, AWAIT = "statistics", "await"


class NotNowError(UsageError):
    """Of the machine's process, which a GuestError ends."""


class Later:
    """The answer that something is done; it comes when that is so.

    `give_up` is called when whoever asked has gone before, or gives up what has this `id`.
    """

    def __init__(self, id_: object = None) -> None:
        self.id = id_
        self.give_up: Callable[[], Dropped | None] = lambda: None
        self._is_done = False
        self._tell: Callable[[], object] = lambda: None

    def done(self) -> None:
        """It is."""
        self._is_done = True
        self._tell()

    def tell(self, function: "Callable[[], object]") -> None:
        """Have it called then, or now."""
        self._tell = function
        if self._is_done:
            function()


def status(control: "Control", _request: "Request") -> "Answer":
    """What runs here, for how long, and how often it has begun anew."""
    state, since = "running", control.running_since
    if since is None:
        state, since = "held" if control.is_held else "starting", control.since
    elif control.paused_since is not None:
        state, since = "paused", control.paused_since
    seconds, restarts = round(time.monotonic() - since, 1), max(control.starts - 1, 0)
    told = {**control.about, "state": state, "seconds": seconds, "restarts": restarts}
    if control.drive is not None:
        told["cdrom"] = control.drive.path
    return told


def await_(control: "Control", _request: "Request") -> "Later":
    """Answered once the guest runs, at once where it does, or is paused."""
    return control.await_guest()


def stop(control: "Control", _request: "Request") -> "Answer":
    """End the run, in order, as SIGTERM does."""
    control.end()
    return {}


def type_(control: "Control", request: "Request") -> "Later":
    """Do `lines` at the guest's keyboard and mouse; answered when the guest has taken all.

    Where whoever asked goes before, the rest is not done. `id`: for `drop`, any text.
    """
    lines = request.get("lines")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise UsageError('what is to be typed is a list of lines: {"lines": ["text ls", "enter"]}')
    events = _events(control)
    if not control.is_running:
        raise control.not_running()
    if control.paused_since is not None:
        raise GuestError(f"the guest is paused; vestige resume {control.about['name']} first")
    later = Later(request.get("id"))
    later.give_up = events.type(lines, later.done)
    return later


def drop(control: "Control", request: "Request") -> "Answer":
    """Do no more of the `type` of this `id`; how many of its events are dropped, of how many.

    `held`: so many at most has the machine, and gives them to the guest once that takes any. The
    machine in a software host is far, and may have all that has gone.
    """
    from vestige.host.backends.events import AHEAD  # noqa: PLC0415 - few runs have a keyboard

    dropped = control.give_up(request.get("id"))
    if dropped is None:
        raise UsageError("no type of that id waits")
    lost, events, taken = dropped
    held = taken if control.about["accel"] == "soft" else min(taken, AHEAD)
    return {"dropped": lost, "of": events, "held": held}


def typing(control: "Control", _request: "Request") -> "Answer":
    """How many events of those that were typed wait at most, and for how long none was taken."""
    waits, asked, seconds = _events(control).waits()
    return {"waits": waits, "of": asked, "seconds": round(seconds, 1)}


def _events(control: "Control") -> "Events":
    """Those of the guest's keyboard, mouse and tablet. Raises UsageError where there is none."""
    if control.about["machine"] != PC and not control.about["tablet"]:
        raise UsageError(
            "no keyboard and no tablet: vestige run --machine pc has the one, --tablet the other"
        )
    if control.events is None:
        raise control.not_running()
    return control.events


def exits(machine: "Machine", _request: "Request") -> "Answer":
    """How often each of the guest's CPUs has left it: of a guest that does something, ever more."""
    threads = [each for each in machine.session.threads if not each.is_worker]
    return {"cpus": [sum(each.loop.exits) for each in threads]}


def statistics(machine: "Machine", _request: "Request") -> "Answer":
    """What --stats writes at the end of a machine, as it is now."""
    return machine.statistics()


def pause(machine: "Machine", _request: "Request") -> "Answer":
    """Stop the guest's CPUs and the workers until `resume`; one that is paused stays so."""
    machine.session.pause()
    return {}


def resume(machine: "Machine", _request: "Request") -> "Answer":
    """Let them go on; one that runs goes on running."""
    machine.session.resume()
    return {}


def freeze(machine: "Machine", request: "Request") -> "Answer":
    """Write all state into the pipe at `descriptor`; `stays`: be paused, behind it."""
    return {"paused": machine.freeze(request["descriptor"], stays=request["stays"])}


def screen(machine: "Machine", request: "Request") -> "Answer":
    """What a viewer needs to draw the guest's screen; `line`: of graphics those from this on."""
    if not machine.has_screen:
        return {"kind": "absent"}
    from vestige.host.screen import told  # noqa: PLC0415 - few machines have one

    seen, ram = machine.session.untrusted.screen(), machine.memory.region.view
    return told(seen, ram, machine.regions, request.get("line"))


def change_disc(machine: "Machine", request: "Request") -> "Answer":
    """Have the disc of so many `sectors`, open at `descriptor`, in the drive."""
    machine.change_disc(request["descriptor"], request["sectors"])
    return {}


def prepare(*, has_screen: bool) -> None:
    """Import what answers need of a machine with a screen, or without."""
    if has_screen:
        import binascii  # noqa: F401, PLC0415

        import vestige.host.screen  # noqa: F401, PLC0415


OF_RUN: "Mapping[str, Callable[[Control, Request], Answer | Later]]" = {
    "status": status,
    AWAIT: await_,
    "stop": stop,
    "type": type_,
    "drop": drop,
    "typing": typing,
}
OF_MACHINE: "Mapping[str, Callable[[Machine, Request], Answer]]" = {
    "exits": exits,
    STATISTICS: statistics,
    PAUSE: pause,
    RESUME: resume,
    FREEZE: freeze,
    "screen": screen,
    INSERT: change_disc,
    EJECT: change_disc,
}
