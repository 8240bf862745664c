"""What test_apart.py has done in a process of its own."""

import os
import signal
import sys
from pathlib import Path

from vestige.errors import UsageError
from vestige.lang.apart import serve


def work(data: bytes) -> bytes:
    if data.startswith(b"reverse"):
        return data[:6:-1]
    if data.startswith(b"tell"):
        Path(os.fsdecode(data[4:])).write_text(str(os.getpid()))
        signal.pause()
    if data == b"wait":
        signal.pause()
    if data == b"refuse":
        raise UsageError("a line\nanother")
    if data == b"exit":
        sys.exit(3)
    if data == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("of no use")


if __name__ == "__main__":
    serve(work)
