"""The entropy device as its driver and the core see it."""

import ctypes

from tests.devices.virtio.plain import PlainBench
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.monitor.devices.virtio_rng.model import POOL_SIZE, VirtioEntropy


class EntropyBench(PlainBench):
    """The entropy device. Its bytes are 1, 2, 3 and so on."""

    def __init__(self) -> None:
        config = abi.Config()
        function = config.virtio[0]
        function.kind, function.queues, function.shares = abi.VirtioKind.ENTROPY, 1, 1
        super().__init__(config, lambda virtio: virtio.entropies[0])
        self.entropy = self.virtio.entropies[0]
        self.next = 0

    def fill(self, count: int = POOL_SIZE) -> bytes:
        """What the core does where bytes are wanted."""
        assert VirtioEntropy.wants(self.entropy, self.device)
        data = bytes((self.next + i) % 255 + 1 for i in range(count))
        self.next += count
        ctypes.memmove(address_of(self.entropy.pool), data, count)
        self.entropy.filled(count)
        self.service()
        return data
