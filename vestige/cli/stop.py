"""`vestige stop`: ends guests that run, in order, and waits until they have ended."""

import os
import select
import signal

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import Run, SilentError, find

PATIENCE = 60.0  # seconds; a run gives its guest's process 10, and who reads its files as much

SYNTAX = Syntax(
    (Option("--kill", help="at once, without asking the run: also one that does not answer"),),
    names="NAME...",
    note=(
        "What a guest has flushed is safe. The run's own exit status is 143, as for SIGTERM; with"
        " --kill 137. Exit status: 0 all have ended, 1 one does not end, 2 there is no such run."
    ),
)


def run(arguments: Arguments) -> int:
    """End those that are named. Raises UsageError where one is not there; none is ended then."""
    if not arguments.rest:
        raise UsageError("no name; `vestige ps` shows those that there are")
    found = [find(name) for name in dict.fromkeys(arguments.rest)]
    lives = [_life(each) for each in found]
    for each, life in zip(found, lives, strict=True):
        if arguments.has("--kill"):
            _kill(life)
        else:
            _ask(each, life)
    for each, life in zip(found, lives, strict=True):
        if not _ends(life, PATIENCE):
            raise GuestError(
                f"{each.name}: has not ended within {PATIENCE:.0f} s; vestige stop --kill"
                f" {each.name} ends it at once"
            )
    return 0


def _life(run: Run) -> int:
    """A pidfd: the process's number could be another's by the time it is used."""
    if run.pid <= 0:  # as the kernel tells of one that has no number here
        raise GuestError(f"{run.name}: its process is in another PID namespace; stop it from there")
    try:
        return os.pidfd_open(run.pid)
    except OSError as error:
        raise GuestError(f"{run.name}: process {run.pid}: {error.strerror}") from None


def _ask(run: Run, life: int) -> None:
    try:
        run.ask({"do": "stop"})
    except SilentError as error:
        if not _ends(life, 0):
            raise GuestError(f"{error}; vestige stop --kill {run.name} ends it at once") from None


def _kill(life: int) -> None:
    try:
        signal.pidfd_send_signal(life, signal.SIGKILL)
    except ProcessLookupError:
        return


def _ends(life: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(life, select.POLLIN)
    return bool(poll.poll(1000 * seconds))
