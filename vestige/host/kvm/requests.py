"""KVM's system calls by their numbers, and what compiled code, too, gives to one of them.

From Linux 6.1's include/uapi/linux/kvm.h. What is imported here, the run loop is made of.
"""

from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, i32, u8, u32, u64


class Request(IntEnum):
    """ioctl numbers: of the system, of a VM, of a vCPU."""

    GET_API_VERSION = 0xAE00
    CREATE_VM = 0xAE01
    CHECK_EXTENSION = 0xAE03
    GET_VCPU_MMAP_SIZE = 0xAE04
    GET_MSR_INDEX_LIST = 0xC004_AE02
    GET_SUPPORTED_CPUID = 0xC008_AE05

    CREATE_VCPU = 0xAE41
    SET_USER_MEMORY_REGION = 0x4020_AE46
    SET_TSS_ADDR = 0xAE47
    SET_IDENTITY_MAP_ADDR = 0x4008_AE48
    GET_DIRTY_LOG = 0x4010_AE42
    REGISTER_COALESCED_MMIO = 0x4010_AE67
    SET_GSI_ROUTING = 0x4008_AE6A
    IRQFD = 0x4020_AE76
    IOEVENTFD = 0x4040_AE79
    SET_CLOCK = 0x4030_AE7B
    GET_CLOCK = 0x8030_AE7C
    ENABLE_CAP = 0x4068_AEA3
    CREATE_DEVICE = 0xC00C_AEE0
    SET_DEVICE_ATTR = 0x4018_AEE1  # of a device, or of a vCPU
    GET_DEVICE_ATTR = 0x4018_AEE2
    X86_SET_MSR_FILTER = 0x4188_AEC6

    RUN = 0xAE80
    INTERRUPT = 0x4004_AE86
    GET_REGS = 0x8090_AE81
    SET_REGS = 0x4090_AE82
    GET_SREGS = 0x8138_AE83
    SET_SREGS = 0x4138_AE84
    GET_MSRS = 0xC008_AE88
    SET_MSRS = 0x4008_AE89
    GET_LAPIC = 0x8400_AE8E
    SET_LAPIC = 0x4400_AE8F
    SET_CPUID2 = 0x4008_AE90
    GET_MP_STATE = 0x8004_AE98
    SET_MP_STATE = 0x4004_AE99
    GET_VCPU_EVENTS = 0x8040_AE9F
    SET_VCPU_EVENTS = 0x4040_AEA0
    GET_DEBUGREGS = 0x8080_AEA1
    SET_DEBUGREGS = 0x4080_AEA2
    SET_TSC_KHZ = 0xAEA2
    GET_TSC_KHZ = 0xAEA3
    GET_XSAVE = 0x9000_AEA4
    SET_XSAVE = 0x5000_AEA5
    GET_XCRS = 0x8188_AEA6
    SET_XCRS = 0x4188_AEA7
    KVMCLOCK_CTRL = 0xAEAD
    GET_SREGS2 = 0x8140_AECC
    SET_SREGS2 = 0x4140_AECD


class DeviceAttribute(Struct):
    """struct kvm_device_attr."""

    flags: u32
    group: u32
    attribute: u64
    address: u64


class Ioeventfd(Struct):
    """struct kvm_ioeventfd."""

    match: u64
    address: u64
    length: u32
    descriptor: i32
    flags: u32
    padding: u8[36]
