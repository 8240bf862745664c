"""A guest's disk on an NVMe controller: device, model, driver, and the interrupt back."""

import ctypes
import struct

import pytest

from tests.devices.virtio.reference import Buffer
from tests.drivers.benches import Pages
from tests.drivers.fake_nvme import DO_NOT_RETRY, UNRECOVERED_READ, FakeNvme
from tests.monitor.rig import Rig
from tests.monitor.virtio_guest import FLUSH_OUT, IN, OUT, VirtioDisk
from vestige import abi
from vestige.abi import SECTOR
from vestige.host.buses import place_disks
from vestige.host.options import IDE, VIRTIO, DiskOption
from vestige.lang.intrinsics import address_of
from vestige.monitor.core.controllers import start_controllers
from vestige.monitor.drivers.nvme.controller import WATCH

COMMAND_BLOCK, BUS_MASTER = abi.PORT_IDE, abi.PORT_IDE_BUS_MASTER
IDENTIFY_DEVICE, READ_DMA, WRITE_DMA, FLUSH = 0xEC, 0xC8, 0xCA, 0xE7
DATA, PRD = 0x10_0000, 0x1000
ERR, BSY = 0x01, 0x80


class NvmeRig(Rig):
    """A machine with one disk, on a controller; the ring has the console alone."""

    def __init__(self, sectors: int = 256, *, virtio: bool = False) -> None:
        super().__init__(cpus=2)
        self.image = bytearray(number * 7 & 0xFF for number in range(sectors * SECTOR))
        self.queues = Pages(abi.NVME_QUEUES_SIZE)
        self.fake = FakeNvme(self.image)
        self.fake.allowed = [
            (ctypes.addressof(self.memory), len(self.memory)),
            (address_of(self.machine), abi.STATE_SIZE),
            (self.queues.address, self.queues.size),
        ]
        config = self.shared.config
        nvme, disk = config.nvme[0], config.disks[0]
        nvme.present, nvme.vectors = 1, 3
        nvme.bar, nvme.bar_size = self.fake.registers, len(self.fake.bar)
        nvme.queues = self.queues.address
        disk.present, disk.kind = 1, abi.DiskKind.NVME
        place_disks(config, [DiskOption("", VIRTIO if virtio else IDE)], 2)

    def start(self) -> "NvmeRig":
        super().start()
        with self.entered(self.cpus[0]):
            start_controllers(self.machine, self.shared)
        self.out(abi.PORT_PCI_ADDRESS, 1 << 31 | abi.IDE_SLOT << 11 | 4, 4)
        self.out(abi.PORT_PCI_DATA, 5, 2)
        self.enable_pin(abi.PIN_PCI_INTA, 0x51)
        self.rung.clear()
        self.calls.clear()
        return self

    def pause(self) -> None:
        """While the monitor waits for a controller, that goes on."""
        self.fake.step()

    def command(self, code: int, lba: int = 0, count: int = 0) -> None:
        """A 28-bit command to device 0 of the primary channel."""
        for register, value in ((2, count), (3, lba), (4, lba >> 8), (5, lba >> 16), (6, 0xE0)):
            self.out(COMMAND_BLOCK + register, value & 0xFF)
        self.out(COMMAND_BLOCK + 7, code)

    def dma(self, code: int, lba: int, address: int, length: int) -> None:
        """A DMA command over one region of RAM."""
        table = struct.pack("<IHH", address, length & 0xFFFF, 0x8000)
        memoryview(self.memory).cast("B")[PRD : PRD + 8] = table
        self.out(BUS_MASTER + 4, PRD, 4)
        self.out(BUS_MASTER + 2, 6)
        self.out(BUS_MASTER, 8 if code == READ_DMA else 0)
        self.command(code, lba, length // SECTOR)
        self.out(BUS_MASTER, 9 if code == READ_DMA else 1)

    def status(self) -> int:
        """The drive's status; reading it acknowledges."""
        return self.inp(COMMAND_BLOCK + 7)


@pytest.fixture
def rig() -> NvmeRig:
    """Powered on, its function enabled, its interrupt unmasked."""
    return NvmeRig().start()


def test_the_guest_sees_the_controllers_name_plate(rig: NvmeRig) -> None:
    rig.command(IDENTIFY_DEVICE)
    words = rig.port(COMMAND_BLOCK, 2, bytes(512), write=False)
    swapped = bytes(byte for pair in zip(words[1::2], words[::2], strict=True) for byte in pair)
    assert swapped[54:94].rstrip() == b"A Model of a Drive"
    assert swapped[20:40].rstrip() == b"S3R1AL"
    assert swapped[46:54].rstrip() == b"FW 1.0"
    assert struct.unpack_from("<I", words, 120)[0] == 256


def test_a_read_is_a_doorbell_and_its_answer_an_interrupt_of_the_worker(rig: NvmeRig) -> None:
    rig.dma(READ_DMA, 8, DATA, 4096)
    assert rig.status() & BSY or rig.status() & 0x08
    assert rig.rung == []
    assert rig.fake.step()
    rig.work()
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.status() == 0x50
    assert bytes(rig.memory)[DATA : DATA + 4096] == rig.image[8 * SECTOR : 16 * SECTOR]
    assert set(rig.calls) <= {abi.Call.ROUTE}
    assert rig.shared.statistics.nvme[0].bounced_bytes == 0


def test_a_write_and_a_flush_reach_the_controller_in_this_order(rig: NvmeRig) -> None:
    memoryview(rig.memory).cast("B")[DATA : DATA + 1024] = bytes(1024)
    rig.dma(WRITE_DMA, 4, DATA, 1024)
    rig.fake.step()
    rig.work()
    assert rig.image[4 * SECTOR : 6 * SECTOR] == bytes(1024)
    rig.command(FLUSH)
    assert rig.fake.step()
    assert rig.fake.unflushed == 0
    rig.work()
    assert rig.status() == 0x50


def test_each_cpu_has_its_own_queue(rig: NvmeRig) -> None:
    rig.out(COMMAND_BLOCK + 7, FLUSH, cpu=1)
    rig.fake.step()
    assert [command.queue for command in rig.fake.log] == [2]


def test_an_error_of_the_medium_is_the_guests(rig: NvmeRig) -> None:
    rig.fake.status = lambda command: UNRECOVERED_READ | DO_NOT_RETRY
    rig.dma(READ_DMA, 8, DATA, 4096)
    rig.fake.step()
    rig.work()
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.status() & (ERR | BSY) == ERR


def test_a_controller_pulled_out_is_an_ata_error_and_no_hang(rig: NvmeRig) -> None:
    rig.dma(READ_DMA, 8, DATA, 4096)
    rig.fake.remove()
    assert rig.machine.next_deadline() <= rig.now + WATCH
    rig.now += WATCH
    rig.work()
    assert rig.rung == [abi.PIN_PCI_INTA]
    assert rig.status() & (ERR | BSY) == ERR
    for _ in range(3):
        rig.command(FLUSH)
        assert rig.status() & (ERR | BSY) == ERR
    assert rig.shared.statistics.nvme[0].failure == abi.NvmeFailure.GONE


def test_a_disk_whose_controller_failed_is_not_there() -> None:
    rig = NvmeRig()
    rig.fake.namespaces = [0]
    rig.start()
    rig.command(IDENTIFY_DEVICE)
    assert rig.inp(COMMAND_BLOCK + 7) == 0xFF
    assert rig.shared.statistics.nvme[0].failure == abi.NvmeFailure.NO_NAMESPACE


def test_a_virtio_disk_has_many_commands_under_way() -> None:
    rig = NvmeRig(virtio=True).start()
    disk = VirtioDisk(rig, size=256)
    assert disk.rig.read(disk.bar + 0x2000) == 256, "the controller knows how large it is"
    places = {}
    for sector in range(60):
        place = DATA + 0x1000 * sector
        places[disk.ask(IN, sector, Buffer(place, 512, writable=True))] = (sector, place)
    disk.notify()
    assert len(rig.fake.log) == 0
    done: dict[int, int] = {}
    while rig.fake.step():
        rig.work()
        done |= disk.done()
    assert done == dict.fromkeys(places, 0)
    for sector, place in places.values():
        assert disk.ram.get(place, 512) == rig.image[sector * SECTOR : (sector + 1) * SECTOR]
    assert set(rig.calls) <= {abi.Call.ROUTE}


def test_a_virtio_write_and_its_flush_reach_the_controller_in_this_order() -> None:
    rig = NvmeRig(virtio=True).start()
    disk = VirtioDisk(rig)
    disk.ram.put(DATA, b"written!" * 128)
    for request in ((OUT, 9, Buffer(DATA, 1024, writable=False)), (FLUSH_OUT, 0)):
        number = disk.ask(*request)
        disk.notify()
        assert rig.fake.step()
        rig.work()
        assert disk.done() == {number: 0}
    assert rig.image[9 * SECTOR : 11 * SECTOR] == b"written!" * 128
    assert rig.fake.unflushed == 0


def test_an_error_of_the_medium_is_a_virtio_requests() -> None:
    rig = NvmeRig(virtio=True).start()
    disk = VirtioDisk(rig)
    rig.fake.status = lambda command: UNRECOVERED_READ | DO_NOT_RETRY
    number = disk.ask(IN, 0, Buffer(DATA, 512, writable=True))
    disk.notify()
    rig.fake.step()
    rig.work()
    assert disk.done() == {number: 1}
