"""`vestige screen`: what a guest's screen shows, as text or as a picture."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from vestige.cli.arguments import Arguments, Option, Syntax
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
        " blank or shows graphics, 2 there is no such run, or it has no screen."
    ),
)
NO_TEXT = {"blank": "the screen is blank", "graphics": "the screen shows graphics, not text"}


def run(arguments: Arguments) -> int:
    """Print the rows, or write the picture. Raises UsageError and GuestError."""
    if len(arguments.rest) != 1:
        raise UsageError("give the name of one run; `vestige ps` shows those that there are")
    (name,) = arguments.rest
    path = arguments.last("-o")
    if path is not None:
        check(path)
    screen = look(name)
    if path is None:
        show("".join(f"{line}\n" for line in text.lines(screen)))
    else:
        write(path, png.encoded(picture.draw(screen), screen.colours))
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


def check(path: str) -> None:
    """Raise UsageError where a picture may not be put: it replaces no file but another one."""
    if path in ("", "-"):
        raise UsageError(f"-o {path!r}: a picture goes into a file; give the name of one")
    try:
        is_picture = stat.S_ISREG(Path(path).lstat().st_mode)
        if is_picture:
            with Path(path).open("rb") as file:
                is_picture = file.read(len(png.SIGNATURE)) == png.SIGNATURE
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _refused(path, error) from None
    if not is_picture:
        raise UsageError(f"-o {path}: it is there, and is no PNG file; give another name")


def write(path: str, data: bytes) -> None:
    """A whole file, in the place of one that is there, or none."""
    check(path)
    made = Path(f"{path}.{os.getpid()}.part")  # in the same folder, so that it can be renamed
    try:
        with made.open("xb") as file:
            file.write(data)
        made.replace(path)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileExistsError):
            with suppress(OSError, ValueError):
                made.unlink()
        raise _refused(path, error) from None


def _refused(path: str, error: OSError | ValueError) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"-o {path}: {reason}; give a file that can be written")
