"""`vestige resume`: guests that are paused go on."""

from vestige.cli.arguments import Arguments, Syntax
from vestige.cli.pause import NOTE, tell_all
from vestige.host.control.commands import RESUME

SYNTAX = Syntax(
    (),
    names="NAME...",
    note=(
        "They go on where `vestige pause` stopped them, at the time that it is now. One that is not"
        " paused goes on running." + NOTE
    ),
)


def run(arguments: Arguments) -> int:
    """Resume those that are named. Raises as `tell_all`."""
    tell_all(arguments.rest, RESUME)
    return 0
