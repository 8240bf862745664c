"""Between the entropy device's pool and the host's random bytes, never waiting."""

from vestige.abi import Config, Statistics
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u64
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_rng.model import POOL_SIZE, VirtioEntropy
from vestige.monitor.drivers.ring.driver import Owner, RingDriver
from vestige.monitor.drivers.ring.spec import Errno
from vestige.monitor.line import NEVER
from vestige.monitor.streams import RETRY


class EntropyLink(Struct):
    """When to look again, in nanoseconds."""

    after: u64  # not before this time; 0: any time

    def connect(self, config: Config) -> None:
        """Power on."""

    def renew(self, entropy: VirtioEntropy, config: Config) -> None:
        """What waits others have, too: it is random no more."""
        entropy.forget()

    def next_deadline(self) -> u64:
        """When `move` has something to do though nothing else happens."""
        return self.after if self.after else NEVER

    def flush(self) -> None:
        """It has nothing to write."""

    def take(
        self,
        entropy: VirtioEntropy,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        now: u64,
    ) -> bool:
        """Look what has been read; whether the driver gets something."""
        if not ring_driver.take_answer(Owner.ENTROPY):
            return False
        result = ring_driver.result_of(Owner.ENTROPY)
        if result > 0:
            entropy.filled(result)
        elif result == -Errno.EAGAIN:
            self.after = u64(now + RETRY)
        elif result != -Errno.EINTR:
            entropy.fail()
        return True

    def move(
        self,
        entropy: VirtioEntropy,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        statistics: Statistics,
        now: u64,
    ) -> None:
        """Fill the pool where it is empty and somebody wants it."""
        if now >= self.after and entropy.wants(device):
            self.after = 0
            place = address_of(entropy.pool)
            ring_driver.read_stream(Owner.ENTROPY, config.entropy, place, POOL_SIZE, config.ring)

    def idle(self, entropy: VirtioEntropy, ring_driver: RingDriver) -> bool:
        """Whether nothing of the guest's waits to go out."""
        return True
