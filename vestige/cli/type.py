"""`vestige type`: keys and pointer movements for a PC that runs, from the command line."""

from collections.abc import Sequence

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import UsageError
from vestige.host.control.client import find

PATIENCE = 60.0  # seconds, and more for each
CHARACTER = 0.2
WAIT = "wait "

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
        " 'wait MILLISECONDS', 'text TEXT'. All is done in the order in which it is given, as fast"
        " as the guest takes it. A BIOS keeps 15 keys, so it and GRUB lose what is typed beyond"
        " that at once: put 'wait MILLISECONDS' between. Exit status: 0 the guest takes the last of"
        " it, 1 it does not, 2 bad input, of which nothing is done."
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
        found.ask({"do": "type", "lines": lines}, patience(lines))
    return 0


def lines_of(arguments: Arguments) -> Sequence[str]:
    """What is to be done, in order."""
    first = arguments.rest[0]
    order = list(arguments.order)
    order.remove(("", first))
    return [f"text {word}" if option else word for option, word in order]


def patience(lines: Sequence[str]) -> float:
    """Seconds for all of it."""
    waits = [line.removeprefix(WAIT) for line in lines if line.startswith(WAIT)]
    milliseconds = sum(int(word) for word in waits if word.isascii() and word.isdigit())
    return PATIENCE + CHARACTER * sum(map(len, lines)) + milliseconds / 1000
