"""What every benchmark's command line does alike: its progress, and how it ends."""

import subprocess
import sys
import time
from collections.abc import Callable

from bench.common.readings import ReadingError
from vestige.errors import GuestError, UsageError

INTERRUPTED = 130


class Progress:
    """Lines on standard error, with the seconds since the benchmark began."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say it."""
        seconds = time.monotonic() - self._began
        print(f"{self._name}: {seconds:4.0f} s: {text}", file=sys.stderr, flush=True)


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
