"""Where those connect who look on: a TCP port or a Unix socket, and the password they give.

In the run's own process, which hands each on to the viewer's and hears no word of theirs.
"""

import _socket
import errno
import os
import select
import stat
from _collections_abc import Callable

from vestige.errors import UsageError
from vestige.host.messages import tell
from vestige.host.viewer.option import DisplayOption, family
from vestige.viewer.rfb.spec import PASSWORD_SIZE

PORTS = range(5900, 6000)  # that VNC has, one a display
BACKLOG = 4
LETTERS = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no two that look alike
OTHERS, OWN = 0o077, 0o600  # of modes
PRINTABLE = range(0x20, 0x7F)

Taker = Callable[[int], object]


class Listener:
    """One `--display vnc`. `password`: None: none is asked for."""

    def __init__(self, option: DisplayOption) -> None:
        """Listen. Raises UsageError where somebody does already, or the password can't be had."""
        self._option = option
        self.password = _password(option)
        self.filter: bytes | None = None
        self._taker: Taker | None = None
        self._identity: tuple[int, int] | None = None
        self._socket = self._listen_at_path(option.path) if option.path else self._listen_at_port()
        self._socket.setblocking(False)
        self._spare = -1  # the descriptor that the next will have
        self._is_closed = False

    def _listen_at_port(self) -> _socket.socket:
        option = self._option
        for port in PORTS if option.port is None else (option.port,):
            made = _socket.socket(family(option.host), _socket.SOCK_STREAM)
            try:
                made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
                made.bind((option.host, port))
                made.listen(BACKLOG)
            except OSError as error:
                made.close()
                if error.errno == errno.EADDRINUSE and option.port is None:
                    continue
                raise self._refusal(error) from None
            option.port = port
            return made
        raise UsageError(
            f"--display vnc: another display is at each port from {PORTS[0]} to {PORTS[-1]}; give"
            " one, like vnc:127.0.0.1:6000"
        )

    def _listen_at_path(self, path: str) -> _socket.socket:
        """For this user alone. A name at which nobody listens any more is taken over."""
        from vestige.host.backends.console_socket import identity, listen  # noqa: PLC0415 - slow

        made = listen(path, f"--display vnc:unix:{path}", mode=OWN)
        self._identity = identity(path)
        return made

    def _refusal(self, error: OSError | ValueError) -> UsageError:
        place = self._option.place
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return UsageError(f"--display vnc:{place}: in use; give another place")
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return UsageError(f"--display vnc:{place}: {reason}; give another place")

    def begin(self, taker: Taker) -> None:
        """Take those that connect; `taker` has no descriptor of theirs for longer than its call."""
        self._taker = taker
        made_up = self.password is not None and self._option.password_file is None
        words = f", the password is {self.password.decode()}" if made_up and self.password else ""
        tell(f"the screen is at vnc:{self._option.place}{words}")

    def waits_for(self) -> dict[int, int]:
        """The socket, once somebody takes those that connect."""
        if self._taker is None or not self._has_place():
            return {}
        return {self._socket.fileno(): select.POLLIN}

    def serve(self, ready: dict[int, int]) -> None:
        """Take the next."""
        if self._taker is None or self._socket.fileno() not in ready:
            return
        os.close(self._spare)
        self._spare = -1
        try:
            descriptor, _ = self._socket._accept()  # type: ignore[attr-defined] # socket is slow to import
        except OSError:  # it has gone again, or somebody was faster with the descriptor
            return
        client = _socket.socket(self._socket.family, _socket.SOCK_STREAM, 0, descriptor)
        try:
            client.setblocking(False)
            if client.family != _socket.AF_UNIX:
                client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._taker(descriptor)
        except OSError:  # it has gone
            return
        finally:
            client.close()

    def _has_place(self) -> bool:
        """Whether a descriptor is kept for the next; where there is none, that one waits."""
        if self._spare < 0:
            try:
                self._spare = os.dup(self._socket.fileno())
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Listen no more; a second time does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._taker = None
        if self._option.path is not None:
            from vestige.host.backends.console_socket import remove  # noqa: PLC0415 - slow

            remove(self._option.path, self._identity)
        if self._spare >= 0:
            os.close(self._spare)
        self._socket.close()


def _password(option: DisplayOption) -> bytes | None:
    """What a file has, or one made up; at a Unix socket, which its mode guards, none."""
    if option.password_file is not None:
        return _read_password(option.password_file)
    if option.path is not None:
        return None
    letters = len(LETTERS)
    most = 256 - 256 % letters  # bytes from there on would make some letters likelier
    found = bytearray()
    while len(found) < PASSWORD_SIZE:
        found += bytes(LETTERS[each % letters] for each in os.urandom(PASSWORD_SIZE) if each < most)
    return bytes(found[:PASSWORD_SIZE])


def _read_password(path: str) -> bytes:
    """The first line of a file that nobody else can read. Raises UsageError."""
    words = f"--display: password-file={path}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{words}: {reason}; give a file with a password in its first line"
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{words}: not a file; give one with a password in its first line")
        if status.st_uid not in (0, os.geteuid()):
            raise UsageError(f"{words}: another user's; give a file of your own")
        if status.st_mode & OTHERS:
            raise UsageError(f"{words}: others can read or change it; chmod 600 {path}")
        data = os.read(descriptor, 4096)
    except OSError as error:
        raise UsageError(
            f"{words}: {error.strerror}; give a file with a password in its first line"
        ) from None
    finally:
        os.close(descriptor)
    password = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not 1 <= len(password) <= PASSWORD_SIZE or any(each not in PRINTABLE for each in password):
        raise UsageError(
            f"{words}: VNC has passwords of 1 to {PASSWORD_SIZE} ASCII characters, and the first"
            f" line there has {len(password)} bytes; have it be such a one"
        )
    return password
