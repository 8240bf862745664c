"""The memory that a viewer sees: files in memory, which the machine's process maps to write, and
the viewer to read.

The run's own process makes them, for each machine anew. Once that has mapped them they are sealed:
nobody can map them to be written any more, nor make them shorter. memfd_create(2), fcntl(2).

A viewer maps what it is to see and no more; its jail lets it map nothing else of them. LOW is all
of guest RAM that a ring registers at once: Linux 6.1 refuses a buffer that is of several files.
"""

import ctypes
import fcntl
import os
from _collections_abc import Mapping, Sequence

from vestige import abi
from vestige.host import limits
from vestige.lang.intrinsics import syscall
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from vestige.host.freeze import parts as frozen_parts

SYS_MMAP, SYS_MUNMAP = 9, 11
PROT_READ, MAP_SHARED = 1, 1
PAGE = 4096
ALLOW_SEALING = 2  # MFD_ALLOW_SEALING; with it MFD_CLOEXEC, 1
SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_FUTURE_WRITE = 1, 2, 4, 0x10  # the last: Linux 5.1
WHAT = "memory that a viewer sees"
NOTHING: "Mapping[frozen_parts.Part, int]" = {}

_RECORD: int = abi.Shared.screen.offset  # type: ignore[attr-defined] # of ctypes
_RECORD_END: int = _RECORD + abi.Shared.screen.size  # type: ignore[attr-defined]


class Part:
    """One file of `size` bytes. The machine has it at `place` of guest RAM or of the monitor's
    Shared; a viewer maps `shown` bytes from `first` on.
    """

    __slots__ = ("first", "place", "shown", "size")

    def __init__(self, place: int, size: int, first: int = 0, shown: int | None = None) -> None:
        self.place, self.size, self.first = place, size, first
        self.shown = size if shown is None else shown


LOW = Part(0, abi.CHUNK, abi.SCREEN_MEMORY, abi.SCREEN_MEMORY_SIZE)
SCREEN = Part(_RECORD & -PAGE, (_RECORD_END + PAGE - 1 & -PAGE) - (_RECORD & -PAGE))
PARTS = (LOW, SCREEN, *(Part(0, size) for _, size in abi.REGIONS))


def make(frozen: "Mapping[frozen_parts.Part, int]" = NOTHING) -> Sequence[int]:
    """A file for each of PARTS. Raises UsageError where there can be none.

    They are zeroes, or as those of a `frozen` machine's parts are, of which they are copies: so
    who thaws it has memory of its own that its viewer sees.
    """
    files: list[int] = []
    try:
        for part in PARTS:
            file = os.memfd_create("screen", os.MFD_CLOEXEC | ALLOW_SEALING)
            files.append(file)
            os.ftruncate(file, part.size)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEAL_SHRINK | SEAL_GROW)
        if frozen:
            _fill(files, frozen)
    except OSError as error:
        close(files)
        raise limits.refusal(WHAT, error.errno or 0) from None
    return files


def _fill(files: Sequence[int], frozen: "Mapping[frozen_parts.Part, int]") -> None:
    """Raises OSError."""
    from vestige.host.files.sparse import copy_part  # noqa: PLC0415 - few runs are thawed
    from vestige.host.freeze.parts import Part as Frozen  # noqa: PLC0415 - as above
    from vestige.host.kvm.memory import PRIVATE  # noqa: PLC0415 - as above

    low, screen, region = files
    for target, part, kind, first in (
        (low, LOW, Frozen.RAM, LOW.place),
        (screen, SCREEN, Frozen.PRIVATE, abi.SHARED - PRIVATE + SCREEN.place),
        (region, PARTS[-1], Frozen.REGION, 0),
    ):
        if kind in frozen:
            copy_part(frozen[kind], first, part.size, target)


def seal(files: Sequence[int]) -> None:
    """Nobody is to write them but who has mapped them so already. Raises UsageError."""
    try:
        for file in files:
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEAL_FUTURE_WRITE | SEAL)
    except OSError as error:
        raise limits.refusal(WHAT, error.errno or 0) from None


def close(files: Sequence[int]) -> None:
    """Close them here."""
    for file in files:
        os.close(file)


class Seen:
    """What a viewer has of it, until `close`. `window`: SCREEN_MEMORY; `regions`: abi.REGIONS;
    `places`: the addresses of the window and of these in this process.
    """

    def __init__(self, files: Sequence[int]) -> None:
        """Map it. Raises OSError."""
        self._mapped: list[tuple[int, int]] = []
        views = []
        for part, file in zip(PARTS, files, strict=True):
            place = syscall(SYS_MMAP, 0, part.shown, PROT_READ, MAP_SHARED, file, part.first)
            if place < 0:
                self.close()
                raise OSError(-place, os.strerror(-place))
            self._mapped.append((place, part.shown))
            memory = (ctypes.c_uint8 * part.shown).from_address(place)
            views.append(memoryview(memory).cast("B").toreadonly())
        self.window, self._record, *regions = views
        self.regions: Sequence[memoryview] = regions
        places = [place for place, _ in self._mapped]
        self.places = [places[PARTS.index(LOW)], *places[len(PARTS) - len(regions) :]]

    def record(self) -> abi.Screen:
        """A copy of what the monitor tells of the screen: any bytes."""
        return abi.Screen.from_buffer_copy(self._record[_RECORD - SCREEN.place :])

    def close(self) -> None:
        """Unmap it; nothing that was had of it may be used any more."""
        for place, size in self._mapped:
            syscall(SYS_MUNMAP, place, size, 0, 0, 0, 0)
        self._mapped.clear()
