"""A UEFI firmware's variables: a file of the user's, and the memory that has them in a run.

The guest's flash memory is a memfd, which a machine's process maps and the run's own reads. When a
machine has ended, at a reset too, and the memory is not what the file has, a new file is written
beside it, synchronised, and given its name. So whatever ends when, the file is what it was before
that machine or after it, and never a part of either: a firmware's own protection against a lost
power supply (EDK II's fault tolerant write) is for single writes, and believes that none is torn.

In a software host the place of the file is a block device, which is not replaced but written: its
last sector says whether the rest is whole, and the run out there has the file.

Threat: the memory's content is the guest's and its monitor's. It is bytes here, of a size that the
kernel does not let anybody change.
"""

import errno
import fcntl
import os
import stat
from binascii import crc32

from vestige.abi import SECTOR
from vestige.errors import UsageError
from vestige.host.files import beside
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.files import InputFile

if TYPE_CHECKING:
    from typing import Protocol

    class Store(Protocol):
        """Where the variables stay."""

        def begin(self) -> None:
            """The guest is about to run."""

        def keep(self, contents: bytes) -> None:
            """Have these instead. Raises UsageError where that fails: it has the last ones then."""

        def close(self) -> None:
            """Close it."""


PAGE = 4096
# Platform Initialization Specification, volume 3, 3.2.1: EFI_FIRMWARE_VOLUME_HEADER.
LENGTH_AT, SIGNATURE_AT, SIGNATURE = 0x20, 0x28, b"_FVH"
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
NEW = "give a name that isn't there yet, or what this firmware has made"
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP)  # of a file system that has none, link(2)
LOST = "what the guest has changed in its variables is lost"


class Variables:
    """Those of one run. `file` is the memory, as a machine is told of it."""

    def __init__(self, path: str, contents: bytes, store: "Store | None") -> None:
        """Without a `store` they last as long as the run."""
        self._store, self._kept = store, contents
        self.file = InputFile(path, _memory(contents), len(contents))

    def begin(self) -> None:
        """The guest is about to run: a file that was made for it stays from now on."""
        if self._store is not None:
            self._store.begin()

    def keep(self) -> None:
        """A machine has ended: have the store have them. Raises UsageError where that fails."""
        if self._store is None:
            return
        contents = os.pread(self.file.descriptor, self.file.size, 0)
        if contents != self._kept:
            self._store.keep(contents)
            self._kept = contents

    def close(self) -> None:
        """Close memory and store."""
        self.file.close()
        if self._store is not None:
            self._store.close()


def open_variables(path: str | None, template: str | None) -> Variables:
    """Those of the file at `path`, which is made like `template` where there is none; without a
    path those of the template, which is given then.

    Raises UsageError for what holds no variables, not these, or is in use.
    """
    model = None if template is None else _template(template)
    if path is None:
        return Variables(str(template), model or b"", None)
    words = f"--variables {path}"
    store = StoreFile(words, path, model, template)
    try:
        contents = os.pread(store.claim, os.fstat(store.claim).st_size, 0)
        _check(words, contents)
        if model is not None and len(contents) != len(model):
            raise UsageError(
                f"{words}: {len(contents)} bytes; this firmware's variables have {len(model)},"
                f" as {template} has; {NEW}"
            )
    except OSError as error:
        store.close()
        raise UsageError(f"{words}: {error.strerror}; {NEW}") from None
    except BaseException:
        store.close()
        raise
    return Variables(path, contents, store)


def _template(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
            contents = file.read()
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}; give the variables of a UEFI firmware (sudo apt install"
            " ovmf)"
        ) from None
    _check(path, contents)
    return contents


def _check(words: str, contents: bytes) -> None:
    """Raise UsageError for what is no firmware volume, which begins a file of variables."""
    length = int.from_bytes(contents[LENGTH_AT : LENGTH_AT + 8], "little")
    if contents[SIGNATURE_AT : SIGNATURE_AT + len(SIGNATURE)] != SIGNATURE:
        raise UsageError(
            f"{words}: no variables of a UEFI firmware (no _FVH at {SIGNATURE_AT:#x}); {NEW}"
        )
    if length != len(contents) or len(contents) % PAGE:
        raise UsageError(f"{words}: {len(contents)} bytes, and its header says {length}; {NEW}")


def _memory(contents: bytes) -> int:
    """A memfd of these bytes, whose size nobody can change."""
    descriptor = os.memfd_create("variables", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _write(descriptor, contents)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, contents: bytes) -> None:
    """All of them, from the file's start on. Raises OSError."""
    done = 0
    while done < len(contents):
        done += os.pwrite(descriptor, contents[done:], done)


