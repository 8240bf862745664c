"""The ACPI table by which a machine that was taken over says so. ACPI 6.5, 5.2.6: its header."""

from vestige.lang.types import Struct, u8, u32, u64


class Announcement(Struct):
    """The table."""

    signature: u32
    length: u32
    revision: u8
    checksum: u8  # so that all bytes add up to 0
    oem: u8[6]
    oem_table: u8[8]
    oem_revision: u32
    creator: u32
    creator_revision: u32
    block: u64  # physical address of the shell's memory, and its bytes
    size: u64
    controller: u32  # the NVMe controller that it has: bus, device and function
    reserved: u32
    off: u8[16]  # EFI_GUID of the off switch
    off_name: u8[16]  # its name, in ASCII
