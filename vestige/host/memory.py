"""The memory of both VMs: guest RAM, and the private memory only the monitor VM maps.

Each is one memfd mapped once. Both are sparse: a page exists from its first use.
"""

import ctypes
import mmap
import os

from vestige import abi
from vestige.errors import GuestError

MAP_NORESERVE = 0x4000  # asm-generic/mman-common.h; the mmap module has it from Python 3.13
PRIVATE = abi.IMAGE  # image, Shared, STATE, stacks and tables, in one stretch
PRIVATE_SIZE = 50 * abi.MIB  # to the end of the tables


class Region:
    """A memfd, mapped: `view` for Python, `address` for the kernel and compiled code."""

    def __init__(self, name: str, size: int) -> None:
        """`size` bytes of zeroes. Raises GuestError where this process may not have them."""
        self.size = size
        try:
            self.descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
            try:
                os.ftruncate(self.descriptor, size)
                flags = mmap.MAP_SHARED | MAP_NORESERVE
                self._mapping = mmap.mmap(self.descriptor, size, flags)
            except OSError:
                os.close(self.descriptor)
                raise
        except OSError as error:
            raise GuestError(f"{size >> 20} MiB of memory: {error.strerror}") from None
        self.view = memoryview(self._mapping)
        self.address = address_of(self._mapping)

    def close(self) -> None:
        """Unmap and give the memory back. Nothing may use it any more."""
        self.view.release()
        try:  # noqa: SIM105 - contextlib is slow to import
            self._mapping.close()
        except BufferError:
            pass  # an error on its way up keeps the views of those it passed: they end with it
        os.close(self.descriptor)


class GuestMemory:
    """Guest RAM: GPA 0 up to 3 GiB, the rest from 4 GiB; in the host one mapping without a hole."""

    def __init__(self, size: int) -> None:
        """`size` bytes, a whole number of MiB."""
        self.size = size
        self.low_size = min(size, abi.LOW_RAM_LIMIT)
        self.high_size = size - self.low_size
        self.region = Region("guest-ram", size)

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
        self.region = Region("monitor", PRIVATE_SIZE)

    def host_address(self, address: int) -> int:
        """Where the monitor's `address` is in this process."""
        return self.region.address + address - PRIVATE

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at the monitor's `address`."""
        offset = address - PRIVATE
        self.region.view[offset : offset + len(data)] = data

    def shared(self) -> abi.Shared:
        """The page host and monitor both look at: live, and the monitor's to write."""
        return abi.Shared.at(self.host_address(abi.SHARED))

    def cpu(self, index: int) -> abi.Cpu:
        """The Cpu of monitor vCPU `index`: live, and the monitor's to write."""
        return abi.Cpu.at(self.host_address(abi.STACKS + index * abi.STACK_SIZE))

    def close(self) -> None:
        """Give the memory back; what `shared` and `cpu` gave is gone with it."""
        self.region.close()


def address_of(mapping: mmap.mmap) -> int:
    """The address of `mapping` in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))
