"""No file is two things of one run: what the one writes the other would lose.

Told before anything is opened, since a file that is opened for statistics or a console is emptied.
"""

import os
import stat

from vestige.errors import UsageError
from vestige.host.files import extents
from vestige.host.files.extents import Extent
from vestige.host.files.outputs import own_descriptor
from vestige.host.options import SOCKET, STDIO, TEMPORARY, DiskOption, RunOptions

# What a file is for a run: a disk, that may be only read, or is the base of an overlay; the disc in
# a drive; a firmware's variables; an overlay; what the guest starts from, and the like; what is
# emptied and written; and what is open already, which is written and never emptied.
IMAGE, READ_ONLY_IMAGE, BASE, DISC, VARIABLES, OVERLAY, INPUT, OUTPUT, STANDARD = range(9)
IMAGES = frozenset((IMAGE, READ_ONLY_IMAGE, BASE, DISC, VARIABLES, OVERLAY))
GUESTS = frozenset((IMAGE, VARIABLES, OVERLAY))  # which the guest writes
TAKES_READ_ONLY = frozenset((IMAGE, READ_ONLY_IMAGE))  # that word, behind the option
CALLERS_TERMINAL = os.makedev(5, 0)  # /dev/tty, tty(4)
STANDARD_FILES = {1: "standard output", 2: "standard error"}


class Use:
    """One file of a run: `words` are how the command line asks for it, `kind` one of the above."""

    __slots__ = ("extent", "kind", "words")

    def __init__(self, words: str, kind: int, extent: Extent) -> None:
        self.words, self.kind, self.extent = words, kind, extent


def check(options: RunOptions) -> None:
    """Raise UsageError for a file, block device or socket that is named twice, by whichever paths.

    A loop device is its file, and a partition part of its disk. A file of an overlay and that of
    the layer below are two files to Linux, and so they are here.
    """
    _check_sockets(options)
    _check_input(options)
    uses: list[Use] = []
    for use in _uses(options):
        for other in uses:
            if use.extent.overlaps(other.extent) and (problem := _problem(other, use)):
                raise UsageError(problem)
        uses.append(use)


def _check_sockets(options: RunOptions) -> None:
    """Raise UsageError where two of them have one path: the first would listen there."""
    there: dict[str, str] = {}
    backends = _backends(options)
    if options.keys is not None:
        backends.append(("--keys ", options.keys))
    if options.display is not None and options.display.path is not None:
        backends.append(("--display vnc:", f"{SOCKET}{options.display.path}"))
    for words, backend in backends:
        if not backend.startswith(SOCKET):
            continue
        try:
            path = os.path.realpath(backend.removeprefix(SOCKET))
        except (OSError, ValueError):  # listening says why
            continue
        if path in there:
            raise UsageError(f"{words}{backend}: {there[path]} listens there; give another path")
        there[path] = f"{words}{backend}"


def _check_input(options: RunOptions) -> None:
    """Raise UsageError where the keys would come from the input of the console, or of the screen:
    each would get a part.

    A regular file is read from its beginning, whoever else reads it.
    """
    on_screen = options.display is not None and options.display.takes_terminal
    if options.keys is None or not (on_screen or options.console.backend == STDIO):
        return
    try:
        keys, console = os.stat(options.keys), os.fstat(0)  # noqa: PTH116
    except (OSError, ValueError):  # opening says why
        return
    mine = keys.st_rdev == CALLERS_TERMINAL and stat.S_ISCHR(keys.st_mode) and os.isatty(0)
    if stat.S_ISREG(keys.st_mode) or not (mine or os.path.samestat(keys, console)):
        return
    whose, cure = "the console's", "the console another place, like --console FILE"
    if on_screen:
        whose, cure = "the screen's", "--display vnc"
    raise UsageError(
        f"--keys {options.keys}: standard input is {whose}; give another file, or {cure}"
    )


def _backends(options: RunOptions) -> list[tuple[str, str]]:
    """What consoles and ports are connected to, each behind the words that ask for it."""
    ports = [(f"--port {port.name}=", port.backend) for port in options.ports]
    return [("--console ", options.console.backend), *ports]


