"""One drive of the 82077AA: its head, its disk, and where on that the sectors are."""

from vestige.abi import Disk
from vestige.lang.types import Struct, u8, u16, u64
from vestige.monitor.devices.i82077.spec import CYLINDER_LIMIT, SECTOR_CODE, Rate

HEADS = 2


class Drive(Struct):
    """State of a drive. A step is what a real one sees of a seek."""

    present: u8
    loaded: u8  # there is a disk
    protected: u8
    number: u8  # which disk of the core's it is
    changed: u8  # DSKCHG: from when a disk is put in until the next step
    cylinder: u8  # where the head is, and the chip's PCN
    cylinders: u8
    sectors: u8  # of a track
    rate: u8
    passed: u8  # sectors whose ID READ ID has seen, of this track

    def attach(self, number: u8, disk: Disk) -> None:
        """Put a disk in, before any access. Its size says which it is."""
        self.loaded = 1
        self.number = number
        self.protected = disk.read_only
        sectors, rate = layout(disk.sectors)
        self.sectors = sectors
        self.rate = rate
        self.cylinders = 80

    def move_to(self, cylinder: u8) -> None:
        """Step there. The stop that a drive has behind its last track is not passed."""
        cylinder = min(cylinder, CYLINDER_LIMIT - 1)
        if cylinder != self.cylinder and self.loaded:
            self.changed = 0
        self.cylinder = cylinder
        self.passed = 0

    def readable(self, head: u8, rate: u8) -> bool:
        """Whether there are address marks under this head, at this rate."""
        on_track = self.cylinder < self.cylinders and head < HEADS
        return self.loaded != 0 and rate == self.rate and on_track

    def has_sector(self, sector: u8, size: u8) -> bool:
        """Whether a track has a sector of this number and code of size."""
        return 0 < sector <= self.sectors and size == SECTOR_CODE

    def place_of(self, head: u8, sector: u8) -> u64:
        """Where in the image a sector of this track is that there is."""
        track = self.cylinder * HEADS + (head & 1)
        return u64(track * self.sectors + max(sector, 1) - 1)

    def next_id(self) -> u8:
        """The sector whose ID comes by next."""
        sector = self.passed % max(self.sectors, 1) + 1
        self.passed = sector
        return sector


def layout(sectors: u64) -> tuple[u8, u8]:
    """Sectors a track and data rate of a disk with 80 cylinders, by all its sectors."""
    track = u16(min(sectors // (80 * HEADS), 36))
    if track == 36:
        return 36, Rate.KBPS_1000
    if track == 9:
        return 9, Rate.KBPS_250
    return u8(track), Rate.KBPS_500
