"""What an interface counts."""

from vestige.lang.types import Struct, u32, u64


class Traffic(Struct):
    """Frames and bytes each way, from the guest's side."""

    received: u64
    received_bytes: u64
    received_dropped: u64
    sent: u64
    sent_bytes: u64
    sent_dropped: u64

    def receive(self, size: u32) -> None:
        """The driver was given a frame of so many bytes."""
        self.received += 1
        self.received_bytes += size

    def send(self, size: u32) -> None:
        """The driver has sent such a frame."""
        self.sent += 1
        self.sent_bytes += size

    def drop_received(self) -> None:
        """A frame found no room, or is none."""
        self.received_dropped += 1

    def drop_sent(self) -> None:
        """A frame can't be sent."""
        self.sent_dropped += 1
