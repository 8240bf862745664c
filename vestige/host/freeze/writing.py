"""What the run's process does for a freeze: fill the files of a folder from a machine's records.

The folder is new, and whoever asked for the freeze has made it; its files are whole only once that
one has written the manifest (snapshot.py), so nothing here waits for a disk.

Threat: what comes is a machine's process's word, believed no more than its monitor. Each record is
of a part that there is, and inside of that; its bytes are data.
"""

import fcntl
import os
from _collections_abc import Callable, Mapping
from contextlib import suppress

from vestige.errors import UsageError
from vestige.host import limits
from vestige.host.freeze.parts import END, MOST, NAMES, PIECE, RECORD, Part

SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
AT_ONCE = 4  # reads from the pipe, until anything else is looked at: consoles wait meanwhile


class Writer:
    """One freeze. `pipe`: what the machine's process writes into; -1: it has it.

    `problem`: why it failed, once that is so; nothing more is written then.
    """

    def __init__(
        self, folder: str, sizes: Mapping[Part, int], stands: Callable[[int], object]
    ) -> None:
        """Make the files, of these sizes, in a folder. Raises UsageError.

        `stands` is called, with the folder's descriptor, once the machine has come to rest, before
        it may go on.
        """
        self.problem: str | None = None
        self._stands = stands
        self._folder = folder
        self._sizes = sizes
        self._files: dict[Part, int] = {}
        self._place_of_files = -1
        self._head = b""
        self._part, self._place, self._left = Part.STATE, 0, 0
        self._read, self.pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self.pipe, True)
        with suppress(OSError):  # this user's pipes have no more room: it takes a little longer
            fcntl.fcntl(self._read, SET_PIPE_SIZE, PIECE)
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        """Those files that every machine has, in a folder that has none."""
        try:
            self._place_of_files = os.open(self._folder, FOLDER)
            if os.listdir(f"/proc/thread-self/fd/{self._place_of_files}"):  # noqa: PTH208
                raise UsageError(f"{self._folder}: not empty; give a new folder")
            for part, size in self._sizes.items():
                os.ftruncate(self._file(part), size)
        except ValueError as error:
            raise UsageError(f"{self._folder!r}: {error}") from None
        except OSError as error:
            for part in self._files:
                os.unlink(NAMES[part], dir_fd=self._place_of_files)
            raise UsageError(_line(self._folder, error)) from None

    def _file(self, part: Part) -> int:
        """That of a part, made where it is not there yet. Raises OSError."""
        if part not in self._files:
            name = NAMES[part]
            self._files[part] = os.open(name, NEW, 0o600, dir_fd=self._place_of_files)
        return self._files[part]

    @property
    def parts(self) -> list[str]:
        """The names of all that the machine has."""
        return [NAMES[part] for part in sorted(self._files)]

    def given(self) -> None:
        """The machine's process has the pipe."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    @property
    def source(self) -> int:
        """A descriptor that is readable when there is something to take; -1: nothing comes."""
        return self._read

    def take(self) -> None:
        """Write what has come."""
        for _ in range(AT_ONCE):
            if self._read < 0 or not self._take_some():
                return

    def _take_some(self) -> bool:
        """One more piece; False: nothing more now, or ever."""
        try:
            if not self._left:
                data = os.read(self._read, RECORD.size - len(self._head))
                self._head += data
                if data and len(self._head) == RECORD.size:
                    self._begin()
                if not data:
                    self._end_reading()
                return bool(data)
            file = self._file(self._part)
            moved = os.splice(self._read, file, self._left, offset_dst=self._place)
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(_line(self._folder, error))
            return False
        if not moved:
            self._end_reading()
            return False
        self._place += moved
        self._left -= moved
        return True

    def _begin(self) -> None:
        is_end = self._head == END
        number, _, place, length = RECORD.unpack(self._head)
        self._head = b""
        if is_end:
            self._end_reading()
            return
        part = next((each for each in Part if each == number), None)
        if part is None or not length or place + length > self._sizes.get(part, MOST.get(part, 0)):
            self._fail("the machine's process told of state that it can't have")
            return
        self._part, self._place, self._left = part, place, length
        if part == Part.STATE:
            self._stands(self._place_of_files)

    def _end_reading(self) -> None:
        if self._head or self._left:
            self._fail("the machine's process ended before it had told all of its state")
        elif self._read >= 0:
            os.close(self._read)
            self._read = -1

    def _fail(self, problem: str) -> None:
        """Take no more: who writes hears that."""
        self.problem = self.problem or problem
        if self._read >= 0:
            os.close(self._read)
            self._read = -1

    def finish(self) -> None:
        """The machine's process has told all: the rest that is in the pipe is written.

        Raises UsageError where it failed.
        """
        while self._read >= 0:
            os.set_blocking(self._read, True)
            self.take()
        if self.problem is not None:
            raise UsageError(self.problem)

    def close(self) -> None:
        """Give all back; a second time does nothing."""
        self.given()
        self._fail("it was ended")
        for descriptor in (*self._files.values(), self._place_of_files):
            if descriptor >= 0:
                os.close(descriptor)
        self._files.clear()
        self._place_of_files = -1


def _line(path: str, error: OSError) -> str:
    return limits.with_cure(f"{path}: {error.strerror}", error.errno or 0)
