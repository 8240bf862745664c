"""`vestige freeze`: a guest that runs, as it is now, into a folder; `vestige thaw` has it go on."""

import sys
import time

from vestige.agent.waiting import waiting
from vestige.cli.arguments import Arguments, Option, Syntax, given
from vestige.cli.interruptible import Interrupted, interruptible
from vestige.errors import UsageError
from vestige.host.control.client import await_start, find_within
from vestige.host.freeze.asking import freeze
from vestige.host.messages import tell

SOON = 2.0  # seconds for a run that was begun right before to be there
PROGRESS = 2.0  # seconds until it is told how far it is, and from one time to the next
SYNTAX = Syntax(
    (
        Option(
            "--stop",
            read=given,
            help="end the run once the snapshot is whole: so its disks stay as the snapshot needs"
            " them",
        ),
    ),
    names="NAME FOLDER",
    note=(
        "A guest that starts is waited for, up to a minute. It stands still while its memory is"
        " copied, and then goes on, but with --stop. The folder is made, or, if it is a snapshot,"
        " replaced as a whole; a freeze that fails leaves it as it was. Disks are not copied: a"
        " snapshot can be thawed as long as they are as they were. Exit status: 0 done; 1 the run"
        " can't now, as it starts yet or does not answer; 2 there is no such run, it can't be"
        " frozen, or the folder can't be made."
    ),
)


def run(arguments: Arguments) -> int:
    """Freeze it. Raises UsageError, GuestError."""
    if len(arguments.rest) != 2:
        raise UsageError("give a run's name and a folder: vestige freeze NAME FOLDER")
    name, path = arguments.rest
    stops = arguments.has("--stop")
    try:
        with find_within(name, SOON) as asked, interruptible():
            await_start(asked)
            with waiting(asked.ask({"do": "status"}), stays=stops) as more:
                manifest = freeze(asked, path, stays=stops, told=_Teller(name).tell, more=more)
            if stops:
                asked.ask({"do": "stop"})
    except Interrupted as interrupt:
        return interrupt.status
    written = [
        disk.get("overlay_path") or disk["path"]
        for disk in manifest.get("disks", ())
        if disk.get("written")
    ]
    if written and not stops:
        tell(
            f"{path} can be thawed as long as nothing is written to {', '.join(written)}, and its"
            " guest goes on: vestige freeze --stop ends it, and overlay=temporary goes along"
        )
    return 0


class _Teller:
    """Tells how far it is, where that takes long."""

    def __init__(self, name: str) -> None:
        self._name, self._next = name, time.monotonic() + PROGRESS

    def tell(self, written: int) -> None:
        """So many bytes are written."""
        if time.monotonic() >= self._next and sys.stderr.isatty():
            tell(f"freezing {self._name}: {written >> 20} MiB written")
            self._next = time.monotonic() + PROGRESS
