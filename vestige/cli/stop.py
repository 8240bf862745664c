"""`vestige stop`: ends guests that run, in order, and waits until they have ended."""

import os
import select
import signal
import time

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import Run, SilentError, UnwillingError, find

PATIENCE = 60.0  # seconds; a run gives its guest's process 10, and who reads its files as much

SYNTAX = Syntax(
    (Option("--kill", help="at once, without asking the run: also one that does not answer"),),
    names="NAME...",
    note=(
        "What a guest has flushed is safe. The run's own exit status is 143, as for SIGTERM; with"
        " --kill 137. Exit status: 0 all have ended, 1 one has not ended within 60 s, after all"
        " have been asked, 2 there is no such run, and none is ended."
    ),
)


def run(arguments: Arguments) -> int:
    """End those that are named. Raises UsageError where one is not there; none is ended then.

    Raises UnwillingError with a line for each that does not end, once all have been asked.
    """
    if not arguments.rest:
        raise UsageError("no name; `vestige ps` shows those that there are")
    ends = [End(name) for name in dict.fromkeys(arguments.rest)]
    for end in ends:
        if arguments.has("--kill"):
            end.kill()
        else:
            end.ask()
    deadline = time.monotonic() + PATIENCE
    problems = list(filter(None, [end.wait(deadline) for end in ends]))
    if problems:
        raise UnwillingError("\n".join(problems))
    return 0


class End:
    """That of one run. `problem`: why there will be none, as far as that is known."""

    def __init__(self, name: str) -> None:
        """Find it. Raises UsageError where it is not there."""
        self.name, self.problem = name, ""
        self._run: Run | None = None
        self._life: int | None = None  # a pidfd: the number could be another's by the time
        try:
            self._run = find(name)
            self._life = _life(self._run)
        except GuestError as error:
            self.problem = str(error)

    def ask(self) -> None:
        """Have it end."""
        if self._run is None or self._life is None:
            return
        try:
            self._run.send({"do": "stop"})
        except SilentError as error:
            if not _ends(self._life, 0):
                self.problem = f"{error}; vestige stop --kill {self.name} ends it at once"

    def kill(self) -> None:
        """End it."""
        if self._life is None:
            return
        try:
            signal.pidfd_send_signal(self._life, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self, deadline: float) -> str:
        """Wait for it until then, of time.monotonic; what is wrong."""
        if self.problem or self._life is None:
            return self.problem
        if _ends(self._life, max(deadline - time.monotonic(), 0)):
            return ""
        return (
            f"{self.name}: has not ended within {PATIENCE:.0f} s; vestige stop --kill {self.name}"
            " ends it at once"
        )


def _life(run: Run) -> int | None:
    """A pidfd; None: it has ended. Raises GuestError."""
    if run.pid <= 0:  # as the kernel tells of one that has no number here
        raise GuestError(f"{run.name}: its process is in another PID namespace; stop it from there")
    try:
        return os.pidfd_open(run.pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise GuestError(f"{run.name}: process {run.pid}: {error.strerror}") from None


def _ends(life: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(life, select.POLLIN)
    return bool(poll.poll(1000 * seconds))
