"""What the machine's process does to be frozen: come to rest, and tell all of its state.

It is in its jail: what it needs of files is open before (`Saver`), and what it tells goes into a
pipe, as parts.py has it: its memory itself, of which the kernel makes one copy, in the files. So it
waits until all has been taken.

Guest RAM is told twice, so that the guest stands still for what is small: all of it while the guest
runs, and then what was written meanwhile.
"""

import errno
import os
import select
import time
from _collections_abc import Callable, Iterator, Mapping, Sequence

from vestige.errors import UsageError
from vestige.host import steps
from vestige.host.backends.io_uring_records import IoVector
from vestige.host.backends.ring import Ring
from vestige.host.capabilities import unprivileged
from vestige.host.files.sparse import PAGE, data_of
from vestige.host.freeze.changes import Changes
from vestige.host.freeze.parts import END, HEAD, PIECE, RECORD, Part
from vestige.host.kvm import api as kvm
from vestige.host.kvm import cpu_state
from vestige.host.kvm.memory import Region
from vestige.host.kvm.twin import Twin
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.cpu_features import Entry

if TYPE_CHECKING:
    from typing import Any

SYS_VMSPLICE = 278
PAGEMAP = "/proc/self/pagemap"
ENTRY = 8  # bytes of an entry of pagemap
PRESENT = 0b11 << 6  # of its last one: the page is in memory, or swapped
IS_PRESENT = bytes(bool(each & PRESENT) for each in range(256))
ENTRIES = 1 << 16  # read at once
NEAR = 16 * PAGE  # what is between two extents is told, too: it takes less than one more record
NOTHING: "Mapping[Part, Any]" = {}
NO_READER = "nobody takes its state: the run's process could not write it"


def _open_pages() -> int:
    return os.open(PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)


