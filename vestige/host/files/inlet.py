"""A stream of the caller's that bytes are read from without ever waiting for who writes it."""

import os
import select

from vestige.host.files.nonblocking import Nonblocking
from vestige.terminal import in_background


class Inlet:
    """Reads from `descriptor` what is there. `ended`: nothing will ever come."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._file = Nonblocking(descriptor, os.O_RDONLY)

    @property
    def is_anothers(self) -> bool:
        """Whether it is a terminal that we are in the background of: to read it would stop us."""
        return self._file.is_terminal and in_background(self.descriptor)

    def read(self, size: int) -> bytes:
        """At most so many bytes, as many as are there."""
        try:
            data = self._read(size)
        except BlockingIOError:
            return b""
        except OSError:  # a terminal that has gone
            data = b""
        self.ended = not data
        return data

    def _read(self, size: int) -> bytes:
        if self._file.is_socket:
            import socket  # noqa: PLC0415 - few inputs are one

            with socket.socket(fileno=os.dup(self.descriptor)) as end:
                return end.recv(size, socket.MSG_DONTWAIT)
        if not self._file.is_sure:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if not poll.poll(0):
                raise BlockingIOError
        return os.read(self._file.descriptor, size)

    def close(self) -> None:
        """Give back what was opened; the caller's own stays open."""
        self._file.close()
