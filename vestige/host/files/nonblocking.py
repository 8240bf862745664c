"""The caller's open file for operations that never wait.

An open file may be shared with other programs, which would be surprised to find it in non-blocking
mode: so a terminal or a pipe is opened once more. pipe(7), tty(4), proc(5).
"""

import fcntl
import os
import stat

CONTROLLING = "/dev/tty"
TIOCGDEV = 0x8004_5432  # ioctl_tty(2): a terminal's device number


class Nonblocking:
    """`descriptor` is the caller's, or another one of the same file. `is_sure`: what is done with
    it never waits; else only what poll(2) tells of, and that is best done by small pieces.
    """

    def __init__(self, given: int, access: int) -> None:
        """`access` is O_RDONLY or O_WRONLY, for which `given` is open."""
        self.descriptor = given
        self._opened = self._changed = False
        kind = os.fstat(given).st_mode
        self.is_socket = stat.S_ISSOCK(kind)
        self.is_terminal = os.isatty(given)
        self.is_sure = stat.S_ISREG(kind) or not os.get_blocking(given)
        if not self.is_sure and (self.is_terminal or stat.S_ISFIFO(kind)):
            self._open_again(access)

    def _open_again(self, access: int) -> None:
        flags = access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        names = [f"/proc/thread-self/fd/{self.descriptor}"]
        if self.is_terminal:
            names.append(CONTROLLING)  # which may be had where its device is another user's
        for name in names:
            try:
                opened = os.open(name, flags)
            except OSError:
                continue
            if name == CONTROLLING and _device(opened) != _device(self.descriptor):
                os.close(opened)
                continue
            self.descriptor, self._opened, self.is_sure = opened, True, True
            return
        if self.is_terminal:  # a write waits there though poll(2) says that there is room
            os.set_blocking(self.descriptor, False)
            self._changed = self.is_sure = True

    def close(self) -> None:
        """Give back what was opened; the caller's own stays open, and is as it was."""
        if self._opened:
            os.close(self.descriptor)
        if self._changed:
            os.set_blocking(self.descriptor, True)
        self._opened = self._changed = False


def _device(terminal: int) -> bytes:
    """A terminal's device number, whichever name it was opened by; nothing once it has hung up."""
    try:
        return fcntl.ioctl(terminal, TIOCGDEV, bytes(4))
    except OSError:
        return b""
