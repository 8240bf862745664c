"""Somebody at a guest's serial console, the guest in a software host that has others after it."""

import os
import sys
from signal import SIGTERM
from threading import Thread

from tests.guests.dialogue import Dialogue
from tests.guests.store import ROOT
from vestige.errors import GuestError
from vestige.softhost import SoftHost

_VESTIGE = (sys.executable, "-m", "vestige.cli.main")
NAME = "seat"  # of the run: one at a time has it
_GRACE = 60  # seconds, for a guest to start, and to end when it has been told to


class Seat(Dialogue):
    """`vestige run WORDS`, as typed inside, until `close`. `status` is how it ended."""

    def __init__(self, host: SoftHost, *words: str, timeout: int) -> None:
        """`timeout` seconds are the guest's, for all that it does."""
        console, output = os.pipe()
        self._input, keys = os.pipe()
        super().__init__(console, keys, timeout + _GRACE)
        self.status: int | None = None
        self._host = host
        self._command = host.spawn(
            [
                *(*_VESTIGE, "run", "--accel", "kvm", "--name", NAME),
                *("--timeout", str(timeout), *words),
            ],
            stdout=output,
            stderr=output,
            stdin=self._input,
            cwd=ROOT,
        )

        def carry() -> None:
            try:
                self.status = self._command.wait(timeout + _GRACE)
            except TimeoutError:
                self._command.kill()
            os.close(output)

        self._carrier = Thread(target=carry)
        self._carrier.start()

    def __enter__(self) -> "Seat":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self, command: str, *words: str) -> str:
        """What `vestige COMMAND` of this run prints. Raises GuestError where it fails."""
        done = self._host.capture([*_VESTIGE, command, NAME, *words], timeout=_GRACE, cwd=ROOT)
        if done.status:
            raise GuestError(f"vestige {command}: status {done.status}, {done.stderr.decode()}")
        return done.stdout.decode()

    def close(self) -> None:
        """End the run if it hasn't ended, and give the files back."""
        self._command.signal(SIGTERM)
        self._carrier.join()
        for file in (self._console, self._keys, self._input):
            os.close(file)
