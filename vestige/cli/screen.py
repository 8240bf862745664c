"""`vestige screen`: what a guest's screen shows, as text or as a picture."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.cli.output import Output
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find
from vestige.host.messages import show
from vestige.screen import dots, picture, png, seen, text

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
        "NAME is a run's, as `vestige ps` lists it. Exit status: 0 it is done, 1 the screen is"
        " blank, or shows graphics and no picture was asked for, or can be made of them, the guest"
        " does not run now, or the run does not answer, 2 there is no such run, or it has no"
        " screen."
    ),
)
PICTURE = Output("PNG", png.SIGNATURE)
BLANK = "the screen is blank"
GRAPHICS = "the screen shows graphics, not text; -o FILE.png makes a picture of it"
NO_PICTURE = "the screen shows graphics of which no picture can be made: a mode of a CGA's"


def run(arguments: Arguments) -> int:
    """Print the rows, or write the picture. Raises UsageError and GuestError."""
    if len(arguments.rest) != 1:
        raise UsageError("give the name of one run; `vestige ps` shows those that there are")
    (name,) = arguments.rest
    path = arguments.last("-o")
    if path is None:
        show("".join(f"{line}\n" for line in text.lines(look(name))))
    else:
        if os.path.splitext(path)[1].lower() not in ("", ".png"):  # noqa: PTH122 - no import
            raise UsageError(f"-o {path}: a PNG is written; give a name that ends so: FILE.png")
        PICTURE.check(path)
        PICTURE.write(path, pictured(name))
    return 0


def look(name: str) -> seen.Seen:
    """The screen of a run. Raises UsageError and GuestError where it shows no text."""
    with find(name) as asked:
        answer = answered(name, asked.ask({"do": "screen"}))
    if answer["kind"] == "graphics":
        raise GuestError(f"{name}: {GRAPHICS if 'dots' in answer else NO_PICTURE}")
    with named(name):
        return seen.read(answer)


def pictured(name: str) -> bytes:
    """A PNG of what it shows. Raises UsageError and GuestError where that can't be."""
    with find(name) as asked:

        def ask(line: int = 0) -> Any:
            """Lines of graphics from this on, or all of text."""
            return answered(name, asked.ask({"do": "screen", "line": line}))

        answer = ask()
        with named(name):
            if answer["kind"] == "text":
                drawn = seen.read(answer)
                return png.encoded(picture.draw(drawn), drawn.colours)
            if "dots" not in answer:
                raise GuestError(NO_PICTURE)
            mode, lines = dots.look(lambda line: ask(line) if line else answer)
    return png.encoded(dots.pixels(mode, lines), mode.palette)


def answered(name: str, answer: Any) -> Any:
    """An answer of text or graphics; raises UsageError and GuestError for another."""
    match answer:
        case {"kind": "text" | "graphics"}:
            return answer
        case {"kind": "absent"}:
            raise UsageError(
                f"{name}: has no screen; a PC has one, unless --vga none took it: vestige run"
                " --machine pc"
            )
        case {"kind": "blank"}:
            raise GuestError(f"{name}: {BLANK}")
    raise GuestError(f"{name}: an answer that is none of a run's")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say of which run it is what is wrong."""
    try:
        yield
    except GuestError as error:
        line = str(error)
        raise GuestError(line if line.startswith(f"{name}: ") else f"{name}: {line}") from None
