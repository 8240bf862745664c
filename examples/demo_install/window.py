"""A VNC viewer's window on a virtual X server: what a person sees there, and types.

Nothing of it is ours: Xvfb, TigerVNC's viewer, xdotool, and Tesseract, which reads the picture.
Sources: Xvfb(1), xtigervncviewer(1), xdotool(1), tesseract(1).
"""

import os
import secrets
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Self

from examples.demo_install.picture import Picture
from examples.telling import Failure
from tests.guests import reading
from tests.guests.asking import printed
from vestige.errors import UsageError

WIDTH, HEIGHT = 1152, 864  # dots of the X server's screen: a mode of 1024 by 768, and some more
_PROGRAMS = ("Xvfb", "xtigervncviewer", "xdotool", reading.PROGRAM)
_TITLE = "TigerVNC"  # at the end of each title of that viewer's
_QUICK = 120.0  # seconds, of a program that asks one of these
_PATIENCE = 900.0  # seconds for the window, which comes once the display has said how large it is
_ANY_DISPLAY = 0xFFFF  # Xau's FamilyWild
_COOKIE = b"MIT-MAGIC-COOKIE-1"


def require_programs() -> None:
    """Raise UsageError where one that a window needs is missing."""
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        raise UsageError(f"{', '.join(missing)}: not found; `make demo-install` installs them")


class Window:
    """One, until the block ends. `log`: what its programs say."""

    def __init__(self, display: Path, folder: Path, log: Path) -> None:
        """`display`: a Unix socket; `folder`: nobody else's.

        Raises Failure or GuestError where a program does not start.
        """
        self._folder, self._log = folder, log
        log.write_bytes(b"")
        cookie = folder / "cookie"
        cookie.write_bytes(authority(secrets.token_bytes(16)))
        self._environment = {
            **os.environ,
            "HOME": str(folder),  # where the viewer looks for its settings, and keeps them
            "XAUTHORITY": str(cookie),
        }
        self._started: list[subprocess.Popen[bytes]] = []
        try:
            self._environment["DISPLAY"] = f":{self._start_server(cookie)}"
            self._start("xtigervncviewer", "-RemoteResize=0", "-AlertOnFatalError=0", str(display))
            # Without a window manager nobody else gives the window the keyboard.
            printed(
                *("xdotool", "search", "--sync", "--onlyvisible", "--name", _TITLE),
                *("windowfocus", "--sync"),
                seconds=_PATIENCE,
                environment=self._environment,
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of it."""
        for process in reversed(self._started):
            process.terminate()
            process.wait(_QUICK)

    def _start_server(self, cookie: Path) -> int:
        """The number of its display, once it serves."""
        reader, writer = os.pipe()
        with os.fdopen(reader) as number:
            try:
                self._start(
                    *("Xvfb", "-displayfd", str(writer), "-auth", str(cookie), "-nolisten", "tcp"),
                    *("-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(self._folder)),
                    keep=(writer,),
                )
            finally:
                os.close(writer)
            said = number.read()
        if not said.strip().isdecimal():
            raise Failure(f"Xvfb does not start; it said\n{self._log.read_text(errors='replace')}")
        return int(said)

    def _start(self, *command: str, keep: tuple[int, ...] = ()) -> None:
        with self._log.open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    pass_fds=keep,
                )
            )

    def look(self) -> Picture:
        """What a person sees. Raises Failure where the window is gone."""
        for process in self._started:
            if (status := process.poll()) is not None:
                said = self._log.read_text(errors="replace")
                raise Failure(f"{process.args!r} ended with status {status}; it said\n{said}")
        return Picture.read((self._folder / "Xvfb_screen0").read_bytes())

    def read(self, picture: Picture) -> str:
        """The words on it."""
        file = self._folder / "read.png"
        file.write_bytes(picture.enlarged())
        return reading.words(file)

    def press(self, *keys: str) -> None:
        """Each by its X keysym's name: down and up. Raises GuestError."""
        printed("xdotool", "key", *keys, seconds=_QUICK, environment=self._environment)


def authority(cookie: bytes) -> bytes:
    """An Xauthority file with it, for any display. Source: Xau's README, "FILE FORMAT"."""
    parts = (b"", b"", _COOKIE, cookie)  # address, display, name, data
    counted = (struct.pack(">H", len(part)) + part for part in parts)
    return struct.pack(">H", _ANY_DISPLAY) + b"".join(counted)
