"""MSI-X: a table of messages, each with a mask, and what waits behind the masks. PCI 3.0, 6.8.2.

What is to be sent is not a message but a bit in `requests`: the core takes the message from the
table, gives it to the host if it is another than the last, and rings the vector's doorbell.
"""

from vestige.lang.types import Struct, u16, u32, u64
from vestige.monitor.devices.virtio.spec import VECTOR_MASKED, VECTOR_SIZE, VECTORS

ADDRESS_MASK = 0xFFFF_FFFC


class Vector(Struct):
    """One entry of the table."""

    address_low: u32
    address_high: u32
    data: u32
    control: u32


class Msix(Struct):
    """A function's vectors. `count` of them exist."""

    vectors: Vector[VECTORS]
    count: u16
    enabled: u16  # the capability's enable bit
    masked: u16  # the capability's function mask
    pending: u32  # sets of vectors: raised while masked
    requests: u32  # to be sent

    def reset(self, count: u16) -> None:
        """All vectors masked, 6.8.2.9."""
        self.count = count
        for i in range(VECTORS):
            self.vectors[i].control = VECTOR_MASKED

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u32) -> u32:
        """32 bits of the table at `offset`, a multiple of 4; beyond it they are 0."""
        number = offset // VECTOR_SIZE
        if number >= self.count or number >= VECTORS:
            return 0
        vector = self.vectors[number]
        match offset % VECTOR_SIZE:
            case 0:
                return vector.address_low
            case 4:
                return vector.address_high
            case 8:
                return vector.data
            case _:
                return vector.control

    def write(self, offset: u32, value: u32) -> None:
        """Set 32 bits of the table; an unmasked vector that waited is sent."""
        number = offset // VECTOR_SIZE
        if number >= self.count or number >= VECTORS:
            return
        vector = self.vectors[number]
        match offset % VECTOR_SIZE:
            case 0:
                vector.address_low = value & ADDRESS_MASK
            case 4:
                vector.address_high = value
            case 8:
                vector.data = value
            case _:
                vector.control = value & VECTOR_MASKED
                self.service()

    def read_pending(self, offset: u32) -> u32:
        """32 bits of the pending bits: all are in the first."""
        return self.pending if offset == 0 else 0

    def control(self, enabled: bool, masked: bool) -> None:
        """Message control was written. Disabled, nothing waits: INTx takes over."""
        self.enabled = enabled
        self.masked = masked
        if not enabled:
            self.pending = 0
            self.requests = 0
        self.service()

    # ---- the function ---------------------------------------------------------------------

    def send(self, vector: u16) -> None:
        """Raise a vector; NO_VECTOR is none."""
        if vector < self.count and self.enabled:
            self.pending |= u32(1 << (vector & 31))
            self.service()

    def forget(self) -> None:
        """The device was reset: what it raised before is of no use."""
        self.pending = 0
        self.requests = 0

    def service(self) -> None:
        """Move what is no longer masked from `pending` to `requests`."""
        pending = self.pending
        if pending == 0 or self.masked or not self.enabled:
            return
        for i in range(VECTORS):
            if pending >> i == 0:
                break
            if pending >> i & 1 and not self.vectors[i].control & VECTOR_MASKED:
                self.requests |= u32(1 << i)
                pending &= ~u32(1 << i)
        self.pending = pending

    # ---- the core -------------------------------------------------------------------------

    def take_requests(self) -> u32:
        """The vectors to be sent; they are the caller's from now on."""
        requests = self.requests
        self.requests = 0
        return requests

    def message_address(self, vector: u32) -> u64:
        """Where the vector's message is written."""
        entry = self.vectors[vector]
        return entry.address_low | entry.address_high << 32

    def message_data(self, vector: u32) -> u32:
        """What is written there."""
        return self.vectors[vector].data
