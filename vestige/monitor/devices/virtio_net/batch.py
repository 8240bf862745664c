"""Frames on their way out, as the other side takes them, until it has taken them all.

A tap takes a frame at a time, with virtio's header in front; a stream takes bytes, with the
length of each frame (32 bits, big-endian) in front of it.
"""

from vestige.abi import NetBackend
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio_net.spec import MAX_PACKET

BATCH_SIZE = 0x1_E000  # bytes: the longest packet, and much of a second
BATCH_FRAMES = 32
BATCH_ENDS = BATCH_FRAMES + 1  # where each frame begins, and the last one ends


class Batch(Struct):
    """Frames [0, count), of them [0, given) given to the ring, `pending` not answered."""

    used: u32  # bytes of `data`
    sent: u32  # of them gone, of a stream
    count: u16
    given: u16
    pending: u16
    starts: u32[BATCH_ENDS]  # where in `data` each begins
    data: u8[BATCH_SIZE]

    def reset(self) -> None:
        """No frames."""
        self.used = 0
        self.sent = 0
        self.count = 0
        self.given = 0
        self.pending = 0

    def begun(self) -> bool:
        """Whether any of it was given to the ring."""
        return self.given > 0 or self.sent > 0 or self.pending > 0

    def abandon(self) -> None:
        """The other side is to have no more of it."""
        self.sent = self.used
        self.given = self.count
        self.pending = 0

    def open(self) -> bool:
        """Whether the longest packet can still be added: nothing was given to the ring."""
        room = self.used <= BATCH_SIZE - MAX_PACKET
        return room and not self.begun() and self.count < BATCH_FRAMES

    def gone(self, backend: u8) -> bool:
        """Whether the other side has all of it, or none was there."""
        done = self.sent == self.used if backend == NetBackend.STREAM else self.given == self.count
        return done and self.pending == 0

    def place(self) -> u64:
        """Where the next packet goes."""
        return u64(address_of(self.data) + self.used)

    def add(self, length: u32) -> None:
        """`length` bytes have been put there."""
        self.starts[self.count] = self.used
        self.used += length
        self.count += 1
        self.starts[self.count] = self.used
