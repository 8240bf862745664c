"""UEFI's tables and functions, as far as the shell calls them. Source: UEFI 2.10."""

from vestige.lang.intrinsics import call_firmware, load64
from vestige.lang.types import Struct, u8, u16, u32, u64

SUCCESS, ABORTED, UNSUPPORTED = 0, 1 << 63 | 21, 1 << 63 | 3
BUFFER_TOO_SMALL, NOT_FOUND = 1 << 63 | 5, 1 << 63 | 14
LOAD_ERROR, ACCESS_DENIED, SECURITY_VIOLATION = 1 << 63 | 1, 1 << 63 | 15, 1 << 63 | 26
OUTPUT_STRING = 8  # of EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL, 12.4
# Of the boot services, 4.4.
ALLOCATE_PAGES, FREE_PAGES, GET_MEMORY_MAP, FREE_POOL = 40, 48, 56, 72
HANDLE_PROTOCOL, LOAD_IMAGE, START_IMAGE, UNLOAD_IMAGE, STALL = 152, 200, 208, 224, 248
CONNECT, DISCONNECT, LOCATE_HANDLES, LOCATE_PROTOCOL = 264, 272, 312, 320
GET_VARIABLE = 72  # of the runtime services, 4.5
INSTALL_TABLE = 0  # of EFI_ACPI_TABLE_PROTOCOL, 20.3
BY_PROTOCOL = 2  # EFI_LOCATE_SEARCH_TYPE, 7.3
GET_LOCATION = 112  # of EFI_PCI_IO_PROTOCOL, 14.4
MOST_ADDRESS, RESERVED_MEMORY = 1, 0  # EFI_ALLOCATE_TYPE, EFI_MEMORY_TYPE, 7.2


class SystemTable(Struct):
    """EFI_SYSTEM_TABLE, 4.3."""

    header: u8[24]
    vendor: u64
    revision: u32
    input_handle: u64
    input: u64
    output_handle: u64
    output: u64
    error_handle: u64
    error: u64
    runtime: u64
    boot: u64
    entries: u64
    configuration: u64


class Guid(Struct):
    """EFI_GUID, as two words in memory."""

    low: u64
    high: u64


class Configuration(Struct):
    """EFI_CONFIGURATION_TABLE, 4.6."""

    guid: Guid
    table: u64


class LoadedImage(Struct):
    """EFI_LOADED_IMAGE_PROTOCOL, 9.1."""

    revision: u32
    parent: u64
    system_table: u64
    device: u64
    path: u64
    reserved: u64
    options_size: u32  # bytes
    options: u64  # CHAR16
    base: u64
    size: u64  # bytes


# As the two words of a Guid.
ACPI_20 = (0x11D3_E4F1_8868_E871, 0x8188_3CC7_8000_22BC)
FILE_SYSTEM = (0x11D2_6459_964E_5B22, 0x3B72_69C9_A000_398E)
DEVICE_PATH = (0x11D2_6D3F_0957_6E91, 0x3B72_69C9_A000_398E)
ACPI_TABLES = (0x46A6_6107_FFE0_6BDD, 0x5C27_C57E_9C5A_B27B)
OFF_SWITCH = (0x4B7E_6B1C_B5A3_E3A0, 0x131E_0A0C_6F5D_579C)  # of our own variable
PCI_IO = (0x4CA5_68B8_4CF5_B200, 0x9A02_503F_3EB2_EC9E)
LOADED_IMAGE = (0x11D2_9562_5B1B_31A1, 0x3B72_69C9_A000_3F8E)


def call(
    table: u64, offset: u16, a: u64 = 0, b: u64 = 0, c: u64 = 0, d: u64 = 0, e: u64 = 0, f: u64 = 0
) -> u64:
    """Call the function that is `offset` bytes into a table of functions: an EFI_STATUS."""
    return call_firmware(load64(u64(table + offset)), a, b, c, d, e, f)
