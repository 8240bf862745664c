"""A run by its name: other commands look at its screen and type, as somebody in front of it does.

Where this machine's KVM can't run guests it is in a software host of its own, and is asked out here
all the same.
"""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.guests.store import ROOT
from vestige.errors import GuestError

_VESTIGE = (sys.executable, "-m", "vestige.cli.main")
_QUICK = 120.0  # seconds, of a command that asks it
_PAUSE = 2.0  # seconds between two looks at a guest that needs minutes
_END = 60.0  # seconds that it has to end once it is told to


class NamedRun:
    """`vestige run WORDS`, until the block ends; `log` gets all that it and its console say."""

    def __init__(
        self, name: str, log: Path, *words: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment`: the run's, where it isn't ours."""
        self._name, self.log = name, log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*_VESTIGE, "run", "--name", name, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                cwd=ROOT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END)
        finally:
            self._process.kill()

    def ask(self, command: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """`vestige COMMAND` of this run."""
        return subprocess.run(
            [*_VESTIGE, command, self._name, *words],
            capture_output=True,
            text=True,
            timeout=_QUICK,
            check=False,
            cwd=ROOT,
        )

    def type(self, *words: str) -> None:
        """At its keyboard, as `vestige type` has it. Raises GuestError where it takes nothing."""
        done = self.ask("type", *words)
        if done.returncode:
            raise GuestError(f"vestige type {' '.join(words)!r}: {done.stderr}")

    def look(self) -> str:
        """What its text screen shows, or why there is none."""
        done = self.ask("screen")
        return done.stdout or done.stderr

    def wait_for(self, mark: str, patience: float) -> str:
        """The same, once `mark` is there. Raises GuestError after so many seconds, or the end."""
        deadline = time.monotonic() + patience
        while mark not in (screen := self.look()):
            if time.monotonic() > deadline:
                raise GuestError(f"{mark!r} does not come; there is\n{screen}")
            self.pause()
        return screen

    def pause(self) -> None:
        """For a moment. Raises GuestError once the run has ended."""
        try:
            status = self._process.wait(_PAUSE)
        except subprocess.TimeoutExpired:
            return
        raise GuestError(f"the run has ended, with status {status}; it said\n{self.said()}")

    def said(self) -> str:
        """All that is in `log` by now."""
        return self.log.read_text(errors="replace")
