"""A virtio disk of ours and one of QEMU's: requests, and the image both begin with."""

import ctypes
from pathlib import Path

from tests.devices.virtio.bench import SECTORS, Bench
from tests.devices.virtio.reference import Buffer, Driver
from tests.qtest.virtio_pair import SLOT, Guest, Ours
from vestige.monitor.block import BlockRequest, Operation

FLUSH = 1 << 9
HEADER, STATUS, PAYLOAD = 0x16000, 0x16020, 0x16200


class OurDisk(Ours):
    """The models; requests are done on `image` at once."""

    def __init__(self, image: bytearray) -> None:
        self.disk = Bench()
        self.image = image
        super().__init__(self.disk, self.answer)

    def answer(self) -> None:
        """Whatever is asked."""
        self.disk.service()
        while asked := self.disk.asked():
            for number, request in asked:
                self.perform(request)
                self.disk.answer(number)

    def perform(self, request: BlockRequest) -> None:
        """What the block driver below does."""
        place = request.lba * 512
        for number in range(request.segment_count):
            segment = request.segments[number]
            if request.operation == Operation.READ:
                data = bytes(self.image[place : place + segment.length])
                ctypes.memmove(segment.address, data, len(data))
            else:
                data = ctypes.string_at(segment.address, segment.length)
                self.image[place : place + segment.length] = data
            place += segment.length


class DiskGuest(Guest):
    """The driver of a disk on one side."""

    def ask(
        self, driver: Driver, kind: int, sector: int, *parts: Buffer, indirect: bool = False
    ) -> tuple[int, int]:
        """A whole request; its status byte and written length."""
        self.ram.poke(HEADER, "IIQB", kind, 0, sector, 0)
        self.ram.poke(STATUS, "B", 0xEE)
        whole = [Buffer(HEADER, 16, writable=False), *parts, Buffer(STATUS, 1, writable=True)]
        assert driver.add(whole, indirect=indirect) is not None
        self.notify(0)
        ((_, written),) = self.side.settle([driver], 1)
        return self.ram.peek(STATUS, "B"), written


def make_image(path: Path) -> bytearray:
    """What both disks hold at first."""
    content = bytearray(
        (sector * 31 + byte) & 0xFF for sector in range(SECTORS) for byte in range(512)
    )
    path.write_bytes(content)
    return content


def arguments(image: Path) -> list[str]:
    """QEMU's disk, as ours is."""
    return [
        *("-blockdev", f"driver=file,filename={image},node-name=disk"),
        *("-device", f"virtio-blk-pci,drive=disk,addr={SLOT},disable-legacy=on,packed=on,"
                     "num-queues=2,queue-size=256,serial=VESTIGE0001"),
    ]  # fmt: skip
