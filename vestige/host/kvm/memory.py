"""The memory of both VMs: guest RAM, and the private memory only the monitor VM maps.

Each is one anonymous mapping. Both are sparse: a page exists from its first use. Where a viewer is
to see some of it, that part is a file's in memory, which the viewer maps, too: host/viewer/.

Threats: io_uring knows buffers by their addresses in this process, so the monitor is told where its
guest's RAM and its STATE are (abi.Ring). That says where nothing else is: each mapping has a place
drawn at random for itself, in a part of the address space where the kernel puts nothing unasked.
Copies of a mould (process/mould.py) have their own memory at the same places.
"""

import errno
import mmap
import os
from _collections_abc import Iterable

from vestige import abi
from vestige.host import limits, steps
from vestige.host.steps import ACCESS, MAP_FIXED, MAP_NORESERVE, SYS_MMAP, SYS_MUNMAP
from vestige.lang.foreign import addressof, c_char, c_uint8
from vestige.lang.intrinsics import syscall

SYS_MADVISE = 28
MAP_FIXED_NOREPLACE = 0x10_0000
OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
COPIED = mmap.MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED
PRIVATE = abi.IMAGE  # image, Shared, STATE, stacks and tables, in one stretch
PRIVATE_SIZE = 50 * abi.MIB  # to the end of the tables
LARGE_PAGE = 2 * abi.MIB
LEAST_CHUNK = 64 * abi.KIB
MOST_CHUNKS = (1 << 14) - abi.FIRST_CHUNK_BUFFER  # IORING_MAX_REG_BUFFERS, less STATE's
# Linux loads programs from 0x5555_5555_4000 up, or below 4 GiB, and maps from the stack down, less
# than 2 TiB of it unless a process maps as much. 79 TiB are 41 million places.
FIRST_PLACE, LAST_PLACE = 1 << 40, 80 << 40
TRIES = 100  # at a place that is free: each fails where there is a mapping of ours already


class Region:
    """Anonymous memory: `view` for Python, `address` for the kernel and compiled code.

    It begins at a multiple of LARGE_PAGE, as guest-physical addresses of RAM do: only then can
    KVM map a large page as one. Its pages are small unless asked otherwise: where Linux makes all
    memory of large pages, the little that is used here and there would take megabytes. Processes
    forked from this one do not have it, nor has a core dump. `is_copied`: it is a file's, and each
    page is copied before it is written.
    """

    def __init__(self, size: int, file: int | None = None) -> None:
        """`size` bytes of zeroes, or as `take` has a file's. Raises UsageError where this process
        may not have them.
        """
        self.size = size
        self.is_copied = False
        self.address = _mapped(size)
        if file is None:
            self._advise_all()
        else:
            self.take(file)
        memory = (c_uint8 * size).from_address(self.address)
        self.view = memoryview(memory).cast("B")

    def share(
        self,
        start: int,
        size: int,
        descriptor: int,
        first: int = 0,
        what: str = "memory that a viewer sees",
    ) -> None:
        """Have `size` bytes from offset `start` on be those of a file, from its byte `first` on.

        All are whole pages. What was there is gone. Raises UsageError, of `what` that is, where
        that can't be.
        """
        place = self.address + start
        answer = steps.map_shared(descriptor, size, first, place)
        if answer < 0:
            raise limits.refusal(what, -answer)
        for advice in (mmap.MADV_DONTFORK, mmap.MADV_DONTDUMP):
            self._advise(advice, start, size)

    def read_page_by_page(self) -> None:
        """Have a page of a file's that is touched be read alone.

        Else Linux reads those around it, too, as far as its read-ahead goes: 128 KiB, or MiB.
        """
        steps.call(SYS_MADVISE, self.address, self.size, mmap.MADV_RANDOM)

    def take(self, file: int) -> None:
        """Have all of it be what a file of its size holds; what is written here stays here.

        What was there is gone. Nothing is read that is not touched. Raises UsageError where that
        can't be.
        """
        answer = syscall(SYS_MMAP, self.address, self.size, ACCESS, COPIED, file, 0)
        if answer < 0:
            raise limits.refusal("a frozen machine's memory", -answer)
        self.is_copied = True
        self._advise_all()

    def fill(self, file: int, extents: Iterable[tuple[int, int]]) -> None:
        """The same, by a copy: of these (first byte, last + 1), as the rest is zeroes.

        Raises UsageError where there is no memory for it, OSError where it can't be read.
        """
        fixed = OWN & ~MAP_FIXED_NOREPLACE | MAP_FIXED
        answer = syscall(SYS_MMAP, self.address, self.size, ACCESS, fixed, (1 << 64) - 1, 0)
        if answer < 0:
            raise limits.refusal("a frozen machine's memory", -answer)
        self.is_copied = False
        self._advise_all()
        for start, end in extents:
            place = start
            while place < end:
                done = os.preadv(file, [self.view[place:end]], place)
                if not done:
                    raise OSError(errno.EIO, "it ended while it was read")
                place += done

    def _advise_all(self) -> None:
        for advice in (mmap.MADV_DONTFORK, mmap.MADV_NOHUGEPAGE, mmap.MADV_DONTDUMP):
            self._advise(advice, 0, self.size)

    def prefer_large_pages(self, start: int) -> None:
        """From offset `start` on, a multiple of a page, exist in large pages where Linux has them.

        One fault instead of 512 each, of the host's and of the guest's.
        """
        self._advise(mmap.MADV_HUGEPAGE, start, self.size - start)

    def _advise(self, advice: int, start: int, size: int) -> None:
        """A kernel without large pages refuses, which changes nothing else."""
        if size and not (advice == mmap.MADV_DONTFORK and steps.are_noted()):
            syscall(SYS_MADVISE, self.address + start, size, advice, 0, 0, 0)

    def close(self) -> None:
        """Unmap and give the memory back. Nothing may use it any more."""
        self.view.release()
        syscall(SYS_MUNMAP, self.address, self.size, 0, 0, 0, 0)


