"""A console or a port behind a listening Unix socket.

Clients come and go, and the ring's files are fixed: so a socket pair stands between, one end
the ring's, and this process moves bytes between the other end and the client.
"""

import contextlib
import os
import select
import socket
from pathlib import Path

from vestige.errors import UsageError
from vestige.host.console import Console

PATH_LIMIT = 107  # bytes: sun_path is 108 with its NUL, unix(7)
BACKLOG = 64 * 1024  # bytes of output kept for a client that is slow or not there yet
INPUT_LIMIT = 4096
HANGUP = select.POLLHUP | select.POLLERR


class Socket(Console):
    """One client at a time, the next one waits; output without a client: the latest is kept."""

    def __init__(self, path: str, option: str) -> None:
        """Listen at `path`; `option` is for messages. Raises UsageError."""
        self._path: str | None = path
        self._listener = _listen(path, option)
        self._guest, self._ring = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._guest.setblocking(False)
        self._client: socket.socket | None = None
        self._output = bytearray()  # from guest to client
        self._input = bytearray()  # from client to guest
        super().__init__(self._ring.fileno(), self._ring.fileno())

    def waits_for(self) -> dict[int, int]:
        """The guest's end, and the client or the listener."""
        guest = select.POLLOUT if self._input else 0
        if self._client is None or len(self._output) < BACKLOG:
            guest |= select.POLLIN
        events = {self._guest.fileno(): guest}
        if self._client is None:
            events[self._listener.fileno()] = select.POLLIN
        else:
            client = select.POLLOUT if self._output else 0
            if len(self._input) < INPUT_LIMIT:
                client |= select.POLLIN
            events[self._client.fileno()] = client
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved, take the next client, let go of one that left."""
        guest = ready.get(self._guest.fileno(), 0)
        if guest & select.POLLIN:
            self._output += self._guest.recv(INPUT_LIMIT)
        if guest & select.POLLOUT:
            del self._input[: self._guest.send(self._input)]
        if self._client is None:
            del self._output[:-BACKLOG]
            if self._listener.fileno() in ready:
                self._client = self._listener.accept()[0]
                self._client.setblocking(False)
        elif events := ready.get(self._client.fileno(), 0):
            try:
                self._serve_client(self._client, events)
            except OSError:
                self._client.close()
                self._client = None

    def _serve_client(self, client: socket.socket, events: int) -> None:
        """Raises OSError where the client is gone."""
        if events & select.POLLOUT:
            del self._output[: client.send(self._output)]
        if events & (select.POLLIN | HANGUP):
            data = client.recv(INPUT_LIMIT)
            if not data:
                raise ConnectionResetError
            self._input += data

    def close(self) -> None:
        """Give the client what is left, close all, remove the socket's name."""
        path, self._path = self._path, None
        if path is None:
            return
        if self._client is not None:
            with contextlib.suppress(OSError):
                while data := self._guest.recv(BACKLOG):
                    self._output += data
            with contextlib.suppress(OSError):
                self._client.send(self._output)
            self._client.close()
        for end in (self._guest, self._ring, self._listener):
            end.close()
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _listen(path: str, option: str) -> socket.socket:
    """Listen at `path`, taking over a name whose owner is gone."""
    size = len(os.fsencode(path))
    if not 1 <= size <= PATH_LIMIT:
        raise UsageError(f"{option}: a path of {size} bytes; a socket's has 1 to {PATH_LIMIT}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(path)
        except OSError:
            _remove_stale(path, option)
            listener.bind(path)
        listener.listen(1)
    except (OSError, ValueError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: {reason}; give another path") from None
    except UsageError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str, option: str) -> None:
    """Remove the socket at `path` if nobody listens there. Raises UsageError if someone does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except OSError:
            return  # nothing there, or no socket: binding again says what
        else:
            raise UsageError(f"{option}: another process listens there; end it first")
    # A plain file refuses a connection too; only a socket is ours to remove.
    if Path(path).is_socket():
        Path(path).unlink()
