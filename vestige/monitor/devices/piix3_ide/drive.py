"""One ATA drive: its registers, addresses and settings. ATA/ATAPI-6 (T13 1410D), clauses 6 to 8.

A write to the command block reaches both drives of a channel, so each keeps its own copy of
the registers; what a command puts there, only the drive that executed it has.
"""

from vestige.abi import FIRMWARE_SIZE, MODEL_SIZE, SERIAL_SIZE, Disk
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.piix3_ide.packet_spec import SIGNATURE_HIGH, SIGNATURE_MID
from vestige.monitor.devices.piix3_ide.spec import (
    CHS_LIMIT,
    DIAGNOSTIC_PASSED,
    LBA28_LIMIT,
    MULTIPLE_LIMIT,
    MULTIWORD_DMA_MODES,
    PIO_MODES,
    ULTRA_DMA_MODES,
    Device,
    Error,
    Feature,
    Register,
    Status,
    TransferMode,
)

HEADS = 16  # default translation of any drive of at least one such cylinder
SECTORS_PER_TRACK = 63
CYLINDERS_LIMIT = 16_383
NO_SUCH_ADDRESS = (1 << 64) - 1  # of a CHS address no sector has


class Drive(Struct):
    """Device 0 or 1 of a channel."""

    present: u8
    is_packet: u8  # it is a packet device, `optical`, and no disk
    read_only: u8
    can_discard: u8  # it knows DATA SET MANAGEMENT
    number: u8  # which disk of the core's this is
    status: u8
    error: u8
    interrupt_pending: u8  # 5.2.9: drives INTRQ while this drive is selected
    features: u8
    device: u8
    count: u8  # the latest byte written …
    lba_low: u8
    lba_mid: u8
    lba_high: u8
    count_previous: u8  # … and the one before: bits 8 to 15 of a 48-bit command's count,
    lba_low_previous: u8  # 24 to 31, 32 to 39 and 40 to 47 of its address
    lba_mid_previous: u8
    lba_high_previous: u8

    sectors: u64  # of 512 bytes
    heads: u8  # current translation, words 54 to 58
    sectors_per_track: u8
    cylinders: u16
    multiple: u8  # sectors of a DRQ block of READ and WRITE MULTIPLE; 0: they are disabled
    multiword_dma: u8  # bit n: mode n is selected …
    ultra_dma: u8  # … or this one's: of all modes of both, one
    write_cache: u8
    look_ahead: u8
    keep_settings: u8  # SRST leaves the settings
    standby: u8
    sleeping: u8
    serial: u8[SERIAL_SIZE]
    firmware: u8[FIRMWARE_SIZE]
    model: u8[MODEL_SIZE]

    # ---- what it is -----------------------------------------------------------------------

    def attach(self, number: u8, disk: Disk) -> None:
        """Put a disk in, before any access."""
        self.present = 1
        self.number = number
        self.read_only = disk.read_only
        self.can_discard = disk.can_discard
        self.is_packet = disk.is_optical
        self.sectors = disk.sectors
        for i in range(SERIAL_SIZE):
            self.serial[i] = disk.serial[i]
        for i in range(FIRMWARE_SIZE):
            self.firmware[i] = disk.firmware[i]
        for i in range(MODEL_SIZE):
            self.model[i] = disk.model[i]
        self.reset_settings()
        self.post_signature()

    def default_geometry(self) -> tuple[u16, u8, u8]:
        """Cylinders, heads and sectors a track: words 1, 3 and 6 of IDENTIFY DEVICE."""
        cylinders = self.sectors // (HEADS * SECTORS_PER_TRACK)
        if cylinders == 0:
            return u16(self.sectors), 1, 1
        return u16(min(cylinders, CYLINDERS_LIMIT)), HEADS, SECTORS_PER_TRACK

    def set_geometry(self, heads: u8, sectors_per_track: u8) -> bool:
        """INITIALIZE DEVICE PARAMETERS: whether CHS can be like this."""
        if heads == 0 or sectors_per_track == 0:
            return False
        cylinders = min(self.sectors, CHS_LIMIT) // (heads * sectors_per_track)
        if cylinders == 0:
            return False
        self.cylinders = u16(min(cylinders, 0xFFFF))
        self.heads = heads
        self.sectors_per_track = sectors_per_track
        return True

    def reset_settings(self) -> None:
        """Power-on defaults: SET FEATURES, SET MULTIPLE MODE, INITIALIZE DEVICE PARAMETERS."""
        cylinders, heads, sectors_per_track = self.default_geometry()
        self.cylinders = cylinders
        self.heads = heads
        self.sectors_per_track = sectors_per_track
        self.multiple = 0
        self.multiword_dma, self.ultra_dma = 1 << (MULTIWORD_DMA_MODES - 1), 0
        self.write_cache = 1
        self.look_ahead = 1

    # ---- registers ------------------------------------------------------------------------

    def read(self, offset: u8, previous: bool) -> u8:
        """A register but Data and Status; `previous`: HOB is set, 7.8."""
        match offset:
            case Register.ERROR:
                return self.error
            case Register.COUNT:
                return self.count_previous if previous else self.count
            case Register.LBA_LOW:
                return self.lba_low_previous if previous else self.lba_low
            case Register.LBA_MID:
                return self.lba_mid_previous if previous else self.lba_mid
            case Register.LBA_HIGH:
                return self.lba_high_previous if previous else self.lba_high
            case _:
                return self.device

    def write(self, offset: u8, value: u8) -> None:
        """A register but Data and Command. The 16-bit ones shift their bytes, 6.2 (48-bit)."""
        match offset:
            case Register.FEATURES:
                self.features = value
            case Register.COUNT:
                self.count_previous = self.count
                self.count = value
            case Register.LBA_LOW:
                self.lba_low_previous = self.lba_low
                self.lba_low = value
            case Register.LBA_MID:
                self.lba_mid_previous = self.lba_mid
                self.lba_mid = value
            case Register.LBA_HIGH:
                self.lba_high_previous = self.lba_high
                self.lba_high = value
            case _:
                self.device = value | Device.OBSOLETE

    def reset(self) -> None:
        """A software reset, 9.2: awake, settings kept or not, registers as after power-on."""
        self.sleeping = 0
        if self.keep_settings == 0:
            self.reset_settings()
        self.features = 0
        self.count_previous = 0
        self.lba_low_previous = 0
        self.lba_mid_previous = 0
        self.lba_high_previous = 0
        self.post_signature()

    def post_signature(self) -> None:
        """Ready, and this is an ATA drive, or a packet device: clause 9.12."""
        self.count = 1
        self.lba_low = 1
        self.lba_mid = SIGNATURE_MID if self.is_packet else 0
        self.lba_high = SIGNATURE_HIGH if self.is_packet else 0
        self.device = Device.OBSOLETE
        self.error = DIAGNOSTIC_PASSED
        self.status = 0 if self.is_packet else Status.DRDY | Status.DSC

    # ---- addresses and counts -------------------------------------------------------------

    def first_sector(self, wide: bool) -> u64:
        """The sector the registers address, NO_SUCH_ADDRESS where CHS allows none."""
        low = self.lba_low | self.lba_mid << 8 | self.lba_high << 16
        if self.device & Device.LBA == 0:
            return self.chs_sector(self.lba_mid | self.lba_high << 8)
        if not wide:
            return low | (self.device & Device.HEAD) << 24
        high = self.lba_low_previous | self.lba_mid_previous << 8 | self.lba_high_previous << 16
        return low | high << 24

    def chs_sector(self, cylinder: u16) -> u64:
        """The sector of the CHS address in the registers."""
        head = self.device & Device.HEAD
        sector = self.lba_low
        if cylinder >= self.cylinders or head >= self.heads:
            return NO_SUCH_ADDRESS
        if sector == 0 or sector > self.sectors_per_track:
            return NO_SUCH_ADDRESS
        return (cylinder * self.heads + head) * self.sectors_per_track + sector - 1

    def sector_count(self, wide: bool) -> u32:
        """Sectors a command moves: 0 stands for 256, in a 48-bit command for 65,536."""
        if wide:
            count = self.count | self.count_previous << 8
            return 0x1_0000 if count == 0 else count
        return 256 if self.count == 0 else self.count

    def show_sector(self, sector: u64, wide: bool) -> None:
        """Put an address into the registers, in the form the command's was."""
        if self.device & Device.LBA == 0:
            self.show_chs(sector)
            return
        self.lba_low = u8(sector)
        self.lba_mid = u8(sector >> 8)
        self.lba_high = u8(sector >> 16)
        if wide:
            self.lba_low_previous = u8(sector >> 24)
            self.lba_mid_previous = u8(sector >> 32)
            self.lba_high_previous = u8(sector >> 40)
        else:
            self.device = (self.device & ~Device.HEAD) | ((sector >> 24) & Device.HEAD)

    def show_chs(self, sector: u64) -> None:
        """Put an address into the registers as cylinder, head and sector."""
        track = sector // max(self.sectors_per_track, 1)
        cylinder = track // max(self.heads, 1)
        head = track % max(self.heads, 1)
        self.lba_low = u8(sector % max(self.sectors_per_track, 1) + 1)
        self.lba_mid = u8(cylinder)
        self.lba_high = u8(cylinder >> 8)
        self.device = (self.device & ~Device.HEAD) | (head & Device.HEAD)

    def last_sector(self) -> u64:
        """READ NATIVE MAX ADDRESS."""
        return u64(max(self.sectors, 1) - 1)

    def lba28_sectors(self) -> u32:
        """Sectors 28-bit commands reach: IDENTIFY DEVICE words 60 and 61."""
        return u32(min(self.sectors, LBA28_LIMIT))

    # ---- settings -------------------------------------------------------------------------

    def set_multiple(self) -> bool:
        """SET MULTIPLE MODE: a power of two up to MULTIPLE_LIMIT, or 0 to disable."""
        count = self.count
        if count > MULTIPLE_LIMIT or count & (count - 1) != 0:
            return False
        self.multiple = count
        return True

    def set_feature(self) -> bool:
        """SET FEATURES: whether there is this one."""
        match self.features:
            case Feature.ENABLE_WRITE_CACHE:
                self.write_cache = 1
            case Feature.DISABLE_WRITE_CACHE:
                self.write_cache = 0
            case Feature.SET_TRANSFER_MODE:
                return self.set_transfer_mode()
            case Feature.ENABLE_LOOK_AHEAD:
                self.look_ahead = 1
            case Feature.DISABLE_LOOK_AHEAD:
                self.look_ahead = 0
            case Feature.KEEP_SETTINGS:
                self.keep_settings = 1
            case Feature.REVERT_SETTINGS:
                self.keep_settings = 0
            case _:
                return False
        return True

    def set_transfer_mode(self) -> bool:
        """Set transfer mode: PIO 0 to 4, multiword DMA 0 to 2, Ultra DMA 0 to 2."""
        mode = self.count
        if TransferMode.MULTIWORD_DMA <= mode < TransferMode.MULTIWORD_DMA + MULTIWORD_DMA_MODES:
            self.multiword_dma, self.ultra_dma = 1 << (mode & 3), 0
            return True
        if TransferMode.ULTRA_DMA <= mode < TransferMode.ULTRA_DMA + ULTRA_DMA_MODES:
            self.multiword_dma, self.ultra_dma = 0, 1 << (mode & 3)
            return True
        if mode in (TransferMode.PIO_DEFAULT, TransferMode.PIO_DEFAULT_NO_IORDY):
            return True
        return TransferMode.PIO <= mode < TransferMode.PIO + PIO_MODES

    # ---- the end of a command -------------------------------------------------------------

    def succeed(self) -> None:
        """The command is done."""
        self.status = Status.DRDY | Status.DSC

    def fail(self, error: u8) -> None:
        """The command is over without being done; `error` says why."""
        self.error = error
        self.status = Status.DRDY | Status.ERR

    def abort(self) -> None:
        """Not supported, or not now."""
        self.fail(Error.ABRT)
