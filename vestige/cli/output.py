"""A file that a command makes: whole or not at all, and in the place of none but its like."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from vestige.errors import UsageError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Output(NamedTuple):
    """A kind of file, which begins with `signature`; `name` is for people: "PNG"."""

    name: str
    signature: bytes

    def check(self, path: str) -> None:
        """Raise UsageError where one may not be put: it replaces no file but one of its kind."""
        if path in ("", "-"):
            raise UsageError(f"-o {path!r}: a file is made; give the name of one")
        try:
            kind = stat.S_IFMT(Path(path).lstat().st_mode)
            what = KINDS.get(kind, "what is no file")
            if kind == stat.S_IFREG:
                with Path(path).open("rb") as file:
                    if file.read(len(self.signature)) == self.signature:
                        return
                what = f"a file that is no {self.name}"
        except FileNotFoundError:
            self._check_folder(path)
            return
        except (OSError, ValueError) as error:
            raise _refused(path, error) from None
        raise UsageError(f"-o {path}: {what} is there, and is not replaced; give another name")

    def _check_folder(self, path: str) -> None:
        """Of a file that isn't there yet, before what is to be in it is made."""
        try:
            Path(os.path.split(path)[0]).stat()
        except OSError as error:
            raise _refused(path, error) from None

    def write(self, path: str, data: bytes) -> None:
        """The whole file, in the place of one that is there, or none. Raises UsageError."""
        self.check(path)
        folder = os.path.split(path)[0]
        made = Path(folder, f".{os.getpid()}.part")  # there, so that it can be renamed
        try:
            with _undisturbed():
                _make(made, path, data)
        except (OSError, ValueError) as error:
            raise _refused(path, error) from None


def _make(made: Path, path: str, data: bytes) -> None:
    """Write `made`, which is no file yet, and let it be `path`; where that fails, leave none."""
    with made.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.replace(made, path)  # noqa: PTH105 - a Path would drop a slash at the end
        except OSError:
            with suppress(OSError):
                made.unlink()
            raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C, and what else ends a command, waits: this takes no time."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refused(path: str, error: OSError | ValueError) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"-o {path}: {reason}; give a file that can be written")
