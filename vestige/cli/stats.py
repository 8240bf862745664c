"""`vestige stats`: the counters of a run, as `--stats` writes them at its end."""

import json

from vestige.cli.arguments import Arguments, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import await_start, find
from vestige.host.control.commands import STATISTICS
from vestige.host.messages import show

SYNTAX = Syntax(
    (),
    names="NAME",
    note=(
        "NAME is a run's, as `vestige ps` lists it. They are counted since the guest was started"
        " last, and printed as JSON, of the names that --stats has. A guest that starts"
        " is waited for, up to a minute. Exit status: 0 done; 1 the"
        " guest does not run now, or the run does not answer; 2 there is no such run."
    ),
)


def run(arguments: Arguments) -> int:
    """Print them. Raises UsageError, GuestError."""
    if len(arguments.rest) != 1:
        raise UsageError("give the name of one run; `vestige ps` shows those that there are")
    (name,) = arguments.rest
    with find(name) as found:
        await_start(found)
        told = found.ask({"do": STATISTICS})
    if not isinstance(told, dict):
        raise GuestError(f"{name}: an answer that is none of a run's")
    show(json.dumps(told, indent=1) + "\n")
    return 0
