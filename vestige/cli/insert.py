"""`vestige insert`: another disc in the drive of a guest that runs."""

import os
from typing import Any

from vestige.cli.arguments import Arguments, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.backends.drive import EJECT, INSERT
from vestige.host.control.client import find
from vestige.host.options import parse_cdrom

SYNTAX = Syntax(
    (),
    names="NAME IMAGE[,format=raw]",
    note=(
        "NAME is a run's, as `vestige ps` lists it, started with --cdrom. The disc that is in the"
        " drive comes out, as with `vestige eject`. In the software host no other can be had. A"
        " comma in IMAGE is written twice. Exit status: 0 the disc is in, 1 the guest does not run"
        " now, or the run does not answer, 2 bad input, no such run, or it has no drive: then all"
        " is as it was."
    ),
)


def run(arguments: Arguments) -> int:
    """Put it in. Raises UsageError and GuestError."""
    if len(arguments.rest) != 2:
        raise UsageError("give the name of one run, as `vestige ps` lists it, and an image")
    name, text = arguments.rest
    option = parse_cdrom(text, INSERT)
    if option.path:
        # The run may be in another folder.
        image = os.path.abspath(option.path)  # noqa: PTH100 - links stay as they are
        change(name, {"do": INSERT, "image": image, "raw": option.raw})
    else:
        change(name, {"do": EJECT})
    return 0


def change(name: str, request: dict[str, Any]) -> None:
    """Have the run do it. Raises UsageError and GuestError."""
    with find(name) as found:
        if found.ask(request) != {}:
            raise GuestError(f"{name}: an answer that is none of a run's")
