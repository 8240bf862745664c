"""The other side of a console or a port: the terminal, a file, or a Unix socket.

The monitor moves the bytes itself, through the ring's fixed files `output` and `input`.
"""

import atexit
import os
import stat
import termios

from vestige.errors import UsageError
from vestige.host.messages import tell
from vestige.host.options import SOCKET, STDIO
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

ESCAPE = b"\x1d"  # Ctrl-]
DISABLED = b"\0"  # _POSIX_VDISABLE

# Indices into termios attributes.
INPUT_MODES, LOCAL_MODES, CHARACTERS = 0, 3, 6


class Console:
    """A console's descriptors: `output` always, `input` or None. Who opens one closes it."""

    def __init__(self, output: int, input_: int | None) -> None:
        self.output = output
        self.input = input_

    def start(self) -> None:
        """The guest is about to run."""

    def waits_for(self) -> dict[int, int]:
        """Descriptors this process must watch for the console, each with its poll events."""
        return {}

    def serve(self, ready: dict[int, int]) -> None:
        """Do what the poll events in `ready`, descriptor to events, allow."""

    def close(self) -> None:
        """Give back what was taken; a second time does nothing."""


class Terminal(Console):
    """Standard input and output. A terminal is raw while the guest runs, and then as before.

    Ctrl-C is the guest's there; Ctrl-] takes its place and ends the run.
    """

    def __init__(self) -> None:
        self._saved: list[Any] | None = None
        super().__init__(1, None if _in_background() else 0)

    def start(self) -> None:
        """Make a terminal raw, and say how to leave."""
        if self.input is None or not os.isatty(self.input):
            return
        tell("Ctrl-] ends the guest, Ctrl-C is the guest's")
        self._saved = termios.tcgetattr(self.input)
        atexit.register(self.close)
        termios.tcsetattr(self.input, termios.TCSANOW, raw(self._saved))

    def close(self) -> None:
        """Restore the terminal."""
        saved, self._saved = self._saved, None
        if saved is not None and self.input is not None:
            try:  # noqa: SIM105 - contextlib is slow to import
                termios.tcsetattr(self.input, termios.TCSANOW, saved)
            except termios.error:
                pass  # a terminal that hung up needs nothing
            atexit.unregister(self.close)


class File(Console):
    """Output into a file, a pipe or a device; a terminal or virtio port gives input, as it is."""

    def __init__(self, path: str, option: str) -> None:
        """`option` is how the command line asks for it, for messages. Raises UsageError."""
        try:
            output, gives_input = _open_output(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(
                f"{option}: {reason}; give the path of a file that can be written, or unix:PATH"
            ) from None
        self._descriptor: int | None = output
        super().__init__(output, output if gives_input else None)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def occupy_standard_files() -> None:
    """Open /dev/null where standard input, output or errors are closed.

    Before anything else is opened: a disk image must never become standard output.
    """
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.close(descriptor)


def open_console(name: str, option: str = "--console ") -> Console:
    """The console `name`: stdio, unix:PATH, or a file's path; `option` is what stands before it.

    Raises UsageError.
    """
    if name == STDIO:
        return Terminal()
    if name.startswith(SOCKET):
        from vestige.host.console_socket import Socket  # noqa: PLC0415 - imports socket

        return Socket(name[len(SOCKET) :], option + name)
    return File(name, option + name)


def raw(attributes: "list[Any]") -> "list[Any]":
    """`attributes` of a terminal with every key given to the guest but Ctrl-].

    Output keeps its processing, so that our own messages stay lines.
    """
    changed = list(attributes)
    changed[INPUT_MODES] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    changed[LOCAL_MODES] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    changed[LOCAL_MODES] |= termios.ISIG
    characters = list(attributes[CHARACTERS])
    characters[termios.VINTR] = ESCAPE
    characters[termios.VQUIT] = characters[termios.VSUSP] = DISABLED
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    changed[CHARACTERS] = characters
    return changed


def _open_output(path: str) -> tuple[int, bool]:
    """A descriptor to write to, and whether to read from it too."""
    common = os.O_NOCTTY | os.O_CLOEXEC
    if _is_virtio_port(path):  # to close one drops what it has received: it is opened once
        return os.open(path, os.O_RDWR | common), True
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | common, 0o666)
    if not os.isatty(descriptor):
        return descriptor, False
    os.close(descriptor)
    return os.open(path, os.O_RDWR | common), True


def _is_virtio_port(path: str) -> bool:
    """Whether `path` is a port of this machine's own virtio console."""
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib is slow to import
    except OSError:  # opening says why
        return False
    device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    subsystem = os.path.realpath(f"/sys/dev/char/{device}/subsystem")
    return stat.S_ISCHR(status.st_mode) and subsystem.endswith("/virtio-ports")


def _in_background() -> bool:
    """Whether reading or changing our terminal would stop us: its foreground is another's."""
    if not os.isatty(0):
        return False
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:  # a terminal that does not control us stops nobody
        return False
