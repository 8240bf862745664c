"""Fetching what a software host is made of, in a process of its own that can be ended any time.

apt-get may take minutes, and so may another process that fetches the same. What a process that was
ended has left behind the next one removes (packages.keep).
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from select import POLLIN

import vestige
from vestige import process
from vestige.errors import UsageError
from vestige.host.messages import tell
from vestige.signals import Watch
from vestige.softhost import emulator, kernel

_PACKAGES = str(Path(vestige.__file__).resolve().parent.parent)
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from vestige.softhost.prepare import main; sys.exit(main())"
)
_REFUSED = 2


def ensure(watch: Watch) -> None:
    """Have all that a software host needs at its start; standard error is told what is fetched.

    Raises UsageError as its parts do, and Ended where `watch` ends it.
    """
    if _is_here():
        return
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, _PACKAGES],
        env=os.environ | {"PYTHONPATH": process.search_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that apt-get ends with it
    ) as child:
        handle = os.pidfd_open(child.pid)
        try:
            watch.wait({handle: POLLIN})
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        finally:
            os.close(handle)
        complaint = child.communicate()[0].strip()
    if child.returncode == _REFUSED:
        raise UsageError(complaint)
    if child.returncode:
        raise UsageError(
            f"fetching what the software host needs failed with status {child.returncode}; "
            "standard error says why"
        )


def _is_here() -> bool:
    """Whether there is nothing to fetch."""
    if not kernel.cached().is_dir():
        return False
    return emulator.cached().is_dir() or emulator.is_sound(emulator.installed()[1])


def say(message: str) -> None:
    """Tell the person at standard error how it goes, in as many lines as `message` has."""
    for line in message.split("\n"):
        tell(f"software host: {line}")


def main() -> int:
    """Fetch; what can't be goes to standard output, status 2."""
    process.prepare()
    try:
        emulator.ensure(say)
        kernel.ensure(say)
    except UsageError as error:
        print(error)
        return _REFUSED
    return 0
