"""The parts of a frozen machine's state, a file each; and the records that they come in.

A machine's process writes records into a pipe, from which the run's process fills the files: the
jail of the one has no files, and no file of the other's becomes longer than a part may be.
"""
# On the way to every run: what takes long to import, as a Struct takes long to make, is not here.

import os
import struct

from vestige import abi
from vestige.host.kvm import cpu_state
from vestige.host.kvm.memory import PRIVATE_SIZE
from vestige.lang.enumeration import IntEnum


class Part(IntEnum):
    """Which: the number in a record, and the order of descriptors in a machine's orders."""

    STATE = 0  # what is in no memory of the machine's: a HEAD, the first CPU's CPUID, each CPU's
    RAM = 1
    PRIVATE = 2  # what only the monitor maps
    FIRMWARE = 3  # a PC's, and what fw_cfg has for it
    ITEMS = 4
    REGION = 5  # abi.REGIONS
    FLASH = 6  # a UEFI firmware's variables


NAMES = {
    Part.STATE: "state",
    Part.RAM: "ram",
    Part.PRIVATE: "private",
    Part.FIRMWARE: "firmware",
    Part.ITEMS: "firmware-items",
    Part.REGION: "region",
    Part.FLASH: "flash",
}
# Of those that some machines have, the bytes that they may have.
MOST = {
    Part.FIRMWARE: abi.FLASH_SIZE,
    Part.ITEMS: abi.FIRMWARE_ITEMS_SIZE,
    Part.REGION: abi.REGIONS[0][1],
    Part.FLASH: abi.FLASH_SIZE,
}
RECORD = struct.Struct("<IIQQ")  # a Part, nothing, its byte, how many follow
END = RECORD.pack(Part.STATE, 0, 0, 0)  # behind all of them; who reads closes the pipe then
PIECE = 1 << 20  # bytes of a record, at most
# What each file ends with, behind its part: of which freeze it is, as the manifest has it, too.
# Whoever copies files from one snapshot into another has a guest of neither.
TAIL = struct.Struct("<16s16s")
TAIL_MARK = b"vestige snapshot"
IDENTITY_SIZE = 16
# Of the state: ns of CLOCK_REALTIME when it was frozen, the latest TSC of the monitor's CPUs, kHz
# of all, how many CPUs the guest has, what it finds at the window and at the gate, where it finds
# the region and the flash memory. A clocks.Time and a kvm.Cpuid follow, then the CPUs.
HEAD = struct.Struct("<QQIIIIQQ")
CPUID_SIZE = 8 + 256 * 40
CLOCK_AT = HEAD.size
CPUID_AT = CLOCK_AT + cpu_state.CLOCK_SIZE
CPUS_AT = CPUID_AT + CPUID_SIZE


def sign(file: int, identity: bytes) -> None:
    """Have an open file, to be written, end so. Raises OSError."""
    os.pwrite(file, TAIL.pack(TAIL_MARK, identity), os.fstat(file).st_size)


def is_of(file: int, identity: bytes) -> bool:
    """Whether it ends so. Raises OSError."""
    place = max(size_of(file), 0)
    return os.pread(file, TAIL.size, place) == TAIL.pack(TAIL_MARK, identity)


def size_of(file: int) -> int:
    """Bytes of the part in it."""
    return os.fstat(file).st_size - TAIL.size


def state_size(cpus: int) -> int:
    """Bytes of the state of so many CPUs."""
    return CPUS_AT + cpus * cpu_state.SIZE


def sizes(memory: int, cpus: int) -> dict[Part, int]:
    """Bytes of the files of those parts that every machine has, with so much RAM, so many CPUs."""
    return {Part.STATE: state_size(cpus), Part.RAM: memory, Part.PRIVATE: PRIVATE_SIZE}
