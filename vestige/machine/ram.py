"""Guest RAM as the loader writes it: one buffer, addressed as the guest does."""

from vestige.abi import HIGH_RAM
from vestige.machine.memory_map import MemoryMap


class Ram:
    """RAM of `memory_map` in one buffer: the part below 4 GiB, then directly the part above."""

    __slots__ = ("memory_map", "view")

    def __init__(self, view: memoryview, memory_map: MemoryMap) -> None:
        size = memory_map.low_size + memory_map.high_size
        if view.nbytes != size or view.readonly:
            raise ValueError(f"{size} writable bytes of RAM expected, not {view.nbytes}")
        self.view = view.cast("B")
        self.memory_map = memory_map

    def at(self, address: int, length: int) -> memoryview:
        """The bytes of RAM [address, address + length). Raises ValueError outside of RAM."""
        layout = self.memory_map
        if address >= HIGH_RAM:
            start, end = layout.low_size + address - HIGH_RAM, layout.low_size + layout.high_size
        else:
            start, end = address, layout.low_size
        if address < 0 or length < 0 or start + length > end:
            raise ValueError(f"[{address:#x}, {address + length:#x}) is not RAM")
        return self.view[start : start + length]

    def write(self, address: int, data: bytes) -> None:
        """Store `data` at `address`. Raises ValueError outside of RAM."""
        self.at(address, len(data))[:] = data
