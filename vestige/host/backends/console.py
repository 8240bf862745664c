"""The other side of a console or a port: the terminal, a file; a socket is in console_socket.py.

The ring's files are sockets: relay.py moves the bytes between one of these and such a file.
"""

import os
import select
import stat
from _collections_abc import Sequence

from vestige.host.files.outputs import OutputFile
from vestige.host.messages import tell
from vestige.host.options import STDIO
from vestige.signals import Watch
from vestige.terminal import RawTerminal, guest_keys, in_background

LOOK = 0.5  # seconds between two looks whether the terminal is ours again
DESERTED = "nobody reads {} any more, which ends the run"  # what that is
SCREEN = "--display text"
CURE = "give the path of a file that can be written, or unix:PATH"


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

    @property
    def is_new(self) -> bool:
        """Whether it is a file that `prepare` makes."""
        return False

    def prepare(self) -> None:
        """The guest is about to run: make or empty the file; a second time does nothing.

        Raises UsageError.
        """

    def start(self) -> None:
        """The terminal is the guest's from now on."""

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
        # To close a virtio port drops what it has received: it is opened once.
        gives_input = _is_virtio_port(path)
        access = os.O_RDWR if gives_input else os.O_WRONLY
        self._file = OutputFile(path, option, CURE, watch, access)
        if os.isatty(self._file.descriptor):
            self._file.close()
            self._file, gives_input = OutputFile(path, option, CURE, watch, os.O_RDWR), True
        output = self._file.descriptor
        super().__init__(output, output if gives_input else None, option)

    @property
    def is_new(self) -> bool:
        """Whether there was none."""
        return self._file.is_new

    def prepare(self) -> None:
        """What an earlier guest has written goes."""
        self._file.prepare()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_virtio_port(path: str) -> bool:
    """Whether `path` is a port of this machine's own virtio console."""
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib is slow to import
    except (OSError, ValueError):  # opening says why
        return False
    device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    subsystem = os.path.realpath(f"/sys/dev/char/{device}/subsystem")
    return stat.S_ISCHR(status.st_mode) and subsystem.endswith("/virtio-ports")