def _uses(options: RunOptions) -> list[Use]:
    """All that are, or would be, regular files or block devices: images first, STANDARD last."""
    named = [
        (disk.words, disk.path, _kind(disk))
        for disk in options.disks
        if disk.controller is None and disk.path
    ]
    named += [
        (disk.overlay_words, disk.overlay, OVERLAY)
        for disk in options.disks
        if disk.overlay not in (None, TEMPORARY)
    ]
    outputs = [
        (f"{words}{backend}", backend)
        for words, backend in _backends(options)
        if backend != STDIO and not backend.startswith(SOCKET)
    ]
    if options.stats is not None:
        outputs.append((f"--stats {options.stats}", options.stats))
    if options.keys is not None and not options.keys.startswith(SOCKET):
        named.append((f"--keys {options.keys}", options.keys, INPUT))
    if options.display is not None and (path := options.display.password_file) is not None:
        named.append((f"--display: password-file={path}", path, INPUT))
    if options.variables is not None:
        named.append((f"--variables {options.variables}", options.variables, VARIABLES))
    if not named and not outputs:
        return []
    option, start = options.start
    named += [(f"{option} {start}", start, INPUT)]
    if options.kernel is not None and options.by_firmware:
        named.append((f"--kernel {options.kernel}", options.kernel, INPUT))
    if options.initrd is not None:
        named.append((f"--initrd {options.initrd}", options.initrd, INPUT))
    named += [(words, path, OUTPUT) for words, path in outputs if own_descriptor(path) is None]
    last = [(words, path, STANDARD) for words, path in outputs if own_descriptor(path) is not None]
    found = [(words, kind, _extent(path)) for words, path, kind in named + last]
    found += [(words, STANDARD, _extent(number)) for number, words in STANDARD_FILES.items()]
    return [Use(words, kind, extent) for words, kind, extent in found if extent is not None]


def _kind(disk: DiskOption) -> int:
    if disk.is_optical:
        return DISC
    if disk.overlay is not None:
        return BASE
    return READ_ONLY_IMAGE if disk.read_only else IMAGE


def _problem(first: Use, second: Use) -> str | None:
    """What is wrong with two uses of one file, and what to do; None: nothing."""
    kinds = {first.kind, second.kind}
    if kinds <= IMAGES:
        if not kinds & GUESTS:
            return None
        how = "" if first.words == second.words else f", as {first.words} too"
        cure = "it once, or both of them ,readonly" if kinds <= TAKES_READ_ONLY else "another file"
        return f"{second.words}: given twice{how}; give {cure}"
    if STANDARD in kinds:
        if OUTPUT in kinds:
            return (
                f"{first.words}: {second.words} goes into this file, which would be emptied; give"
                " another file, or /dev/stdout"
            )
        if not kinds & IMAGES:
            return None
        return f"{first.words}: {second.words} goes into this image; send it elsewhere"
    if OUTPUT in kinds:
        return f"{second.words}: this would overwrite {first.words}; give another file"
    if kinds & GUESTS:
        written, read = (first, second) if first.kind in GUESTS else (second, first)
        cure = "add ,readonly to that" if written.kind == IMAGE else "give another file"
        return f"{read.words}: the guest may write it, as {written.words}; {cure}"
    return None


def _extent(place: str | int) -> Extent | None:
    """The bytes that a path or a descriptor stands for; None: no file that could lose anything.

    A file that isn't there yet is its name in its folder.
    """
    try:
        status = os.stat(place)  # noqa: PTH116 - pathlib is slow to import
    except FileNotFoundError:
        return _new(place) if isinstance(place, str) else None
    except (OSError, ValueError):
        return None  # opening says why
    if stat.S_ISBLK(status.st_mode):
        return extents.of_device(_path(place), status.st_rdev)
    return extents.of_file(status) if stat.S_ISREG(status.st_mode) else None


def _path(place: str | int) -> str:
    return place if isinstance(place, str) else f"/proc/thread-self/fd/{place}"


def _new(path: str) -> Extent | None:
    try:
        folder, name = os.path.split(os.path.realpath(path))
        status = os.stat(folder)  # noqa: PTH116
    except OSError:  # the working directory may be gone
        return None
    return Extent((status.st_dev, status.st_ino, name))