def _mapped(size: int) -> int:
    """Map `size` bytes at a random multiple of LARGE_PAGE; the address."""
    places = (LAST_PLACE - FIRST_PLACE - size) // LARGE_PAGE
    answer = -errno.ENOMEM
    for _ in range(TRIES if places > 0 else 0):
        place = FIRST_PLACE + int.from_bytes(os.urandom(8), "little") % places * LARGE_PAGE
        answer = syscall(SYS_MMAP, place, size, ACCESS, OWN, (1 << 64) - 1, 0)
        if answer != -errno.EEXIST:
            break
    if answer < 0:
        raise limits.refusal(f"{size >> 20} MiB of memory", -answer)
    return answer


class GuestMemory:
    """Guest RAM: GPA 0 up to 3 GiB, the rest from 4 GiB; in the host one mapping without a hole."""

    def __init__(self, size: int) -> None:
        """`size` bytes, a whole number of MiB."""
        self.size = size
        self.low_size = min(size, abi.LOW_RAM_LIMIT)
        self.high_size = size - self.low_size
        self.region = Region(size)
        # What every guest uses lies in the first: the least of them needs no large page.
        self.region.prefer_large_pages(min(size, LARGE_PAGE))

    def parts(self) -> list[tuple[int, int, int]]:
        """(guest-physical address, size, host address) of each stretch of RAM."""
        parts = [(0, self.low_size, self.region.address)]
        if self.high_size:
            parts.append((abi.HIGH_RAM, self.high_size, self.region.address + self.low_size))
        return parts

    @property
    def chunk_size(self) -> int:
        """Bytes of the ring's chunks. To pin one of memory that is a file's is to copy it: such
        chunks are as small as the ring's table of them allows.
        """
        if not self.region.is_copied:
            return abi.CHUNK
        size = LEAST_CHUNK
        while -(-self.size // size) > MOST_CHUNKS:
            size *= 2
        return size

    def chunk(self, number: int) -> tuple[int, int] | None:
        """(host address, length) of the ring's chunk `number`; None: there is no such chunk."""
        size = self.chunk_size
        offset = number * size
        if not 0 <= offset < self.size:
            return None
        return self.region.address + offset, min(size, self.size - offset)

    def close(self) -> None:
        """Give the RAM back."""
        self.region.close()


class PrivateMemory:
    """What only the monitor VM maps: its image, Shared, device state, stacks, page tables."""

    def __init__(self) -> None:
        """Zeroes, at monitor address PRIVATE."""
        self.region = Region(PRIVATE_SIZE)

    def host_address(self, address: int) -> int:
        """Where the monitor's `address` is in this process."""
        return self.region.address + address - PRIVATE

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at the monitor's `address`."""
        offset = address - PRIVATE
        self.region.view[offset : offset + len(data)] = data

    def shared(self, domain: int = 0) -> abi.Shared:
        """What host and monitor both look at: live, and the monitor's to write."""
        return abi.Shared.at(self.host_address(abi.SHARED + domain * abi.SHARED_STRIDE))

    def cpu(self, index: int) -> abi.Cpu:
        """The Cpu of monitor vCPU `index`: live, and the monitor's to write."""
        return abi.Cpu.at(self.host_address(abi.STACKS + index * abi.STACK_SIZE))

    def close(self) -> None:
        """Give the memory back; what `shared` and `cpu` gave is gone with it."""
        self.region.close()


class Mapping:
    """Memory of a descriptor's: `view` for Python, `address` for the kernel and compiled code."""

    def __init__(self, descriptor: int, size: int, offset: int = 0) -> None:
        """`size` bytes of it, from `offset` on, whole pages. Raises OSError."""
        self.size = size
        self.address = steps.map_shared(descriptor, size, offset)
        if self.address < 0:
            raise OSError(-self.address, os.strerror(-self.address))
        self.view = memoryview((c_uint8 * size).from_address(self.address)).cast("B")

    def close(self) -> None:
        """Unmap it. Nothing may use it any more."""
        self.view.release()
        syscall(SYS_MUNMAP, self.address, self.size, 0, 0, 0, 0)


def mapping_address(mapping: mmap.mmap) -> int:
    """The address of `mapping` in this process."""
    return addressof(c_char.from_buffer(mapping))
