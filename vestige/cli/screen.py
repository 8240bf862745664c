"""`vestige screen`: what a guest's screen shows, as text or as a picture."""

import os

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.cli.output import Output
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find
from vestige.host.messages import show
from vestige.screen import picture, png, seen, text

SYNTAX = Syntax(
    (
        Option(
            "-o",
            "FILE.png",
            help="write a picture of it here, and print nothing; what is there already is replaced"
            " if it is a PNG",
        ),
    ),
    names="NAME",
    note=(
        "NAME is a run's, as `vestige ps` lists it. Exit status: 0 the screen shows text, 1 it is"
        " blank or shows graphics, the guest does not run now, or the run does not answer, 2 there"
        " is no such run, or it has no screen."
    ),
)
PICTURE = Output("PNG", png.SIGNATURE)
NO_TEXT = {"blank": "the screen is blank", "graphics": "the screen shows graphics, not text"}


def run(arguments: Arguments) -> int:
    """Print the rows, or write the picture. Raises UsageError and GuestError."""
    if len(arguments.rest) != 1:
        raise UsageError("give the name of one run; `vestige ps` shows those that there are")
    (name,) = arguments.rest
    path = arguments.last("-o")
    if path is not None:
        if os.path.splitext(path)[1].lower() not in ("", ".png"):  # noqa: PTH122 - no import
            raise UsageError(f"-o {path}: a PNG is written; give a name that ends so: FILE.png")
        PICTURE.check(path)
    screen = look(name)
    if path is None:
        show("".join(f"{line}\n" for line in text.lines(screen)))
    else:
        PICTURE.write(path, png.encoded(picture.draw(screen), screen.colours))
    return 0


def look(name: str) -> seen.Seen:
    """The screen of a run. Raises UsageError and GuestError where it shows no text."""
    with find(name) as asked:
        answer = asked.ask({"do": "screen"})
    match answer:
        case {"kind": "text"}:
            try:
                return seen.read(answer)
            except GuestError as error:
                raise GuestError(f"{name}: {error}") from None
        case {"kind": "absent"}:
            raise UsageError(
                f"{name}: has no screen; a PC has one, unless --vga none took it: vestige run"
                " --machine pc"
            )
        case {"kind": str(kind)} if kind in NO_TEXT:
            raise GuestError(f"{name}: {NO_TEXT[kind]}")
    raise GuestError(f"{name}: an answer that is none of a run's")
