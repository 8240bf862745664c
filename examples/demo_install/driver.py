"""Debian's installer in a window: a PC boots its disc by SeaBIOS, and it is used by keys.

    python -m examples.demo_install.driver

The window is a VNC viewer's on a virtual X server. Its first three screens are read off the picture
in it, and answered by keys typed at the window. Pictures of all are kept in build/demo-install.
Exit status 0 if each screen came in its turn.
"""

import os
import shlex
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from examples.demo.driver import WORK
from examples.demo_install.picture import Picture
from examples.demo_install.window import Window, require_programs
from examples.telling import Failure, Teller
from tests.guests import installer, reading
from tests.guests.named import NamedRun
from vestige.errors import GuestError, UsageError

FOLDER = WORK / "demo-install"
DEMO = Teller("demo-install")
PATIENCE = 1800.0  # seconds for one screen: a slow machine is no failure
TIMEOUT = 5400  # seconds, of the guest
DISK = 4 << 30  # bytes of the one to install to: a hole at first
LISTENS = "the screen is at vnc:"
MOVING = 4  # looks, of which one is read where each shows something else
SHOWN = 90  # characters of what is read


class Screen(NamedTuple):
    """A screen of the installer's: what is read on it, and the keys that answer it.

    `follows` says what takes the time from the last screen to this.
    """

    name: str
    words: str
    keys: tuple[str, ...]
    follows: str


SCREENS = (
    Screen("menu", "installer menu", ("Return",), "SeaBIOS starts isolinux from the disc"),
    Screen(
        "language",
        "Select a language",
        ("Return",),
        "the kernel and 80 MB behind it are loaded by the BIOS, and X starts: some minutes",
    ),
    Screen("location", "Select your location", ("Return",), "English it is"),
    Screen("keyboard", "Configure the keyboard", (), "in the United States"),
)


def main() -> int:
    """Run the demo. Returns the exit status."""
    start = time.monotonic()
    try:
        perform()
    except UsageError as error:
        print(f"demo-install: {error}", file=sys.stderr)
        return 2
    except (Failure, GuestError) as error:
        print(f"demo-install: {error}", file=sys.stderr)
        print("demo-install: FAILED", file=sys.stderr)
        return 1
    DEMO.say(
        f"{time.monotonic() - start:.0f} s in all; the pictures are in {os.path.relpath(FOLDER)}"
    )
    DEMO.say("ok")
    return 0


def perform() -> None:
    """All of it. Raises UsageError, GuestError, Failure."""
    require_programs()
    DEMO.say("preparing a disc with Debian's installer: 130 MB are fetched, the first time")
    disc = installer.disc("gtk")
    FOLDER.mkdir(parents=True, exist_ok=True)
    disk = FOLDER / "disk.img"
    with disk.open("wb") as file:
        file.truncate(DISK)
    with TemporaryDirectory(prefix="demo-install-") as name:
        display = Path(name) / "display"  # a path that is short enough for a socket's
        words = (
            *("--machine", "pc", "--memory", "1G", "--cdrom", str(disc), "--disk", str(disk)),
            *("--display", f"vnc:unix:{display}", "--timeout", str(TIMEOUT)),
        )
        print(f"  $ vestige run {shlex.join(words)}", flush=True)
        with NamedRun(f"demo-install-{os.getpid()}", FOLDER / "run.log", *words) as machine:
            while LISTENS not in machine.said():
                machine.pause()
            with Window(display, Path(name), FOLDER / "window.log") as window:
                DEMO.say("a VNC viewer's window is there, on a virtual X server")
                for screen in SCREENS:
                    await_screen(machine, window, screen)
                    if screen.keys:
                        DEMO.say(f"typing {' '.join(screen.keys)}")
                        window.press(*screen.keys)


def await_screen(machine: NamedRun, window: Window, screen: Screen) -> None:
    """Until it is read in the window, and keep a picture. Raises GuestError, Failure."""
    DEMO.say(screen.follows)
    start = time.monotonic()
    read, said = None, ""
    last, looks = window.look(), 0
    while not reading.has(screen.words, said):
        if time.monotonic() - start > PATIENCE:
            keep(last, screen.name)
            raise Failure(f"{screen.words!r} does not come; what is read there is\n{said}")
        machine.pause()
        picture, looks = window.look(), looks + 1
        # What moves is read now and then alone: that takes as much time as the guest's own work.
        if picture != read and (picture == last or looks % MOVING == 0):
            before, read, said = said, picture, window.read(picture)
            if said not in ("", before):
                print(f"  | {said[:SHOWN]}", flush=True)
        last = picture
    keep(last, screen.name)
    taken = time.monotonic() - start
    DEMO.say(f"check: {screen.name} ok ({screen.words!r}, after {taken:.0f} s)")


def keep(picture: Picture, name: str) -> None:
    """As a PNG."""
    (FOLDER / f"{name}.png").write_bytes(picture.png())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