class Saver:
    """What of a machine is saved, and by what, found before the jail is closed."""

    def __init__(
        self,
        twin: Twin,
        rings: Sequence[Ring],
        cpuid: Sequence[Entry],
        bases: Mapping[Part, int] = NOTHING,
        shared: Mapping[Part, Sequence[tuple[int, int]]] = NOTHING,
    ) -> None:
        """`cpuid`: of the guest's first CPU; `bases`: of parts that are a file's as long as they
        are not written, that file; `shared`: of others (first byte, last + 1) of what is another's,
        too, and may be in memory though it is not this process's.
        """
        self._twin = twin
        self._cpuid = bytes(memoryview(kvm.cpuid_table(cpuid)))
        self._numbers = cpu_state.msr_numbers(twin.system)
        self._memories = memories(twin)
        self._changes = Changes(twin, rings)
        self._shared = shared
        self._held = {part: list(extents) for part, extents in shared.items()}
        for part, file in bases.items():
            self._held.setdefault(part, []).extend(data_of(file, self._memories[part].size))
        try:
            # Who opens it says what it shows: only which pages there are, and not where.
            self._pages = steps.make(lambda: unprivileged(_open_pages))
        except OSError:  # /proc is not mounted: all is looked at, page by page
            self._pages = -1

    def save_ahead(self, pipe: int, between: Callable[[], object]) -> None:
        """Write guest RAM, as it is while the guest runs: of what is written to it from now on,
        `save` writes all again, before `end`. `between` is called between two pieces.

        Raises UsageError.
        """
        self._changes.begin()
        if not self._changes.is_on:
            return
        region = self._memories[Part.RAM]
        try:
            for start, end in self._extents(Part.RAM, region):
                for at in range(start, end, PIECE):
                    self._lend(pipe, Part.RAM, at, region.address + at, min(PIECE, end - at))
                    between()
        except BrokenPipeError:
            raise UsageError(NO_READER) from None

    def save(self, pipe: int) -> None:
        """Write all of the state of a machine that has come to rest. Raises UsageError."""
        try:
            self._write(pipe, Part.STATE, 0, self._state())
            for part, region in self._memories.items():
                is_ahead = part == Part.RAM and self._changes.is_on
                found = self._changed(region) if is_ahead else self._extents(part, region)
                for start, end in found:
                    for at in range(start, end, PIECE):
                        self._lend(pipe, part, at, region.address + at, min(PIECE, end - at))
            os.write(pipe, END)
            taken = select.poll()
            taken.register(pipe, 0)  # it tells unasked that nobody reads any more
            taken.poll()
        except BrokenPipeError:
            raise UsageError(NO_READER) from None

    def end(self) -> None:
        """All has been written, or has failed; a second time does nothing."""
        self._changes.end()

    def _write(self, pipe: int, part: Part, offset: int, data: "bytes | memoryview") -> None:
        os.write(pipe, RECORD.pack(part, 0, offset, len(data)))
        left = memoryview(data)
        while left:
            left = left[os.write(pipe, left) :]

    @staticmethod
    def _lend(pipe: int, part: Part, offset: int, address: int, length: int) -> None:
        """As `_write`, of memory that stays as it is until it has been taken. Raises OSError."""
        os.write(pipe, RECORD.pack(part, 0, offset, length))
        vector = IoVector(base=address, length=length)
        while vector.length:
            moved = syscall(SYS_VMSPLICE, pipe, address_of(vector), 1, 0, 0, 0)
            if moved >= 0:
                vector.base += moved
                vector.length -= moved
            elif moved != -errno.EINTR:
                raise OSError(-moved, os.strerror(-moved))

    def _state(self) -> bytes:
        twin = self._twin
        cpus = twin.guest.cpus
        regions, flash, gate = twin.regions, twin.flash, twin.gate
        head = HEAD.pack(
            time.time_ns(),
            max(map(cpu_state.tsc_of, twin.monitor.cpus)),
            cpus[0].tsc_khz(),
            len(cpus),
            0 if regions is None else regions.shown,
            0 if gate is None else gate.state,
            0 if regions is None else regions.places[0],
            0 if flash is None else flash.place,
        )
        clock = cpu_state.read_clock(twin.guest)
        states = [cpu_state.read(cpu, self._numbers) for cpu in cpus]
        return b"".join((head, clock, self._cpuid, *states))

    def _extents(self, part: Part, region: Region) -> Iterator[tuple[int, int]]:
        """(first byte, last byte + 1) of what is not zeroes, or may not be; and the last page,
        without which the file would be too short.
        """
        last = region.size - PAGE, region.size
        if self._pages < 0:
            return joined([(0, region.size)])
        held = self._held.get(part, [])
        return joined(sorted([*held, *self._present(region), last]))

    def _changed(self, region: Region) -> Iterator[tuple[int, int]]:
        """The same of RAM, of which `save_ahead` has written all."""
        written = [*self._changes.written(), *self._shared.get(Part.RAM, ())]
        return joined(sorted(written), NEAR)

    def _present(self, region: Region) -> Iterator[tuple[int, int]]:
        pages = region.size // PAGE
        for first in range(0, pages, ENTRIES):
            count = min(ENTRIES, pages - first)
            place = (region.address // PAGE + first) * ENTRY
            for start, end in present(os.pread(self._pages, count * ENTRY, place)):
                yield (first + start) * PAGE, (first + end) * PAGE


def present(entries: bytes) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of those entries of pagemap, one behind the other, whose pages are there.

    The guest stands still: no step here is of Python's for each page.
    """
    there = entries[ENTRY - 1 :: ENTRY].translate(IS_PRESENT)
    start = there.find(1)
    while start >= 0:
        end = there.find(0, start)
        yield start, end if end >= 0 else len(there)
        start = there.find(1, end) if end >= 0 else -1


def memories(twin: Twin) -> dict[Part, Region]:
    """Those that a machine has."""
    found = {
        Part.PRIVATE: twin.private.region,
        Part.RAM: twin.memory.region,
        Part.FIRMWARE: twin.firmware,
        Part.ITEMS: twin.items,
        Part.REGION: None if twin.regions is None else twin.regions.memory[0],
        Part.FLASH: None if twin.flash is None else twin.flash.memory,
    }
    return {part: region for part, region in found.items() if region is not None}


def joined(extents: Sequence[tuple[int, int]], near: int = 0) -> Iterator[tuple[int, int]]:
    """The same bytes, each once: of `extents` in the order of their beginnings.

    What is between two that are so `near`, or nearer, is among them.
    """
    first, last = 0, 0
    for start, end in extents:
        if last and start <= last + near:
            last = max(last, end)
            continue
        if last > first:
            yield first, last
        first, last = start, end
    if last > first:
        yield first, last
