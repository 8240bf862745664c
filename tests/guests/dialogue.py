"""Somebody at a guest's serial console: reads what appears, and types.

What is read is text: no carriage returns, and nothing that moves a terminal's cursor. Where a PC
has a screen too, its BIOS moves the serial terminal's after each tick of its timer, in the middle
of words. Source: ECMA-48, 5.4 (control sequences).
"""

import codecs
import os
import re
import select
import time
from collections.abc import Callable

_AT_ONCE = 12  # characters: a BIOS keeps 15 keys
_BLOCK = 65536
_STEERING = re.compile(rb"\r|\x1b\[[0-?]*[@-~]|\x1b[^\[]")
_BEGUN = re.compile(rb"\x1b(\[[0-?]*)?$")  # of one that isn't all there yet


def _show_nothing(_text: str) -> None:
    """For who need not watch."""


class Dialogue:
    """By two descriptors: `console` is the guest's output, `keys` its input."""

    DONE = "done-42"  # a line of the shell's after each answer

    def __init__(
        self,
        console: int,
        keys: int,
        patience: float,
        show: Callable[[str], None] = _show_nothing,
    ) -> None:
        """`patience` in seconds is for each answer; `show` gets all that appears."""
        self._console, self._keys = console, keys
        self._patience, self._show = patience, show
        self._seen = b""
        self._rest = b""  # the beginning of what steers a terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # it may be cut anywhere

    def _read(self, seconds: float) -> bool:
        """Read some more; False at the console's end. Raises TimeoutError."""
        if not select.select([self._console], [], [], max(seconds, 0))[0]:
            raise TimeoutError(f"nothing more for {self._patience:.0f} s after {self._seen!r}")
        more = os.read(self._console, _BLOCK)
        text = _STEERING.sub(b"", self._rest + more)
        begun = _BEGUN.search(text)
        self._rest = begun[0] if begun else b""
        text = text.removesuffix(self._rest)
        self._seen += text
        self._show(self._decoder.decode(text, final=not more))
        return bool(more)

    def read_until(self, mark: str) -> str:
        """All that appears before `mark`. Raises TimeoutError where it does not come."""
        wanted = mark.encode()
        deadline = time.monotonic() + self._patience
        while wanted not in self._seen:
            if not self._read(deadline - time.monotonic()):
                raise TimeoutError(f"{mark!r} does not come; there is {self._seen!r}")
        before, _, self._seen = self._seen.partition(wanted)
        return before.decode(errors="replace")

    def type(self, text: str) -> None:
        """Keys, each few of them once the last have been echoed."""
        for start in range(0, len(text), _AT_ONCE):
            part = text[start : start + _AT_ONCE]
            os.write(self._keys, part.encode())
            if start + _AT_ONCE < len(text):
                self.read_until(part[-1])

    def log_in(self) -> str:
        """As root, without a password, to a shell that echoes nothing; what was said before."""
        before = self.read_until(" login: ")
        os.write(self._keys, b"root\n")
        self.read_until("root@")
        os.write(self._keys, b"exec dash\n")  # which prints nothing to make a terminal look well
        self.read_until("# ")
        os.write(self._keys, b"stty -echo; PS1=\n")
        self.ask("true")
        return before

    def ask(self, command: str) -> str:
        """What a command of that shell's prints."""
        os.write(self._keys, f"{command}; echo done-$((40 + 2))\n".encode())
        return self.read_until(f"{self.DONE}\n")

    def lines(self) -> list[str]:
        """What the console says to its end."""
        deadline = time.monotonic() + self._patience
        while self._read(deadline - time.monotonic()):
            pass
        text, self._seen = self._seen.decode(errors="replace"), b""
        return text.splitlines()
