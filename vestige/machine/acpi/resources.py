"""Resource descriptors for _CRS and _PRS. ACPI 6.5, 6.4: the layouts are its tables 6.x.

Ranges are (first address, length in bytes).
"""

import struct

from vestige.machine.acpi import aml

MEMORY, IO, BUS = 0, 1, 2  # resource types of address space descriptors
FIXED_POSITIVE_PRODUCER = 0x0C  # both ends fixed, positive decode, for the bus below
ENTIRE_RANGE = 3  # I/O: ISA and non-ISA addresses
READ_WRITE = 1  # memory: writable, not cacheable


def template(*descriptors: bytes) -> bytes:
    """ResourceTemplate () { descriptors }; checksum 0 means: not checked (6.4.2.9)."""
    return aml.buffer(b"".join(descriptors) + b"\x79\x00")


def ports(first: int, length: int) -> bytes:
    """IO (Decode16, first, first, 1, length)."""
    decode_16, alignment = 1, 1
    return struct.pack("<BBHHBB", 0x47, decode_16, first, first, alignment, length)


def dma(channel: int) -> bytes:
    """DMA (Compatibility, NotBusMaster, Transfer8) { channel }."""
    return struct.pack("<BBB", 0x2A, 1 << channel, 0)


def edge_interrupt(gsi: int) -> bytes:
    """Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }."""
    consumer, edge, count = 1, 1 << 1, 1
    return struct.pack("<BHBBI", 0x89, 6, consumer | edge, count, gsi)


def level_interrupt(*gsis: int) -> bytes:
    """Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { gsis }."""
    consumer, shared = 1, 1 << 3
    head = struct.pack("<BHBB", 0x89, 2 + 4 * len(gsis), consumer | shared, len(gsis))
    return head + struct.pack(f"<{len(gsis)}I", *gsis)


FIRST_GSI = 5  # the offset of its first interrupt in that descriptor


def memory(first: int, length: int) -> bytes:
    """Memory32Fixed (ReadWrite, first, length)."""
    return struct.pack("<BHBII", 0x86, 9, READ_WRITE, first, length)


def bus_numbers(first: int, length: int) -> bytes:
    """WordBusNumber: the buses below a host bridge."""
    return _address_space("H", 0x88, BUS, 0, first, length)


def port_window(first: int, length: int) -> bytes:
    """WordIO: ports a host bridge hands down."""
    return _address_space("H", 0x88, IO, ENTIRE_RANGE, first, length)


def memory_window(first: int, length: int) -> bytes:
    """DWordMemory: memory below 4 GiB that a host bridge hands down."""
    return _address_space("I", 0x87, MEMORY, READ_WRITE, first, length)


def memory_window_64(first: int, length: int) -> bytes:
    """QWordMemory: memory anywhere that a host bridge hands down."""
    return _address_space("Q", 0x8A, MEMORY, READ_WRITE, first, length)


def _address_space(
    form: str, tag: int, kind: int, type_flags: int, first: int, length: int
) -> bytes:
    granularity, translation = 0, 0
    numbers = struct.pack(f"<5{form}", granularity, first, first + length - 1, translation, length)
    body = bytes([kind, FIXED_POSITIVE_PRODUCER, type_flags]) + numbers
    return struct.pack("<BH", tag, len(body)) + body
