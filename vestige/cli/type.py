"""`vestige type`: keys and pointer movements for a guest that runs, from the command line."""

import os
import time
from collections.abc import Sequence
from typing import Any

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import SlowError, find

PATIENCE = 10.0  # seconds in which the guest takes nothing
# Each with the most words that follow, in the same word of the shell's.
ACTIONS = {
    "text": 1,
    "press": 1,
    "release": 1,
    "wait": 1,
    "move": 2,
    "point": 2,
    "wheel": 1,
    "button": 2,
}
LOOK = 1.0  # seconds from a look at what it takes to the next

SYNTAX = Syntax(
    (
        Option(
            "--text",
            "TEXT",
            repeated=True,
            help="characters, each by its key on a US keyboard; \\n is Enter, \\t Tab, \\b"
            " Backspace, \\e Escape, \\\\ a backslash",
        ),
    ),
    names="NAME [--text TEXT|KEYS|ACTION]...",
    note=(
        "KEYS: a key like a, F1, enter, up, kp5, or some that are held together, like"
        " ctrl-alt-delete. ACTION, each one word for the shell: 'press KEYS', 'release KEYS',"
        " 'move RIGHT DOWN', 'wheel TURNS', 'button left|right|middle|fourth|fifth [down|up]',"
        " 'wait MILLISECONDS', 'text TEXT'; with --tablet 'point X Y', from 0 0, the upper left,"
        " to 32767 32767: wheel and buttons are a tablet's behind that, a mouse's behind move. All"
        " is done in the order in which it is given, as fast as the guest takes it. A BIOS keeps 15"
        " keys, so it and GRUB lose what is typed beyond"
        " that at once: put 'wait MILLISECONDS' between. Exit status: 0 the guest's keyboard and"
        " mouse have taken all; 1 they have taken nothing for 10 s, and then it says how much has"
        " been dropped and how much may yet come, or the run does not answer, has ended, or its"
        " guest does not run now; 2 bad input, or no such run, and nothing is done."
    ),
)


def run(arguments: Arguments) -> int:
    """Do it. Raises UsageError for what means nothing."""
    if not arguments.rest:
        raise UsageError("no name; `vestige ps` shows those that there are")
    name, lines = arguments.rest[0], lines_of(arguments)
    if not lines:
        raise UsageError("nothing to type; give --text TEXT, or keys like enter, ctrl-alt-delete")
    with find(name) as found:
        id_ = os.urandom(8).hex()
        found.send({"do": "type", "id": id_, "lines": lines})
        begun = time.monotonic()
        while True:
            try:
                found.wait(LOOK)
            except SlowError:
                check(name, id_, time.monotonic() - begun)
            else:
                return 0


def lines_of(arguments: Arguments) -> Sequence[str]:
    """What is to be done, in order. Raises UsageError for half an action."""
    first = arguments.rest[0]
    order = list(arguments.order)
    order.remove(("", first))
    for place, (option, word) in enumerate(order):
        if not option and word in ACTIONS:
            raise UsageError(_torn(word, order[place + 1 :]))
    return [f"text {word}" if option else word for option, word in order]


def _torn(action: str, behind: Sequence[tuple[str, str]]) -> str:
    """What to say of an action that the shell has made several words of."""
    meant = [action]
    for option, word in behind[: ACTIONS[action]]:
        if option or (action == "button" and meant[1:] and word not in ("down", "up")):
            break
        meant.append(word)
    hint = f": is it '{' '.join(meant)}'?" if len(meant) > 1 else "; see `vestige type --help`"
    return f"{action!r}: the rest of it belongs to the same word{hint}"


def check(name: str, id_: str, waited: float) -> None:
    """Raise GuestError where the guest has taken nothing for too long; so has one `waited`.

    What waits of the `type` of this id is dropped then.
    """
    with find(name) as found:
        told: Any = found.ask({"do": "typing"})
        match told:
            case {"seconds": float(seconds)}:
                if min(seconds, waited) < PATIENCE:
                    return
            case _:
                raise GuestError(f"{name}: an answer that is none of a run's")
        try:
            told = found.ask({"do": "drop", "id": id_})
        except UsageError:  # all has been taken meanwhile
            return
    match told:
        case {"dropped": int(dropped), "of": int(events), "held": int(held)}:
            left = f"; at most {held} before these it gets once it takes any" if held else ""
            raise GuestError(
                f"{name}: the guest takes no more: {dropped} of {events} events (keys down and up,"
                f" movements, waits) are dropped{left}; look at its screen before you type again"
            )
    raise GuestError(f"{name}: an answer that is none of a run's")
