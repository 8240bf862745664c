"""What a process of ours does first: its standard files, and what Ctrl-C means to it.

It imports nothing that Python has not imported by itself.
"""

import os
import sys

TYPE_CHECKING = False  # as typing has it

if TYPE_CHECKING:
    import signal
    from typing import TextIO
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

STANDARD_FILES = 3


def prepare() -> None:
    """Before anything else is opened or imported. Raises OSError where there is no /dev/null."""
    end_at_interrupt()
    # A caller may have had it ignored, and then nobody hears how a child of ours has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    occupy_standard_files()
    escape_output()


def search_path(*first: str) -> str:
    """PYTHONPATH for a child of ours: `first`, then what the caller's names.

    Without its empty parts, which Python takes for the working directory, whatever is in there.
    """
    parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(filter(None, (*first, *parts)))


def end_at_interrupt() -> None:
    """Let Ctrl-C end this process at once, as it ends any program; unless it is ignored.

    Python would raise KeyboardInterrupt in whatever runs at that moment, an import for instance.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def occupy_standard_files() -> None:
    """Open /dev/null where standard input, output or errors are closed, for our children too.

    A disk image must never become standard output.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor < STANDARD_FILES:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    # Python has no stream where there was no file. What prints to that raises, or goes to another.
    if sys.stdin is None:
        sys.stdin = _stream(0, "r")
    if sys.stdout is None:
        sys.stdout = _stream(1, "w")
    if sys.stderr is None:
        sys.stderr = _stream(2, "w")


def escape_output() -> None:
    """Print escapes for what the encoding of standard output lacks, or no encoding has.

    The name of a file may be any bytes, which Python has as lone surrogates.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _stream(descriptor: int, mode: str) -> "TextIO":
    return open(descriptor, mode, closefd=False)  # type: ignore[return-value]
