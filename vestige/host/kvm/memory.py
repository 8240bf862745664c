"""The memory of both VMs: guest RAM, and the private memory only the monitor VM maps.

Each is one anonymous mapping. Both are sparse: a page exists from its first use.
"""

import ctypes
import mmap

from vestige import abi
from vestige.host import limits

MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h; the mmap module has it from Python 3.13
PRIVATE = abi.IMAGE  # image, Shared, STATE, stacks and tables, in one stretch
PRIVATE_SIZE = 50 * abi.MIB  # to the end of the tables
LARGE_PAGE = 2 * abi.MIB


class Region:
    """Anonymous memory: `view` for Python, `address` for the kernel and compiled code.

    It begins at a multiple of LARGE_PAGE, as guest-physical addresses of RAM do: only then can
    KVM map a large page as one. Its pages are small unless asked otherwise: where Linux makes all
    memory of large pages, the little that is used here and there would take megabytes. Processes
    forked from this one do not have it.
    """

    def __init__(self, size: int) -> None:
        """`size` bytes of zeroes. Raises UsageError where this process may not have them."""
        self.size = size
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        try:
            self._mapping = mmap.mmap(-1, size + LARGE_PAGE, flags)
        except OSError as error:
            raise limits.refusal(f"{size >> 20} MiB of memory", error.errno or 0) from None
        self._mapping.madvise(mmap.MADV_DONTFORK)
        self._advise(mmap.MADV_NOHUGEPAGE, 0, size + LARGE_PAGE)
        self._skipped = -mapping_address(self._mapping) % LARGE_PAGE
        self.address = mapping_address(self._mapping) + self._skipped
        self.view = memoryview(self._mapping)[self._skipped : self._skipped + size]

    def prefer_large_pages(self, start: int) -> None:
        """From offset `start` on, a multiple of a page, exist in large pages where Linux has them.

        One fault instead of 512 each, of the host's and of the guest's.
        """
        self._advise(mmap.MADV_HUGEPAGE, self._skipped + start, self.size - start)

    def _advise(self, advice: int, start: int, size: int) -> None:
        try:
            self._mapping.madvise(advice, start, size)
        except OSError:
            return  # a kernel without large pages

    def close(self) -> None:
        """Unmap and give the memory back. Nothing may use it any more."""
        self.view.release()
        try:  # noqa: SIM105 - contextlib is slow to import
            self._mapping.close()
        except BufferError:
            pass  # an error on its way up keeps the views of those it passed: they end with it


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

    def chunk(self, number: int) -> tuple[int, int] | None:
        """(host address, length) of the ring's chunk `number`; None: there is no such chunk."""
        offset = number * abi.CHUNK
        if not 0 <= offset < self.size:
            return None
        return self.region.address + offset, min(abi.CHUNK, self.size - offset)

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


def mapping_address(mapping: mmap.mmap) -> int:
    """The address of `mapping` in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))
