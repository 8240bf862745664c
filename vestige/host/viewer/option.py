"""`--display`: where the guest's screen is shown."""

import _socket
import os

from vestige.errors import UsageError
from vestige.host.numbers import plain
from vestige.host.options import SOCKET, NamedValues
from vestige.viewer.layouts import LAYOUTS, US

VNC, TEXT = "vnc", "text"
LOOPBACK = "127.0.0.1"
LOOPBACK_6 = "::1"
FORM = "vnc[:HOST:PORT|:unix:PATH][,password-file=FILE][,layout=NAME], or text[,layout=NAME]"
MOST_PORT = 65_535


class DisplayOption(NamedValues):
    """One `--display`, of `kind` VNC or TEXT.

    `host`: a numeric address; `port`: None: the first that is free; or `path`: of a Unix socket.
    `password_file`: None: a password is made up, or none is asked for at a Unix socket; `layout`:
    of the guest's keyboard.
    """

    __slots__ = ("host", "kind", "layout", "password_file", "path", "port")

    def __init__(
        self,
        kind: str = VNC,
        host: str = LOOPBACK,
        port: int | None = None,
        path: str | None = None,
        password_file: str | None = None,
        layout: str = US,
    ) -> None:
        self.kind, self.host, self.port, self.path = kind, host, port, path
        self.password_file, self.layout = password_file, layout

    @property
    def takes_terminal(self) -> bool:
        """Whether it is at standard input and output."""
        return self.kind == TEXT

    def check_terminal(self) -> None:
        """Raise UsageError where it is to be at a terminal, and there is none."""
        if not self.takes_terminal:
            return
        for descriptor, name in enumerate(("standard input", "standard output")):
            if not os.isatty(descriptor):
                raise UsageError(
                    f"--display {TEXT}: {name} is no terminal, where the screen would be; type the"
                    f" command at one and leave its input and output there, or give --display {VNC}"
                )

    @property
    def place(self) -> str:
        """As it was given."""
        if self.path is not None:
            return f"{SOCKET}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_display(text: str) -> DisplayOption:
    """What FORM says; a comma in a path is written twice. Raises UsageError."""
    words = text.replace(",,", "\0").split(",")
    first, *others = (word.replace("\0", ",") for word in words)
    kind, colon, address = first.partition(":")
    if kind not in (VNC, TEXT) or (kind == TEXT and colon):
        raise UsageError(f"--display {text}: give {FORM}")
    option = DisplayOption(kind)
    if kind == VNC and colon:
        _read_address(option, address, text)
    for word in others:
        name, _, value = word.partition("=")
        if name == "layout":
            if value not in LAYOUTS:
                raise UsageError(
                    f"--display {text}: no layout {value!r}; there are {', '.join(LAYOUTS)}"
                )
            option.layout = value
        elif name == "password-file" and value and kind == VNC:
            option.password_file = value
        else:
            known = "password-file=FILE and layout=NAME" if kind == VNC else "layout=NAME"
            raise UsageError(f"--display {text}: unknown option {word!r}; there is {known}")
    if option.path is not None and option.password_file is not None:
        raise UsageError(
            f"--display {text}: a Unix socket is its user's alone, and asks for no password; leave"
            " password-file out"
        )
    if option.path is None and not is_loopback(option.host) and option.password_file is None:
        raise UsageError(
            f"--display {text}: others than this machine's users reach that address; give"
            " password-file=FILE, too, or 127.0.0.1 and reach it by ssh -L"
        )
    return option


def _read_address(option: DisplayOption, address: str, text: str) -> None:
    if address.startswith(SOCKET):
        option.path = address.removeprefix(SOCKET)
        if not option.path:
            raise UsageError(f"--display {text}: no path; give vnc:unix:PATH")
        return
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if ":" in host else host
    option.host = LOOPBACK if bare == "localhost" else bare
    try:
        _socket.inet_pton(family(option.host), option.host)
    except (OSError, ValueError):
        raise UsageError(
            f"--display {text}: not an address; give one as numbers, and a port, like"
            " vnc:127.0.0.1:5900"
        ) from None
    try:
        option.port = int(plain(port))
    except ValueError:
        option.port = 0
    if not 0 < option.port <= MOST_PORT:
        raise UsageError(f"--display {text}: no port {port!r}; give one from 1 to {MOST_PORT}")


def family(host: str) -> int:
    """Of a numeric address."""
    return _socket.AF_INET6 if ":" in host else _socket.AF_INET


def is_loopback(host: str) -> bool:
    """Whether only this machine's users reach an address."""
    return host == LOOPBACK_6 or host.startswith("127.")
