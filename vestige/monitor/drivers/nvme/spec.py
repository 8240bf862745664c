"""NVMe registers, queue entries and commands. NVM Express base specification, revision 1.4.

Definitions only; the subset this driver uses.
"""

from enum import IntEnum, IntFlag

from vestige.abi import FIRMWARE_SIZE, MODEL_SIZE, SERIAL_SIZE
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.sized import ONES

PAGE = 4096  # bytes: CC.MPS is 0
GONE = ONES[4]  # what a register reads as when nobody is there any more


class Register(IntEnum):
    """3.1: offsets from BAR 0."""

    CAP = 0x00  # RO, 64 bits: controller capabilities
    CC = 0x14  # RW: controller configuration
    CSTS = 0x1C  # RO: controller status
    AQA = 0x24  # RW: admin queue sizes
    ASQ = 0x28  # RW, 64 bits: address of the admin submission queue
    ACQ = 0x30  # RW, 64 bits: address of the admin completion queue
    DOORBELLS = 0x1000  # WO: SQ 0 tail, CQ 0 head, SQ 1 tail, … each 4 << CAP.DSTRD apart


# CAP, 3.1.1: bit positions
CAP_ENTRIES = 0xFFFF  # MQES: entries of an I/O queue, less one
CAP_TIMEOUT = 24  # TO: 8 bits, units of 500 ms
CAP_STRIDE = 32  # DSTRD: 4 bits
CAP_NVM_COMMANDS = 37  # CSS bit 0: the NVM command set
CAP_PAGE_MINIMUM = 48  # MPSMIN: 4 bits, 4 KiB << n
TIMEOUT_UNIT = 500_000_000  # ns


class Configuration(IntFlag):
    """CC, 3.1.5. All fields not named are 0: NVM command set, 4 KiB pages, round robin."""

    ENABLE = 1 << 0
    ENTRY_SIZES = 6 << 16 | 4 << 20  # IOSQES: 64 bytes, IOCQES: 16 bytes


class Status(IntFlag):
    """CSTS, 3.1.6."""

    READY = 1 << 0
    FATAL = 1 << 1


# ---- queues -------------------------------------------------------------------------------------

COMMAND_SIZE = 64
COMPLETION_SIZE = 16


class Command(Struct):
    """4.2: a submission queue entry."""

    opcode: u8
    flags: u8  # 0: PRPs, not fused
    identifier: u16
    namespace: u32
    reserved: u64
    metadata: u64
    prp1: u64
    prp2: u64
    cdw10: u32
    cdw11: u32
    cdw12: u32
    cdw13: u32
    cdw14: u32
    cdw15: u32


# A completion queue entry, 4.6: DW0 is the command's result, DW3 has these fields.
LAST_WORD = 12  # offset of DW3
IDENTIFIER = 0xFFFF
PHASE = 1 << 16
STATUS_SHIFT = 17
DO_NOT_RETRY = 1 << 14  # of DW3 >> STATUS_SHIFT
STATUS = 0x7FF  # code in bits 0 to 7, type in bits 8 to 10


class Code(IntEnum):
    """4.6.1.2: status codes, with their type, that this driver tells from others."""

    SUCCESS = 0x000
    ABORT_REQUESTED = 0x007
    SQ_DELETED = 0x008
    WRITE_PROTECTED = 0x020
    LBA_OUT_OF_RANGE = 0x080
    CAPACITY_EXCEEDED = 0x081


# ---- commands -----------------------------------------------------------------------------------


class Admin(IntEnum):
    """5: admin commands."""

    CREATE_SUBMISSION_QUEUE = 0x01
    CREATE_COMPLETION_QUEUE = 0x05
    IDENTIFY = 0x06
    ABORT = 0x08
    SET_FEATURES = 0x09


class Opcode(IntEnum):
    """6: NVM commands."""

    FLUSH = 0x00
    WRITE = 0x01
    READ = 0x02
    DATASET_MANAGEMENT = 0x09


class Identify(IntEnum):
    """5.15.1: CNS, which data structure IDENTIFY gives."""

    NAMESPACE = 0x00
    CONTROLLER = 0x01
    ACTIVE_NAMESPACES = 0x02  # NSIDs above CDW1.NSID, ascending


NUMBER_OF_QUEUES = 0x07  # 5.21.1.7: feature identifier
PHYSICALLY_CONTIGUOUS = 1 << 0  # 5.3, 5.4: CDW11 of the queue commands
INTERRUPTS_ENABLED = 1 << 1  # 5.3: CDW11 of CREATE_COMPLETION_QUEUE
NOT_ABORTED = 1 << 0  # 5.1: DW0 of ABORT's completion
DEALLOCATE = 1 << 2  # 6.7: CDW11 of DATASET_MANAGEMENT
MAX_RANGES = 256


class Range(Struct):
    """6.7.1.1: a range of DATASET_MANAGEMENT."""

    attributes: u32
    blocks: u32
    first: u64


class OptionalCommands(IntFlag):
    """5.15.2.2: ONCS."""

    DATASET_MANAGEMENT = 1 << 2


class IdentifyController(Struct):
    """5.15.2.2, figure 251: the 4 KiB of CNS 01h, as far as they are used."""

    vendor: u16
    subsystem_vendor: u16
    serial: u8[SERIAL_SIZE]
    model: u8[MODEL_SIZE]
    firmware: u8[FIRMWARE_SIZE]
    recommended_arbitration_burst: u8
    ieee: u8[3]
    multipath: u8
    maximum_transfer: u8  # MDTS: CAP.MPSMIN << n bytes; 0: no limit
    not_used: u8[442]
    optional_commands: u16  # ONCS, byte 520


FORMATS = 16  # of a namespace's blocks


class IdentifyNamespace(Struct):
    """5.15.2.1, figure 249: the 4 KiB of CNS 00h, as far as they are used."""

    size: u64  # NSZE: blocks
    capacity: u64
    utilization: u64
    features: u8
    formats_count: u8
    format: u8  # FLBAS: bits 0 to 3 number the format in use
    not_used: u8[72]
    attributes: u8  # NSATTR, byte 99
    not_used_2: u8[28]
    formats: u32[FORMATS]  # LBAF, byte 128: MS in bits 0 to 15, LBADS in 16 to 23


WRITE_PROTECTED = 1 << 0  # NSATTR
