"""The other side of a console or a port: the terminal, a file; a socket is in console_socket.py.

The ring's files are sockets: relay.py moves the bytes between one of these and such a file.
"""

import os
import select
import stat
from _collections_abc import Sequence

from vestige.errors import UsageError
from vestige.host.files.outputs import empty, open_output
from vestige.host.messages import tell
from vestige.host.options import STDIO
from vestige.signals import Watch
from vestige.terminal import RawTerminal, guest_keys, in_background

LOOK = 0.5  # seconds between two looks whether the terminal is ours again
DESERTED = "nobody reads {} any more, which ends the run"  # what that is
SCREEN = "--display text"


class Console:
    """A console's descriptors: `output` always, `input` or None. Who opens one closes it.

    `is_socket`: they are those of a socket, which the ring may have. `name` is how it was asked
    for, `what` it is to a person. `deserted`: nobody will ever read the output any more, and the
    guest is to end for it.
    `look`: seconds after which `serve` is to be called though nothing has come; None: no need.
    """

    is_socket = False

    def __init__(self, output: int, input_: int | None, name: str = "") -> None:
        self.output = output
        self.input = input_
        self.name = name
        self.what = "the guest's console"
        self.deserted = False
        self.look: float | None = None

    def name_as_screen(self) -> None:
        """It is the terminal at which the guest's screen is shown."""
        self.name, self.what = SCREEN, "the guest's screen"

    def start(self) -> None:
        """The guest is about to run."""

    def go_on(self) -> None:
        """The process was stopped, and goes on."""

    def waits_for(self) -> dict[int, int]:
        """Descriptors this process must watch for the console, each with its poll events."""
        return {}

    def serve(self, ready: dict[int, int]) -> None:
        """Do what the poll events in `ready`, descriptor to events, allow."""

    def drain(self, watch: Watch, seconds: float) -> None:
        """The guest has gone: write what it left, as far as who reads it takes it in that time."""

    def close(self) -> None:
        """Give back what was taken; a second time does nothing."""


class Together(Console):
    """Several that are watched as one, whose own descriptors are the first one's."""

    def watched(self) -> Sequence[Console]:
        """All of them."""
        raise NotImplementedError

    def go_on(self) -> None:
        """The process was stopped, and goes on."""
        for console in self.watched():
            console.go_on()
        self._note_look()

    def waits_for(self) -> dict[int, int]:
        """What any of them waits for."""
        events: dict[int, int] = {}
        for console in self.watched():
            for descriptor, wanted in console.waits_for().items():
                events[descriptor] = events.get(descriptor, 0) | wanted
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Each looks for its own descriptors in `ready`."""
        for console in self.watched():
            console.serve(ready)
            if console.deserted:
                self.deserted, self.what = True, console.what
        self._note_look()

    def _note_look(self) -> None:
        looks = (console.look for console in self.watched())
        self.look = min((look for look in looks if look is not None), default=None)


class Terminal(Console):
    """Standard input and output. A terminal is raw while the guest runs, and then as before.

    Ctrl-C is the guest's there; Ctrl-] takes its place and ends the run.
    """

    def __init__(self) -> None:
        background = os.isatty(0) and in_background(0)
        super().__init__(1, None if background else 0, f"--console {STDIO}")
        self._raw = RawTerminal(0, guest_keys)

    def start(self) -> None:
        """Make a terminal raw, and say how to leave."""
        if self.input is None or not os.isatty(self.input):
            return
        tell("Ctrl-] ends the guest, Ctrl-C is the guest's")
        self._raw.start()

    def go_on(self) -> None:
        """The shell had the terminal meanwhile.

        No signal tells when `bg` is followed by `fg`: so that has to be looked for now and then.
        """
        self.look = None if self._raw.take_again() else LOOK

    def waits_for(self) -> dict[int, int]:
        """The end of who reads: poll(2) tells of it unasked."""
        return {self.output: 0}

    def serve(self, ready: dict[int, int]) -> None:
        """As a program that writes to a closed pipe ends, so does a guest that prints there."""
        if ready.get(self.output, 0) & (select.POLLERR | select.POLLHUP):
            self.deserted = True
        if self.look is not None:
            self.go_on()

    def close(self) -> None:
        """Restore the terminal."""
        self._raw.close()


class File(Console):
    """Output into a file, a pipe or a device; a terminal or virtio port gives input, as it is."""

    def __init__(self, path: str, option: str, watch: Watch | None = None) -> None:
        """`option` is how the command line asks for it, for messages.

        Raises UsageError, and Ended where `watch` ends the wait for who reads a FIFO.
        """
        try:
            output, gives_input = _open_output(path, watch)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(
                f"{option}: {reason}; give the path of a file that can be written, or unix:PATH"
            ) from error
        self._descriptor: int | None = output
        super().__init__(output, output if gives_input else None, option)

    def start(self) -> None:
        """What an earlier guest has written goes."""
        empty(self.output)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _open_output(path: str, watch: Watch | None) -> tuple[int, bool]:
    """A descriptor to write to, and whether to read from it too."""
    if _is_virtio_port(path):  # to close one drops what it has received: it is opened once
        return open_output(path, watch, os.O_RDWR), True
    descriptor = open_output(path, watch)
    if not os.isatty(descriptor):
        return descriptor, False
    os.close(descriptor)
    return open_output(path, watch, os.O_RDWR), True


def _is_virtio_port(path: str) -> bool:
    """Whether `path` is a port of this machine's own virtio console."""
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib is slow to import
    except OSError:  # opening says why
        return False
    device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    subsystem = os.path.realpath(f"/sys/dev/char/{device}/subsystem")
    return stat.S_ISCHR(status.st_mode) and subsystem.endswith("/virtio-ports")
