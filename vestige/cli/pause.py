"""`vestige pause`: guests that run do nothing, until `vestige resume`."""

from collections.abc import Sequence

from vestige.cli.arguments import Arguments, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import SlowError, UnwillingError, await_start, find
from vestige.host.control.commands import PAUSE, RESUME

NOTE = (
    " One that starts is waited for, up to a minute. Exit status: 0 done; 1 a run can't now, as it"
    " starts yet or does not answer, and all have been asked; 2 there is no such run, and none has"
    " been asked."
)
SYNTAX = Syntax(
    (),
    names="NAME...",
    note=(
        "No CPU of such a guest runs, and nothing is read or written for it; its memory stays. Its"
        " clocks go on, and so does --timeout. One that is paused stays so." + NOTE
    ),
)


def run(arguments: Arguments) -> int:
    """Pause those that are named. Raises as `tell_all`."""
    tell_all(arguments.rest, PAUSE)
    return 0


def tell_all(names: Sequence[str], command: str) -> None:
    """Have these runs do it. Raises UsageError where one is not there: none is asked then.

    Raises UnwillingError with a line for each that does not, once all have been asked.
    """
    if not names:
        raise UsageError("no name; `vestige ps` shows those that there are")
    runs = [find(name) for name in dict.fromkeys(names)]
    problems = []
    for each in runs:
        with each:
            try:
                await_start(each)
            except (GuestError, UsageError) as error:
                problems.append(str(error))
                continue
            try:
                if each.ask({"do": command}) != {}:
                    problems.append(f"{each.name}: an answer that is none of a run's")
            except SlowError as error:
                other = RESUME if command == PAUSE else PAUSE
                problems.append(f"{error}; it may do so yet: vestige {other} {each.name} undoes it")
            except (GuestError, UsageError) as error:
                problems.append(str(error))
    if problems:
        raise UnwillingError("\n".join(problems))
