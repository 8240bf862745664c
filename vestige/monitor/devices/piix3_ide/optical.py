"""The disc in a packet device: which it is, whether it was changed, and what went wrong last.

SFF-8020i; MMC-3 (T10 1363-D). The user changes discs while the guest runs: abi.Disc says to what,
and the drive looks there whenever it is told something, and when it has read something.
"""

from vestige.abi import Disk
from vestige.lang.intrinsics import address_of, load64, load_acquire32
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.piix3_ide.packet_spec import (
    BLOCK_SECTORS,
    LARGEST_CD,
    MAX_BLOCKS,
    RETRIES,
    MediaEvent,
    Profile,
    Sense,
    SenseKey,
)


class Optical(Struct):
    """What a packet device has that a disk has not."""

    told: u64  # where the abi.Disc is; 0: nobody changes the disc
    changes: u32  # of it, as many as the drive has seen
    blocks: u32  # 0: there is no disc
    is_open: u8  # the tray is
    locked: u8  # PREVENT ALLOW MEDIUM REMOVAL
    attention: u8  # the next command hears that the disc may be another
    event: u8  # MediaEvent that nobody has asked for yet
    key: u8  # SenseKey of the last command …
    sense: u16  # … and its Sense
    recovery: u8  # byte 2 of the mode page for error recovery: kept, no more
    retries: u8

    def attach(self, disk: Disk) -> None:
        """Before any access."""
        self.told = address_of(disk.disc)
        self.changes = disk.disc.changes
        self.put_in(disk.disc.sectors)
        self.reset_settings()

    def reset_settings(self) -> None:
        """Those of MODE SELECT, as at power-on."""
        self.recovery = 0
        self.retries = RETRIES

    def put_in(self, sectors: u64) -> None:
        """The disc is one of so many sectors; none: there is no disc."""
        self.blocks = u32(min(sectors // BLOCK_SECTORS, MAX_BLOCKS - 1))

    def look(self) -> bool:
        """Whether the user has changed the disc; then the guest is to hear of it.

        While that is under way, which an odd number of changes says, there is none.
        """
        if self.told == 0:
            return False
        changes = load_acquire32(self.told)
        if changes == self.changes:
            return False
        self.changes = changes
        self.put_in(0 if changes & 1 else load64(u64(self.told + 8)))
        self.is_open = self.blocks == 0
        self.note_change()
        return True

    def note_change(self) -> None:
        """There is another disc, or none."""
        if self.has_disc():
            self.attention = 1
            self.event = MediaEvent.NEW_MEDIA
        else:
            self.attention = 0
            self.event = MediaEvent.MEDIA_REMOVAL

    def move_tray(self, is_open: bool) -> None:
        """Open it, or close it."""
        if (self.is_open != 0) != is_open:
            self.is_open = is_open
            if self.blocks:
                self.note_change()

    def has_disc(self) -> bool:
        """Whether there is one that can be read."""
        return self.blocks != 0 and self.is_open == 0

    def absence(self) -> u16:
        """The Sense where there is none."""
        return Sense.NO_MEDIUM_OPEN if self.is_open else Sense.NO_MEDIUM_CLOSED

    def profile(self) -> u16:
        """The Profile of the disc."""
        if not self.has_disc():
            return Profile.NONE
        return Profile.DVD_ROM if self.blocks > LARGEST_CD else Profile.CD_ROM

    def has(self, first: u32, count: u32) -> bool:
        """Whether there are so many blocks from there on."""
        return first <= self.blocks and count <= u32(self.blocks - first)

    def forget_sense(self) -> None:
        """A command is taken, or has told it."""
        self.key = SenseKey.NO_SENSE
        self.sense = Sense.NONE
