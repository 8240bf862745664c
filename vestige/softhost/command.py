"""One command in the software host, seen from outside."""

import os
import select
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from signal import SIGKILL, SIGPIPE
from typing import BinaryIO

from vestige.errors import GuestError, UsageError
from vestige.softhost import wire

Sink = int | BinaryIO


class SoftHostError(GuestError):
    """The software host itself failed: it did not boot, panicked, or fell silent.

    What its console said last follows, line by line.
    """

    has_lines = True


class Command:
    """A command that runs, or has ended, in the software host.

    Made by `SoftHost.spawn`. Somebody has to carry the output: `wait` does, called by one thread;
    or who has a loop of its own takes `events` and calls `taken`.
    """

    def __init__(
        self,
        number: int,
        send: Callable[[bytes], None],
        stdout: Sink,
        stderr: Sink,
        wake: int | None = None,
    ) -> None:
        """`wake` is an eventfd, written whenever there is an event."""
        self.number = number
        self.events: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._send = send
        self._wake = wake
        self._sinks = {wire.OUTPUT: stdout, wire.ERRORS: stderr}
        self._status: int | None = None

    def tell(self, kind: int, payload: bytes) -> None:
        """An event: output, the end, or link.FAILED. Called by the link's thread."""
        self.events.put((kind, payload))
        if self._wake is not None:
            os.eventfd_write(self._wake, 1)

    def wait(self, timeout: float | None = None) -> int:
        """Carry output until the command ends; its exit status, 128 + N where signal N ended it.

        Raises TimeoutError after `timeout` seconds (the command goes on: `kill` it or wait
        again), SoftHostError if the software host fails meanwhile.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._status is None:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                kind, payload = self.events.get(timeout=remaining)
            except Empty:
                raise TimeoutError(f"the command did not end within {timeout:g} s") from None
            if kind in self._sinks:
                self._deliver(kind, payload)
            else:
                self._status = status_of(kind, payload)
        return self._status

    def signal(self, number: int) -> None:
        """Send a signal to the command's process group. Safe in a signal handler."""
        self._send(wire.encode_word(wire.SIGNAL, self.number, number))

    def kill(self) -> None:
        """End the command's process group at once."""
        self.signal(SIGKILL)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the command's terminal its size. Safe in a signal handler."""
        self._send(wire.encode_pair(wire.RESIZE, self.number, rows, columns))

    def _deliver(self, kind: int, payload: bytes) -> None:
        sink = self._sinks[kind]
        try:
            if isinstance(sink, int):
                _write(sink, payload)
            else:
                sink.write(payload)
                sink.flush()
        except BrokenPipeError:
            self.signal(SIGPIPE)  # as if the command had written to the closed pipe itself
        except OSError as error:
            raise UsageError(
                f"the command's output can't be written: {error.strerror}; make room or send it "
                "elsewhere"
            ) from None
        self.taken(kind, len(payload))

    def taken(self, kind: int, count: int) -> None:
        """So many bytes of the stream `kind` have been carried off: there may be as many more."""
        self._send(wire.encode_pair(wire.CREDIT, self.number, kind, count))


def status_of(kind: int, payload: bytes) -> int:
    """The exit status in an event that is no output. Raises SoftHostError: the host has failed."""
    if kind != wire.EXIT:
        raise SoftHostError(payload.decode(errors="replace"))
    return wire.decode_word(payload)


def _write(descriptor: int, data: bytes) -> None:
    """Write all, even to a descriptor that someone else made non-blocking."""
    written = 0
    while written < len(data):
        try:
            written += os.write(descriptor, data[written:])
        except BlockingIOError:
            select.select([], [descriptor], [])
