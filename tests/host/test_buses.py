"""Which bus each disk is on, and where there."""

from vestige import abi
from vestige.host.buses import place_disks, place_floppies
from vestige.host.options import FLOPPY, IDE, VIRTIO, DiskOption


def test_ide_drives_fill_the_channels_and_virtio_disks_the_slots() -> None:
    config = abi.Config()
    buses = (VIRTIO, IDE, VIRTIO, IDE)
    place_disks(config, [DiskOption("", bus) for bus in buses], 2)
    assert [disk.bus for disk in config.disks] == [1, 0, 1, 0]
    assert [(config.disks[n].channel, config.disks[n].unit) for n in (1, 3)] == [(0, 0), (0, 1)]
    functions = [(each.kind, each.index, each.queues) for each in config.virtio]
    block = int(abi.VirtioKind.BLOCK)
    assert functions == [(block, 0, 2), (block, 2, 2)] + [(0, 0, 0)] * 6


def test_a_floppy_drive_is_of_the_kind_that_its_disk_needs() -> None:
    config = abi.Config()
    floppies = [DiskOption("", FLOPPY), DiskOption("b", FLOPPY)]
    disk = config.disks[1]
    disk.present, disk.sectors = 1, 5760
    place_disks(config, [DiskOption("a", IDE), floppies[1]], 1)
    place_floppies(config, floppies)
    assert (disk.bus, disk.unit) == (abi.Bus.FLOPPY, 1)
    assert list(config.floppies) == [abi.FloppyDrive.OF_1440K, abi.FloppyDrive.OF_2880K]
    assert config.disks[0].bus == abi.Bus.IDE


def test_a_drive_for_discs_is_the_second_channels_first_device() -> None:
    drive = DiskOption("", IDE, read_only=True, is_optical=True)
    for disks, expected in ((0, []), (2, [(0, 0), (0, 1)]), (3, [(0, 0), (0, 1), (1, 1)])):
        config = abi.Config()
        place_disks(config, [*(DiskOption("", IDE) for _ in range(disks)), drive], 1)
        places = [(disk.channel, disk.unit) for disk in list(config.disks)[: disks + 1]]
        assert places == [*expected, (1, 0)]


def test_a_controller_is_described_without_what_only_it_knows() -> None:
    config = abi.Config()
    names = ("vfio:0000:00:04.0", "image", "vfio:0000:00:05.0")
    place_disks(config, [DiskOption(name, read_only=True) for name in names], 1)
    told = [(disk.present, disk.read_only, disk.kind, disk.nvme) for disk in config.disks]
    nvme, ring = int(abi.DiskKind.NVME), int(abi.DiskKind.RING)
    assert told[:3] == [(1, 1, nvme, 0), (0, 0, ring, 0), (1, 1, nvme, 1)]
    assert [disk.sectors for disk in config.disks] == [0] * 4


def test_the_numbers_of_both_sides_fit_together() -> None:
    shared = abi.Shared()
    assert len(shared.routes) == abi.GSIS
    assert len(shared.config.virtio) == len(shared.statistics.virtio) == abi.MAX_VIRTIO
    assert abi.VIRTIO_NOTIFY + abi.VIRTIO_QUEUES * abi.VIRTIO_NOTIFY_STRIDE < abi.VIRTIO_BAR_SIZE
    end = abi.VIRTIO_BARS + abi.MAX_VIRTIO * abi.VIRTIO_BAR_SIZE
    assert abi.PCI_WINDOW <= abi.VIRTIO_BARS < end <= abi.ECAM
