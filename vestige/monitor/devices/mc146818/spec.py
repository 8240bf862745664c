"""The MC146818A's registers, and what a PC's firmware keeps in its RAM.

Motorola MC146818A data sheet, by the name of its section or table. The cells from 0x0F on are a
PC's: Ralf Brown's list of CMOS memory, and SeaBIOS.
"""

from vestige.lang.enumeration import IntEnum, IntFlag

CELLS = 128
CRYSTAL = 32_768  # Hz at OSC1
# Table 6, with that crystal, in ns.
BEFORE_UPDATE = 244_000  # tBUC: from UIP to the update cycle
UPDATE = 1_984_000  # tUC: the update cycle
FIRST_UPDATE = 500_000_000  # Register A, DV: from the divider's release to the first update cycle


class Port(IntEnum):
    """Offsets from the first port."""

    INDEX = 0  # WO: bits 0 to 6 a cell, bit 7 masks NMI
    DATA = 1  # RW: that cell


class Cell(IntEnum):
    """Address map; RAM where nothing else is said."""

    SECONDS = 0x00  # table 3, BCD or binary: 0 to 59
    SECONDS_ALARM = 0x01
    MINUTES = 0x02  # 0 to 59
    MINUTES_ALARM = 0x03
    HOURS = 0x04  # 0 to 23; 1 to 12, with bit 7 for the afternoon
    HOURS_ALARM = 0x05
    DAY_OF_WEEK = 0x06  # 1 to 7, Sunday is 1
    DAY = 0x07  # of the month, 1 to 31
    MONTH = 0x08  # 1 to 12
    YEAR = 0x09  # 0 to 99
    REGISTER_A = 0x0A  # RW but UIP
    REGISTER_B = 0x0B  # RW
    REGISTER_C = 0x0C  # RO, reading clears
    REGISTER_D = 0x0D  # RO
    SHUTDOWN = 0x0F  # where firmware goes on after a reset of the CPU
    FLOPPIES = 0x10  # the drives' kinds, abi.FloppyDrive: the first's in bits 4 to 7
    EQUIPMENT = 0x14
    BASE_MEMORY = 0x15  # 16 bits, KiB
    EXTENDED_MEMORY = 0x17  # 16 bits, KiB above 1 MiB
    SUM_HIGH = 0x2E  # of the cells from SUMMED_FIRST to SUMMED_END
    SUM_LOW = 0x2F
    EXTENDED_MEMORY_FOUND = 0x30  # the same as EXTENDED_MEMORY
    CENTURY = 0x32  # 0 to 99; counted here
    MEMORY_ABOVE_16_MIB = 0x34  # 16 bits, 64 KiB each, below 4 GiB
    BOOT_ORDER = 0x3D  # bits 0 to 3 the first device, 4 to 7 the second
    MEMORY_ABOVE_4_GIB = 0x5B  # 24 bits, 64 KiB each
    CPUS = 0x5F  # less 1


SUMMED_FIRST = 0x10
SUMMED_END = 0x2E


class RegisterA(IntFlag):
    """Register A."""

    UPDATE_IN_PROGRESS = 1 << 7  # UIP, RO
    DIVIDER = 7 << 4  # DV
    RATE = 0xF  # RS


RUNNING = 2 << 4  # DV, table 4: a time base of 32.768 kHz
# RS, table 5: the period of the periodic interrupt in those of the crystal. 0: there is none.
PERIODS = (0, 128, 256, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class RegisterB(IntFlag):
    """Register B. The interrupt enables are at the places of their flags in register C."""

    SET = 1 << 7  # no updates
    PERIODIC = 1 << 6  # PIE
    ALARM = 1 << 5  # AIE
    UPDATE_ENDED = 1 << 4  # UIE
    SQUARE_WAVE = 1 << 3  # SQWE
    BINARY = 1 << 2  # DM
    HOURS_24 = 1 << 1  # 24/12
    DAYLIGHT_SAVING = 1 << 0  # DSE


class RegisterC(IntFlag):
    """Register C."""

    REQUEST = 1 << 7  # IRQF: a flag is set whose interrupt is enabled
    PERIODIC = 1 << 6  # PF
    ALARM = 1 << 5  # AF
    UPDATE_ENDED = 1 << 4  # UF
    FLAGS = PERIODIC | ALARM | UPDATE_ENDED


VALID = 0x80  # register D, VRT: power has never failed
RESET_A = RUNNING | 6  # 1024 Hz, as a PC's firmware has it
RESET_B = RegisterB.HOURS_24  # and BCD

# SHUTDOWN: jump by 0040:0067 with and without an end of interrupt, INT 15h 87h, IRET, RETF.
RESUMING = (0x05, 0x0A, 0x09, 0x0B, 0x0C)

DONT_CARE = 0xC0  # in an alarm's cell: both set, it need not match
AFTERNOON = 0x80  # in HOURS and HOURS_ALARM where there are 12

FLOPPY = 1 << 0  # in EQUIPMENT: there are floppy drives, bits 6 and 7 how many, less 1
SECOND_FLOPPY = 1 << 6
COPROCESSOR = 1 << 1  # in EQUIPMENT: an FPU
POINTER = 1 << 2  # in EQUIPMENT: a mouse at the keyboard's controller
DISK_THEN_CD = 0x32  # BOOT_ORDER
BASE_KIB = 640
EXTENDED_KIB = 0xFC00  # EXTENDED_MEMORY at most: 63 MiB
