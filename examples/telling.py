"""What a demo tells whoever watches it: its own lines, its guest's console, and its checks."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from tests.guests.dialogue import Dialogue


class Failure(Exception):
    """A check that did not pass, or a guest that did not answer."""


class Check(NamedTuple):
    """A command of the guest's, and all that must be in what it prints."""

    name: str
    command: str
    expected: tuple[str, ...]


class Teller(NamedTuple):
    """`name` is the demo's."""

    name: str

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"{self.name}: {text}", flush=True)

    def ask(self, guest: Dialogue, command: str) -> str:
        """What a command of the guest's shell prints; it is shown before that."""
        print(f"\n  | # {command}", flush=True)
        return guest.ask(command)

    def judge(self, name: str, passed: bool, why: str) -> None:
        """A line for a check. Raises Failure unless it has passed."""
        if not passed:
            raise Failure(f"check: {name} FAILED {why}")
        self.say(f"check: {name} ok")

    def check(self, guest: Dialogue, check: Check) -> str:
        """Do it; what the command printed. Raises Failure unless all that must be is there."""
        said = self.ask(guest, check.command)
        missing = [each for each in check.expected if each not in said]
        self.judge(check.name, not missing, f"no {', '.join(missing)} in what it prints")
        return said


def steps() -> Callable[[str], None]:
    """Shows the first line of each kind of debootstrap's, and all of its warnings.

    It has one for each package: hundreds.
    """
    seen: set[str] = set()

    def show(line: str) -> None:
        kind, _, text = line.partition(": ")
        step = text.partition(" ")[0]
        if kind == "I" and step not in seen:
            seen.add(step)
            print(f"  | {text} ...", flush=True)
        elif kind != "I":
            print(f"  | {line}", flush=True)

    return show


def shown(log: Path | None = None) -> Callable[[str], None]:
    """Shows the console's lines, each whole and marked as the guest's; `log` gets all there is."""
    begun = [""]
    if log is not None:
        log.write_text("")

    def show(text: str) -> None:
        if log is not None:
            with log.open("a") as file:
                file.write(text)
        *lines, begun[0] = (begun[0] + text).split("\n")
        for line in lines:
            if line.strip() and line != Dialogue.DONE:
                print(f"  | {line}", flush=True)

    return show


def attend(
    command: list[str],
    talk: Callable[[Dialogue], None],
    limit: float,
    show: Callable[[str], None],
    errors: IO[bytes] | None = None,
) -> int:
    """Have `talk` talk to a monitor's serial port to its end; the monitor's exit status.

    `limit`, in seconds, ends a monitor that hangs. Its standard error is `errors`. Raises what
    `talk` raises, and TimeoutError.
    """
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    ) as monitor:
        if monitor.stdin is None or monitor.stdout is None:
            raise RuntimeError("Popen gave no pipes")
        watchdog = threading.Timer(limit, monitor.kill)
        watchdog.start()
        try:
            talk(Dialogue(monitor.stdout.fileno(), monitor.stdin.fileno(), limit, show))
            return monitor.wait()
        except BaseException:
            monitor.terminate()
            raise
        finally:
            watchdog.cancel()
