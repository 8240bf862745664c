"""`vestige eject`: the drive of a guest that runs without its disc."""

from vestige.cli.arguments import Arguments, Syntax
from vestige.cli.insert import change
from vestige.errors import UsageError
from vestige.host.backends.drive import EJECT

SYNTAX = Syntax(
    (),
    names="NAME",
    note=(
        "NAME is a run's, as `vestige ps` lists it, started with --cdrom. The disc comes out also"
        " where the guest has locked the tray, as by a pin in the drive's hole: unmount it there"
        " first. Exit status: 0 the drive is empty, 1 the guest does not run now, or the run does"
        " not answer, 2 no such run, or it has no drive."
    ),
)


def run(arguments: Arguments) -> int:
    """Take it out. Raises UsageError and GuestError."""
    if len(arguments.rest) != 1:
        raise UsageError("give the name of one run; `vestige ps` shows those that there are")
    change(arguments.rest[0], {"do": EJECT})
    return 0
