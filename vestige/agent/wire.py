"""The socket on which a guest's agent is asked; whoever waits for it waits otherwise: blocking.py,
asynchronous.py.
"""

import errno
import os
import socket

from vestige.agent.talk import Came, Exchange, UnreachedError
from vestige.errors import GuestError

PATH_LIMIT = 107  # bytes: sun_path is 108 with its NUL, unix(7)
PIECE = 64 << 10  # bytes taken at once


class Wire:
    """A connection, or none yet, to the Unix socket at `path`, which may be of any length."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._end: socket.socket | None = None

    def fileno(self) -> int:
        """For poll(2), while there is a connection."""
        return -1 if self._end is None else self._end.fileno()

    def connect(self) -> None:
        """A new connection in the place of the one that there is.

        Raises UnreachedError, GuestError.
        """
        self.close()
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.setblocking(False)
            _connect(end, self.path)
        except BlockingIOError:
            end.close()
            raise GuestError(
                f"{self.path}: too many wait for this guest's agent; ask less at once"
            ) from None
        except (OSError, ValueError) as error:
            end.close()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            raise UnreachedError(
                f"{self.path}: {reason}; a run with --agent has its agent's socket, `vestige ps"
                " --json` tells where"
            ) from None
        except BaseException:
            end.close()
            raise
        self._end = end

    def move(self, step: Exchange, now: float) -> Came:
        """What can be sent and received at once."""
        if self._end is None:
            return Came(now, 0, None)
        sent, received = 0, b""
        try:
            received = self._end.recv(PIECE)
            if not received:
                return Came(now, 0, None)
        except BlockingIOError:
            pass
        except OSError as error:
            _refuse_other(error)
            return Came(now, 0, None)
        try:
            sent = self._end.send(step.data) if step.data else 0
        except BlockingIOError:
            pass
        except OSError as error:  # what came before is told first
            _refuse_other(error)
            return Came(now, 0, received or None)
        return Came(now, sent, received)

    def close(self) -> None:
        """Let the connection go, if there is one."""
        end, self._end = self._end, None
        if end is not None:
            try:
                end.close()
            except OSError as error:
                _refuse_other(error)


def _refuse_other(error: OSError) -> None:
    """Raise an error that is not the end of a connection.

    EBADF is one in a steward, where a run that ends closes all that its threads have open.
    """
    if not isinstance(error, ConnectionError) and error.errno != errno.EBADF:
        raise error


def _connect(end: socket.socket, path: str) -> None:
    """Raises OSError, ValueError, and BlockingIOError where too many wait to be connected."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        end.connect(path)
        return
    folder, name = os.path.split(path)
    above = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end.connect(f"/proc/thread-self/fd/{above}/{name}")
    finally:
        os.close(above)
