"""A file that a command makes: whole or not at all, and in the place of none but its like."""

import os
import stat
from contextlib import suppress
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
            return
        except (OSError, ValueError) as error:
            raise _refused(path, error) from None
        raise UsageError(f"-o {path}: {what} is there, and is not replaced; give another name")

    def write(self, path: str, data: bytes) -> None:
        """The whole file, in the place of one that is there, or none. Raises UsageError."""
        self.check(path)
        made = Path(f"{path}.{os.getpid()}.part")  # in the same folder, so that it can be renamed
        try:
            with made.open("xb") as file:
                file.write(data)
            made.replace(path)
        except (OSError, ValueError) as error:
            if not isinstance(error, FileExistsError):
                with suppress(OSError, ValueError):
                    made.unlink()
            raise _refused(path, error) from None


def _refused(path: str, error: OSError | ValueError) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"-o {path}: {reason}; give a file that can be written")
