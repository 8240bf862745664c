"""What fails, one kind of check a branch: compiled for a VM and for this process."""

from enum import IntEnum

from vestige.abi import PORT_CALL, SHARED, Call, Cpu, Shared
from vestige.lang.intrinsics import (
    address_of,
    check,
    copy,
    fence,
    fill,
    load8,
    load64,
    panic,
    port_out8,
    store8,
    store64,
    wait_for_interrupt,
)
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, i64, u8, u32, u64

TABLE = (3, 5, 7)
UNMAPPED = 0x1234_0000_0000


class Failure(IntEnum):
    """What goes wrong."""

    INDEX = 0
    TABLE_INDEX = 1
    DIVISION = 2
    MODULO = 3
    SHIFT = 4
    GUEST_MEMORY = 5
    CHECK = 6
    PANIC = 7
    NONE = 8
    PAGE_FAULT = 9


class Scratch(Struct):
    """Something with bounds."""

    bytes: u8[16]
    number: i64


def fail(scratch: Scratch, ram: Memory, kind: u32, value: i64) -> i64:
    """Fail as `kind` says if `value` is such that it does."""
    match kind:
        case Failure.INDEX:
            return scratch.bytes[u64(value)]
        case Failure.TABLE_INDEX:
            return TABLE[u64(value)]
        case Failure.DIVISION:
            return i64(100 // value)
        case Failure.MODULO:
            return 100 % value
        case Failure.SHIFT:
            return scratch.number >> value
        case Failure.GUEST_MEMORY:
            return ram.load32(u64(value))
        case Failure.CHECK:
            check(value == 1)
            return 1
        case Failure.PANIC:
            if value != 1:
                panic(77)
            return 1
        case Failure.PAGE_FAULT:
            return load8(u64(value))
        case _:
            return value


def moved(scratch: Scratch) -> u64:
    """Overlapping copies, both ways, and a fill; the first eight bytes tell."""
    start = address_of(scratch)
    for i in range(16):
        store8(u64(start + i), i)
    copy(u64(start + 2), start, 8)
    copy(start, u64(start + 1), 4)
    fill(u64(start + 6), 0xEE, 2)
    fence()
    return load64(start)


def vcpu_main(cpu: Cpu) -> None:
    """Do as Cpu.argument says, leave the result there, and call the host."""
    shared = Shared.at(SHARED)
    scratch = Scratch.at(u64(address_of(shared.log)))
    kind = u32(cpu.argument[0])
    value = i64(cpu.argument[1])
    scratch.number = 1 << 40
    cpu.argument[2] = moved(scratch)
    cpu.argument[3] = fail(scratch, shared.config.ram, kind, value)
    store64(u64(address_of(cpu.calls)), 1)
    port_out8(PORT_CALL, Call.DONE)
    while True:
        wait_for_interrupt()


def worker_main(_cpu: Cpu) -> None:
    """Sleep."""
    while True:
        wait_for_interrupt()
