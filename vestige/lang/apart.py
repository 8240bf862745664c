"""Work in a process of its own: a module of ours that takes bytes and gives bytes.

What both are given is in files, so that neither process waits for the other before the end.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vestige.errors import UsageError
from vestige.process import search_path

PACKAGES = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1
REFUSED = 2  # exit status: standard error says all that a person needs


class RefusedError(UsageError):
    """What the process refused, in its words."""

    has_lines = True


class Apart:
    """A process that was started; closed before its result was taken, it is ended."""

    def __init__(self, module: str, data: bytes = b"") -> None:
        """Start it with `data`. Raises UsageError where it can't be started."""
        with ExitStack() as stack:
            try:
                given = stack.enter_context(tempfile.TemporaryFile())
                given.write(data)
                given.seek(0)
                self._gives = stack.enter_context(tempfile.TemporaryFile())
                self._says = stack.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", module, str(os.getpid())],
                    stdin=given,
                    stdout=self._gives,
                    stderr=self._says,
                    env=os.environ | {"PYTHONPATH": search_path(str(PACKAGES))},
                )
            except OSError as error:
                raise UsageError(
                    f"the compiler can't start a process of its own: {error.strerror}; raise the"
                    " limit that this is, or make room for temporary files"
                ) from None
            given.close()
            self._open = stack.pop_all()

    def result(self) -> bytes:
        """What it gives, when it has ended. Raises UsageError where it has failed."""
        status = self._process.wait()
        self._says.seek(0)
        complaint = self._says.read().decode(errors="replace").strip()
        if status == REFUSED:
            raise RefusedError(complaint)
        if status < 0:
            raise UsageError(
                f"a process of the compiler was ended by {signal.Signals(-status).name}; see that"
                " it has 1 GiB of memory, and try again"
            )
        if status:
            last = complaint.splitlines()[-1] if complaint else f"status {status}"
            raise UsageError(f"a process of the compiler failed: {last}; try again")
        self._gives.seek(0)
        return self._gives.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._open.close()


def serve(work: Callable[[bytes], bytes]) -> None:
    """Be that process. Ctrl-C ends it, and so does the end of the one that wants its result."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return
    try:
        made = work(sys.stdin.buffer.read())
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    sys.stdout.buffer.write(made)
