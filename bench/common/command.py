"""What every benchmark's command line does alike: its progress, and how it ends."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bench.common.readings import ReadingError
from vestige.errors import GuestError, UsageError

INTERRUPTED = 130
Configuration = TypeVar("Configuration")
Measured = dict[str, list[dict[str, float]]]  # by configuration, a dict a round


def arguments(
    summary: str,
    *,
    rounds: str = "of all configurations",
    count: int = 3,
    seconds: str = "",
    each: float = 0,
    speeds: Sequence[str] = (),
) -> argparse.Namespace:
    """The usual words: `rounds` of what, and their usual `count`; `seconds` of what and how many
    `each` takes, if any; at which `speeds` it may be, all of which it is if none is named.

    Raises UsageError for what can't be, and for who can't be root in the software host.
    """
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--rounds", type=int, default=count, help=f"{rounds} ({count})")
    if seconds:
        text = f"that {seconds} ({each})"
        parser.add_argument("--seconds", type=type(each), default=each, help=text)
    if speeds:
        text = "of the software host; give it once for each, or leave it out for all"
        parser.add_argument("--speed", action="append", choices=speeds, help=text)
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    found = parser.parse_args()
    if found.rounds < 1 or (seconds and found.seconds < 1):
        raise UsageError("at least one round" + (", of at least one second" if seconds else ""))
    if os.geteuid() != 0:
        raise UsageError("needs root's rights, inside of the software host: run it as root")
    return found


class Progress:
    """Lines on standard error, with the seconds since the benchmark began."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say it."""
        seconds = time.monotonic() - self._began
        print(f"{self._name}: {seconds:4.0f} s: {text}", file=sys.stderr, flush=True)


def by_turns(
    table: Mapping[str, Configuration],
    rounds: int,
    one: Callable[[Configuration], dict[str, float]],
    say: Progress,
) -> Measured:
    """Measure every configuration once a round, so that the machine's own speed meets them all."""
    measured: Measured = {name: [] for name in table}
    for number in range(1, rounds + 1):
        for name, configuration in table.items():
            say(f"round {number} of {rounds}: {name}")
            measured[name].append(one(configuration))
    return measured


def status(name: str, main: Callable[[], int]) -> int:
    """Run `main`; the exit status. An error is one line, Ctrl-C ends it without one."""
    try:
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED
    except TimeoutError as error:
        print(f"{name}: a guest did not end in time: {error}", file=sys.stderr)
    except (GuestError, ReadingError, subprocess.CalledProcessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
    except UsageError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    return 1
