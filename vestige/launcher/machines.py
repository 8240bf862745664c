"""What all machines of a launcher have in common, in whichever process their runs are."""

import errno
import os
from collections.abc import Callable

from vestige.host import run as native
from vestige.host.control.server import Control, open_control
from vestige.host.options import RunOptions
from vestige.launcher import messages

QUIET = 1.0  # ms, after a guest has started, for its first instructions
STARTING = 100.0  # ms, in which another guest that was asked for starts
FAILED = 1


def connect(
    ready: native.Ready,
    kind: str,
    descriptors: list[int],
    begun: Callable[[], object],
    pid: int,
) -> None:
    """Have a run, once it is `ready`, tell whoever is to know, by the sockets that came last: where
    its guest's agent is, and that its guest stands, by the `kind` of message that asked for it.

    `begun` is called once the guest runs, or stands; `pid` is the machine's to its user. Raises
    OSError where not all have come, for there are too many files open.
    """
    hold = None
    if kind == messages.HELD:
        if not descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        hold = messages.end_of(descriptors.pop())
        ready.hold = hold.fileno()
    tellers = [messages.end_of(each) for each in descriptors]
    places: list[str] = []

    def open_told(asked: RunOptions, end: Callable[[], object]) -> Control:
        if asked.agent and not tellers:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        control = open_control(asked, end, pid)
        places.append(control.about["agent"] or "")
        return control

    def stands() -> None:
        begun()
        if hold is not None:
            messages.say(hold, messages.STANDS, None)

    def started() -> None:
        begun()
        while tellers:
            with tellers.pop() as teller:
                messages.say(teller, messages.AGENT, places[0])

    ready.control, ready.stands, ready.started = open_told, stands, started
