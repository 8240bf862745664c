"""The caller's terminal: raw while something runs on it, and then as it was. termios(3)."""

import atexit
import os
from _collections_abc import Callable

# termios is not imported for a run that has no terminal.
# ruff: noqa: PLC0415

TYPE_CHECKING = False  # typing's, which would be slow to import
if TYPE_CHECKING:
    from typing import Any

ESCAPE = b"\x1d"  # Ctrl-]
DISABLED = b"\0"  # _POSIX_VDISABLE
INPUT_MODES, OUTPUT_MODES, CONTROL_MODES, LOCAL_MODES, CHARACTERS = 0, 1, 2, 3, 6
DEFAULT_SIZE = (24, 80)
STANDARD_ERROR = 2
ESC = b"\x1b"
# Lines wrap (DECAWM), the cursor shows (DECTCEM), no attributes (SGR): XTerm Control Sequences.
IN_ORDER = b"\x1b[?7h\x1b[?25h\x1b[m"

Mode = Callable[["list[Any]"], "list[Any]"]


def in_background(descriptor: int) -> bool:
    """Whether reading or changing the terminal would stop us: its foreground is another's."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except OSError:  # a terminal that does not control us stops nobody
        return False


def size(descriptor: int) -> tuple[int, int]:
    """Rows and columns of a terminal, of one that does not know them DEFAULT_SIZE.

    A serial line says 0, which would mean no terminal at all to whom it is told; one that has hung
    up says nothing.
    """
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        return DEFAULT_SIZE
    return found.lines or DEFAULT_SIZE[0], found.columns or DEFAULT_SIZE[1]


def all_keys(attributes: "list[Any]") -> "list[Any]":
    """`attributes` of a terminal that gives every key as it is, and changes nothing it is sent."""
    import termios

    changed = guest_keys(attributes)
    changed[OUTPUT_MODES] &= ~termios.OPOST
    changed[LOCAL_MODES] &= ~termios.ISIG
    return changed


def guest_keys(attributes: "list[Any]") -> "list[Any]":
    """`attributes` of a terminal with every key given to the guest but Ctrl-].

    Output keeps its processing, so that our own messages stay lines.
    """
    import termios

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
    changed[CONTROL_MODES] &= ~(termios.CSIZE | termios.PARENB)
    changed[CONTROL_MODES] |= termios.CS8
    changed[LOCAL_MODES] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    changed[LOCAL_MODES] |= termios.ISIG
    characters = list(attributes[CHARACTERS])
    characters[termios.VINTR] = ESCAPE
    characters[termios.VQUIT] = characters[termios.VSUSP] = DISABLED
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    changed[CHARACTERS] = characters
    return changed


class Traces:
    """What a guest's output leaves behind on a terminal, and what puts that in order.

    SeaBIOS has lines no longer wrap, and no guest that is ended puts its modes back.
    """

    def __init__(self) -> None:
        self._has_escapes = self._is_in_line = False

    def note(self, data: bytes) -> None:
        """`data` goes there."""
        self._has_escapes = self._has_escapes or ESC in data
        if shown := data.removesuffix(IN_ORDER):
            self._is_in_line = not shown.endswith(b"\n")

    def line_end(self) -> bytes:
        """What has lines on standard error, if that is a terminal too, begin as lines."""
        return b"\r\n" if self._is_in_line and os.isatty(STANDARD_ERROR) else b""

    def ending(self) -> bytes:
        """What is to be written last: nothing, of a guest that left nothing."""
        return (IN_ORDER if self._has_escapes else b"") + self.line_end()


class RawTerminal:
    """A terminal in a mode of ours, from `start` to `close`. What was typed before is kept."""

    def __init__(self, descriptor: int, mode: Mode) -> None:
        """`mode` makes our attributes from the terminal's: guest_keys or all_keys."""
        self._descriptor = descriptor
        self._mode = mode
        self._saved: list[Any] | None = None

    def start(self) -> None:
        """Take it, and put it back at the end of the process at the latest."""
        if self._saved is not None:
            return
        import termios

        try:
            self._saved = termios.tcgetattr(self._descriptor)
        except termios.error:  # it has hung up
            return
        atexit.register(self.close)
        self._set(self._mode(self._saved))

    def take_again(self) -> bool:
        """We were stopped and go on: whoever had it meanwhile may have changed it.

        False: it is still another's, which we are in the background of.
        """
        if self._saved is None:
            return True
        if in_background(self._descriptor):
            return False
        self._set(self._mode(self._saved))
        return True

    def close(self) -> None:
        """Put it back as it was; a second time does nothing."""
        saved, self._saved = self._saved, None
        if saved is None:
            return
        atexit.unregister(self.close)
        if in_background(self._descriptor):  # whose it is now has set it as it should be
            return
        self._set(saved)

    def _set(self, attributes: "list[Any]") -> None:
        import termios

        try:  # noqa: SIM105 - contextlib is slow to import
            termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)
        except termios.error:
            pass  # a terminal that hung up needs nothing
