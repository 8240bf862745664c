"""The ring driver over the host's own restricted io_uring, both in this process."""

from collections.abc import Sequence

from vestige import abi
from vestige.host.backends.ring import Ring
from vestige.host.kvm.memory import GuestMemory, PrivateMemory
from vestige.host.loop.bell import SYS_IO_URING_ENTER
from vestige.lang.intrinsics import syscall
from vestige.lang.memory import Memory
from vestige.monitor.block import BlockRequest, Operation
from vestige.monitor.drivers.ring.driver import RingDriver

FIELDS = ("sq_head", "sq_tail", "sq_flags", "sq_array", "cq_head", "cq_tail", "cq_flags", "cqes")


class Bench:
    """Guest RAM, files of disks, a ring, and the driver; `run` asks for the first file."""

    def __init__(self, files: Sequence[int], eventfd: int, orders: int = -1) -> None:
        self.memory = GuestMemory(64 * abi.MIB)
        self.private = PrivateMemory()
        state = self.private.host_address(abi.STATE)
        self.ring = Ring(self.memory, state, files, eventfd, orders=orders)
        self.description = abi.Ring()
        self.ring.describe(self.description)
        self.translate()
        base = self.memory.region.address
        self.ram = Memory(low=base, low_size=self.memory.size)
        self.driver = RingDriver.at(state)
        self.driver.reset(self.description, state)
        self.request, self.disk = BlockRequest(), abi.Disk()
        self.statistics = abi.Statistics()

    def translate(self) -> None:
        """The monitor's addresses of the rings are this process's, elsewhere."""
        for monitor, size, host in self.ring.mappings():
            for field in (*FIELDS, "sqes"):
                address = getattr(self.description, field)
                if monitor <= address < monitor + size:
                    setattr(self.description, field, address - monitor + host)

    def run(self, operation: int, lba: int, segments: list[tuple[int, int]]) -> int:
        """One request to its end; its error."""
        request = self.request
        request.prepare(operation, 0, lba, sum(length for _, length in segments) // 512)
        for offset, length in segments:
            request.add(self.ram.low + offset, length)
        return self.finish()

    def discard(self, ranges: list[tuple[int, int]]) -> int:
        """The same for a DISCARD of (first sector, sectors)."""
        self.request.prepare(Operation.DISCARD, 0, 0, 0)
        for first, sectors in ranges:
            self.request.add(first, sectors)
        return self.finish()

    def finish(self) -> int:
        """The request to its end; its error."""
        request, driver = self.request, self.driver
        driver.start(0, request)
        while not driver.finished(0, request, self.disk):
            driver.resubmit(self.description)
            driver.advance(0, request, self.disk, self.ram, self.description)
            for chunk in list(driver.pins)[: driver.pin_count]:
                assert self.ring.pin(chunk) == 0
            driver.pin_count = 0
            if driver.queue.publish(self.description):
                entries = self.description.entries
                syscall(SYS_IO_URING_ENTER, self.ring.descriptor, entries, 0, 0, 0, 0)
            driver.reap(self.description, self.statistics)
        return driver.error_of(0)

    def close(self) -> None:
        """All of it."""
        self.ring.close()
        self.private.close()
        self.memory.close()
