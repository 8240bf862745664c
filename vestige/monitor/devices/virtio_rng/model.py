"""The entropy device: a driver's empty buffers come back with random bytes. Virtio 1.2, 5.4.

The bytes are the host's. They wait in `pool`, which the core fills where `wants` says so, and
each is given to a driver once and wiped.
"""

from vestige.abi import Config
from vestige.lang.intrinsics import address_of, fill
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice

POOL_SIZE = 256  # what one read of the host's generator brings whole, getrandom(2)
QUEUE = 0


class VirtioEntropy(Struct):
    """The first `count` bytes of `pool` are random and nobody has seen them."""

    pool: u8[POOL_SIZE]
    count: u32
    failed: u8  # the host has none to give

    def configure(self, config: Config) -> None:
        """There is nothing to tell it."""

    def features(self) -> u64:
        """It offers none of its own."""
        return 0

    def read_config(self, offset: u32) -> u32:
        """It has no configuration structure."""
        return 0

    def wants(self, device: VirtioDevice) -> bool:
        """Whether the core is to fill the pool: there is a driver, and nothing for it."""
        return self.count == 0 and self.failed == 0 and device.running()

    def filled(self, count: u32) -> None:
        """The core has put so many bytes there."""
        self.count = min(count, POOL_SIZE)

    def forget(self) -> None:
        """Nobody is to have the bytes that are there."""
        fill(address_of(self.pool), 0, POOL_SIZE)
        self.count = 0

    def fail(self) -> None:
        """There are none and there won't be."""
        self.failed = 1

    def service(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Fill the buffers there are, as long as there are bytes.

        5.4.6.1: a buffer may come back with fewer bytes than it has room for, but not with none.
        The driver must not give one to be read; such a one, and one without room, breaks the
        device, as does a host without bytes: its driver must not wait for ever.
        """
        if self.failed and device.running():
            device.fail()
        while self.count > 0 and device.take(QUEUE, chain, ram):
            written = u32(0)
            if chain.readable > 0 or chain.writable == 0:
                device.fail()
            else:
                written = self.give(chain, ram)
            device.give(QUEUE, chain.identifier, chain.slots, written, ram)

    def give(self, chain: Chain, ram: Memory) -> u32:
        """The pool's last bytes; how many."""
        count = self.count
        size = u32(min(count, chain.writable))
        place = u64(address_of(self.pool) + u64(count - size))
        chain.fill(0, place, size, ram)
        fill(place, 0, size)
        self.count = u32(count - size)
        return size