class StoreFile:
    """A regular file, locked for one run. `claim` is open and has the lock. One that was made for a
    run that is refused goes with it.

    `words` ask for it. What a link leads to is replaced, not the link.
    """

    def __init__(self, words: str, path: str, model: bytes | None, template: str | None) -> None:
        """Open it, or make it like `model`. Raises UsageError."""
        self._words = words
        self._path = os.path.realpath(path)
        self._is_spare = False  # it was made here, and no guest has had it yet
        try:
            self.claim = self._open(model, template)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{words}: {reason}; give a file that can be written") from None

    def _open(self, model: bytes | None, template: str | None) -> int:
        """The file, with its lock: the one that has the name once the lock is ours."""
        while True:
            try:
                claim = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                made = self._make(model, template)
                if made is None:
                    continue
                return made
            try:
                status = os.fstat(claim)
                if not stat.S_ISREG(status.st_mode):
                    raise UsageError(f"{self._words}: not a regular file; {NEW}")
                if not os.access(os.path.dirname(self._path), os.W_OK):  # noqa: PTH120
                    raise UsageError(
                        f"{self._words}: its directory can't be written, in which a new file takes"
                        " its place when the guest ends; have it in another"
                    )
                self._lock(claim)
                if os.path.samestat(status, os.stat(self._path)):  # noqa: PTH116
                    return claim
            except FileNotFoundError:
                os.close(claim)
                continue
            except BaseException:
                os.close(claim)
                raise
            os.close(claim)  # a run that ended meanwhile has replaced it

    def _lock(self, claim: int) -> None:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{self._words}: in use by another run; end that one first, or give another file"
            ) from None

    def _make(self, model: bytes | None, template: str | None) -> int | None:
        """Have one with the name, locked before it has that; None: it is there by now."""
        if model is None:
            raise UsageError(
                f"{self._words}: not there, and this firmware is not beside a template of its"
                " variables (OVMF_VARS… for OVMF_CODE…); give a copy of one"
            )
        try:
            new = beside.make(self._path, lambda new: _write(new, model))
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            raise UsageError(
                f"{self._words}: {error.strerror}; give a copy of {template}"
            ) from None
        self._is_spare = new is not None
        return new

    def begin(self) -> None:
        """A guest has it."""
        self._is_spare = False

    def keep(self, contents: bytes) -> None:
        """Write a new file, and have it take the name: it is locked before, and whose and as open
        to others as the old one, as far as this user can have it so.
        """
        try:
            status = os.fstat(self.claim)
            new, place = beside.made_beside(self._path, lambda new: _write(new, contents), 0o600)
            try:
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    self._give(new, status)
                os.fchmod(new, stat.S_IMODE(status.st_mode))
                fcntl.flock(new, fcntl.LOCK_EX)
                self._check_name(place)
                os.rename(place, self._path)  # noqa: PTH104
            except BaseException:
                os.close(new)
                os.unlink(place)  # noqa: PTH108
                raise
            os.close(self.claim)
            self.claim = new
            self._is_spare = False
            beside.synchronise_folder(self._path)
        except OSError as error:
            raise UsageError(f"{self._words}: {error.strerror}; {LOST}") from None

    def _check_name(self, place: str) -> None:
        """Raise UsageError where another file has it by now, which is somebody's."""
        try:
            if os.path.samestat(os.fstat(self.claim), os.stat(self._path)):  # noqa: PTH116
                return
        except FileNotFoundError:
            return
        apart = f"{self._path}.{os.urandom(4).hex()}"
        os.link(place, apart)
        raise UsageError(
            f"{self._words}: another file has that name since the guest's start, and stays; the"
            f" guest's variables are in {apart}"
        )

    @staticmethod
    def _give(new: int, status: os.stat_result) -> None:
        try:
            os.fchown(new, status.st_uid, status.st_gid)
        except PermissionError:
            return  # it stays this user's

    def close(self) -> None:
        """Close and unlock it."""
        if self._is_spare:
            beside.remove_spare(self._path, self.claim)
        os.close(self.claim)


# ---- in a software host -------------------------------------------------------------------------


def sealed(contents: bytes) -> bytes:
    """As a device has them: with a sector that says what they are."""
    return contents + crc32(contents).to_bytes(4, "little").ljust(SECTOR, b"\0")


def unsealed(data: bytes) -> bytes | None:
    """The contents of that; None: it was not written whole."""
    contents = data[:-SECTOR]
    return contents if sealed(contents) == data else None


class StoreDevice:
    """A block device, with the sector behind the contents."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def begin(self) -> None:
        """It is there already."""

    def keep(self, contents: bytes) -> None:
        """Write it."""
        try:
            _write(self.descriptor, sealed(contents))
            os.fsync(self.descriptor)
        except OSError as error:
            raise UsageError(f"--variables: {error.strerror}; {LOST}") from None

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def open_device(path: str, device: str) -> Variables:
    """Those of a block device; `path` is what they are called. Raises OSError."""
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    size = os.lseek(descriptor, 0, os.SEEK_END) - SECTOR
    return Variables(path, os.pread(descriptor, size, 0), StoreDevice(descriptor))


class Lent:
    """Variables in a software host: `descriptor` is the memory that becomes its block device."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        contents = os.pread(variables.file.descriptor, variables.file.size, 0)
        self.descriptor = _memory(sealed(contents))

    def take_back(self) -> None:
        """It is over: have what came back, if that is whole. Raises UsageError."""
        size = self._variables.file.size
        contents = unsealed(os.pread(self.descriptor, size + SECTOR, 0))
        if contents is None:
            raise UsageError(f"--variables {self._variables.file.path}: {LOST}")
        _write(self._variables.file.descriptor, contents)
        self._variables.keep()

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)
