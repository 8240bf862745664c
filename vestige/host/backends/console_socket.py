"""A console or a port behind a listening Unix socket.

Clients come and go, and the ring's files are fixed: so a socket pair stands between, one end
the ring's, and this process moves bytes between the other end and the client.
"""

import contextlib
import os
import select
import socket
import stat
from pathlib import Path

from vestige.errors import UsageError
from vestige.host import limits
from vestige.host.backends.console import Console
from vestige.host.messages import tell

PATH_LIMIT = 107  # bytes: sun_path is 108 with its NUL, unix(7)
BACKLOG = 64 * 1024  # bytes of output kept for a client that is slow or not there yet
INPUT_LIMIT = 4096
WAITING = 64  # clients that wait for their turn
HANGUP = select.POLLHUP | select.POLLERR


class Socket(Console):
    """One client at a time, the next one waits; output without a client: the latest is kept.

    A client that has ended its input, as nc -N and socat do, is one until it is gone altogether.
    """

    is_socket = True

    def __init__(self, path: str, option: str, end: bytes = b"") -> None:
        """Listen at `path`; `option` is for messages, `end` follows all that a client has sent.

        Raises UsageError, and OSError for limits.
        """
        self._option, self._end = option, end
        self._guest, self._ring = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._guest.setblocking(False)
        self._place = -1  # the descriptor that a client will have
        try:
            self._place = os.dup(self._guest.fileno())
            self._listener = listen(path, option)
        except BaseException:
            self._close_all(self._guest, self._ring)
            raise
        self._path: str | None = path
        self._name = identity(path)
        self._client: socket.socket | None = None
        self._reads = self._writes = False  # whether the client may still send, and take
        self._refused = False  # the last client could not be taken; it waits
        self._told = False
        self._output = bytearray()  # from guest to client
        self._input = bytearray()  # from client to guest
        super().__init__(self._ring.fileno(), self._ring.fileno())

    def waits_for(self) -> dict[int, int]:
        """The guest's end, and the client or the listener."""
        guest = select.POLLOUT if self._input else 0
        if not self._writes or len(self._output) < BACKLOG:
            guest |= select.POLLIN
        events = {self._guest.fileno(): guest}
        if self._client is not None:
            client = select.POLLOUT if self._writes and self._output else 0
            if self._reads and len(self._input) < INPUT_LIMIT:
                client |= select.POLLIN
            events[self._client.fileno()] = client
        elif not self._refused:  # else poll(2) would tell of that one for ever
            events[self._listener.fileno()] = select.POLLIN
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved, take the next client, let go of one that left."""
        guest = ready.get(self._guest.fileno(), 0)
        if guest & select.POLLIN:
            self._output += self._guest.recv(INPUT_LIMIT)
        if guest & select.POLLOUT:
            del self._input[: self._guest.send(self._input)]
        if not self._writes:
            del self._output[:-BACKLOG]
        if self._client is not None:
            self._serve_client(self._client, ready.get(self._client.fileno(), 0))
        elif self._refused or self._listener.fileno() in ready:
            self._take_client()

    def _take_client(self) -> None:
        """The next client, if there is one. One that can't be taken waits for the next occasion.

        A descriptor is kept for it, so no limit on those is in its way.
        """
        self._give_place()
        self._refused = False
        try:
            self._client = self._listener.accept()[0]
        except BlockingIOError:
            self._keep_place()
        except OSError as error:
            self._keep_place()
            self._refused = True
            if not self._told:
                self._told = True
                tell(str(limits.refusal(f"{self._option}: a client has to wait", error.errno or 0)))
        else:
            self._client.setblocking(False)
            self._reads = self._writes = True

    def _keep_place(self) -> None:
        with contextlib.suppress(OSError):  # somebody was faster: it has to do without
            self._place = os.dup(self._guest.fileno())

    def _give_place(self) -> None:
        place, self._place = self._place, -1
        if place >= 0:
            os.close(place)

    def _serve_client(self, client: socket.socket, events: int) -> None:
        """What it sent before it left is read to the end first, however much that is."""
        if events & HANGUP:
            self._writes = False
        if self._reads and events & (select.POLLIN | HANGUP):
            self._read(client)
        if self._writes and events & select.POLLOUT:
            self._write(client)
        if not self._reads and not self._writes:
            client.close()
            self._client = None
            self._keep_place()

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(INPUT_LIMIT)
        except ConnectionError:  # it left without reading all it was sent
            data = b""
        self._input += data or self._end
        self._reads = bool(data)

    def _write(self, client: socket.socket) -> None:
        try:
            del self._output[: client.send(self._output)]
        except BlockingIOError:
            pass
        except OSError:
            self._writes = False

    def close(self) -> None:
        """Give the client what is left, close all, remove the socket's name if it is still that."""
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
        remove(path, self._name)
        self._close_all(self._guest, self._ring, self._listener)

    def _close_all(self, *ends: socket.socket) -> None:
        self._give_place()
        for end in ends:
            end.close()


def identity(path: str) -> tuple[int, int] | None:
    """What tells the file at `path` from all others that there are."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove(path: str, known: tuple[int, int] | None) -> None:
    """Remove the name of a socket that still listens, if the file there is what was known.

    As long as the listener is open, no other file can have its inode.
    """
    if identity(path) == known:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def listen(path: str, option: str, *, mode: int | None = None) -> socket.socket:
    """Listen at `path`, taking over a name whose owner is gone.

    `mode`: the socket's, None: as umask has it. Raises UsageError.
    """
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
        if mode is not None:
            Path(path).chmod(mode)
        listener.listen(WAITING)
        listener.setblocking(False)
    except (OSError, ValueError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: {reason}; give another path") from error
    except UsageError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str, option: str) -> None:
    """Remove the socket at `path` if nobody listens there.

    Raises UsageError if someone does, or if something else is there, which stays.
    """
    # A plain file refuses a connection, too, and so does what a link leads to.
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageError(f"{option}: something is there that is no socket; give another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            listens = False
        except BlockingIOError:  # its queue is full
            listens = True
        except OSError:
            return  # nothing there, or no socket: binding again says what
        else:
            listens = True
    if listens:
        raise UsageError(f"{option}: another process listens there; end it first")
    Path(path).unlink(missing_ok=True)
