"""A monitor for tests: each port makes it do one thing. Typed Python, compiled by the tests."""

from enum import IntEnum

from vestige.abi import (
    FIRST_CHUNK_BUFFER,
    IMAGE,
    PORT_CALL,
    PORT_DOORBELL,
    SHARED,
    STATE,
    WINDOW,
    WINDOW_NUMBER,
    Call,
    CoalescedRing,
    CoalescedWrite,
    Cpu,
    ExitReason,
    Power,
    RunIo,
    RunMmio,
    Shared,
)
from vestige.lang.intrinsics import (
    address_of,
    check,
    load8,
    load32,
    pause,
    port_out8,
    store8,
    store16,
    store32,
    store64,
    wait_for_interrupt,
    write_msr,
)
from vestige.lang.types import Struct, u8, u16, u32, u64

GUEST_VECTOR = 0x50
FLOOD = 1000
MMIO_ANSWER = 0xEE
DISK_DATA = 0x30_0000  # where the guest finds what RING_READ read
DISK_DATA_CHUNK = 1
LOCAL_APIC = 0xFEE0_0000
X2APIC_SPURIOUS = 0x80F


class Port(IntEnum):
    """What the guest asks for."""

    ECHO = 0x100  # in: one more than what was last written here
    ROUTE = 0x110  # out: route this GSI to GUEST_VECTOR of CPU 0
    RING_BELL = 0x111  # out: this GSI's doorbell
    FAIL_CHECK = 0x112
    PAGE_FAULT = 0x113
    WRITE_CODE = 0x114
    DIVIDE = 0x115
    WRITE_TABLES = 0x116
    UNKNOWN_CALL = 0x117
    LOG = 0x118  # out: this many bytes of it
    SPIN = 0x119
    LEAVE = 0x11A
    RING_READ = 0x120  # out: read this sector of file 0 to DISK_DATA; the worker rings GSI 1
    RING_RESULT = 0x121  # in
    PIN = 0x122  # out: this chunk
    PIN_RESULT = 0x123  # in
    QUEUED = 0x124  # in: sum of address and data of the coalesced writes since last time
    TOUCH_RAM = 0x125  # in: the first byte of RAM above 4 GiB, which becomes 0x5C
    WRITE_RUN = 0x126  # out: set this word of the guest's kvm_run to 1
    FLOOD = 0x127  # out: read file 0 for ever, and take no answer; with 1, KICK but once
    MAP = 0x129  # out: show region 0 at so many times 16 MiB
    MAP_RESULT = 0x12A  # in
    TOUCH_REGION = 0x12B  # in: region 0's first byte, which becomes 0x5C
    SHOW = 0x12C  # out: have the window show this
    LOG_FLOOD = 0x128  # out: log so many times FLOOD lines
    POWER = 0x604  # out


class State(Struct):
    """At abi.STATE."""

    echo: u32
    result: u32
    pinned: u32
    memory_accesses: u32
    floods: u32  # no answer is taken
    mapped: u32


def call(cpu: Cpu, number: u8) -> None:
    """Leave for the host."""
    cpu.calls[number % 8] = u64(cpu.calls[number % 8] + 1)
    port_out8(PORT_CALL, number)


def vcpu_main(cpu: Cpu) -> None:
    """Say ready, then answer traps."""
    state = State.at(STATE)
    while True:
        call(cpu, Call.DONE)
        reason = cpu.exit.reason
        if reason == ExitReason.IO:
            record = RunIo.at(address_of(cpu.exit.union))
            data = u64(cpu.run + record.data_offset)
            if record.direction == 1:
                written(cpu, state, record.port, load8(data))
            else:
                store32(data, answer(cpu, state, record.port))
        elif reason == ExitReason.SHUTDOWN:
            cpu.argument[0] = Power.TRIPLE_FAULT
            call(cpu, Call.POWER)
        else:
            check(reason == ExitReason.MMIO)
            memory = RunMmio.at(address_of(cpu.exit.union))
            state.memory_accesses = u32(state.memory_accesses + 1)
            for index in range(8):
                memory.data[index] = MMIO_ANSWER


def answer(cpu: Cpu, state: State, port: u16) -> u32:
    """What an IN gets."""
    match port:
        case Port.ECHO:
            return u32(state.echo + 1)
        case Port.RING_RESULT:
            return state.result
        case Port.PIN_RESULT:
            return state.pinned
        case Port.QUEUED:
            return drain(Shared.at(SHARED))
        case Port.MAP_RESULT:
            return state.mapped
        case Port.TOUCH_REGION:
            region = Shared.at(SHARED).config.regions[0]
            first = load8(region)
            store8(region, 0x5C)
            return first
        case Port.TOUCH_RAM:
            high = Shared.at(SHARED).config.ram.high
            found = load8(high)
            store8(high, 0x5C)
            return found
        case _:
            return 0xFFFF_FFFF


def written(cpu: Cpu, state: State, port: u16, value: u8) -> None:
    """Do what an OUT asks for."""
    shared = Shared.at(SHARED)
    match port:
        case Port.ECHO:
            state.echo = value
        case Port.ROUTE:
            route(cpu, shared, value)
        case Port.RING_BELL:
            port_out8(u16(PORT_DOORBELL + value), 1)
        case Port.FAIL_CHECK:
            check(value != 7)
        case Port.PAGE_FAULT:
            store8(0x7000_0000_0000, value)
        case Port.WRITE_CODE:
            store8(IMAGE, value)
        case Port.DIVIDE:
            shared.config.cpus = 1000 // u32(value)
        case Port.WRITE_TABLES:
            store8(0xC300_0000, value)
        case Port.UNKNOWN_CALL:
            port_out8(PORT_CALL, 0x77)
        case Port.LOG:
            log(cpu, shared, value)
        case Port.LOG_FLOOD:
            for _ in range(value):
                for _ in range(FLOOD):
                    log(cpu, shared, 199)
        case Port.SPIN:
            while True:
                pause()
        case Port.WRITE_RUN:
            store64(u64(cpu.run + value * 8), 1)
        case Port.LEAVE:
            leave(value)
        case Port.RING_READ:
            ring_read(cpu, state, shared, value)
        case Port.FLOOD:
            state.floods = 1
            flood(cpu, shared, value)
        case Port.PIN:
            cpu.argument[0] = value
            call(cpu, Call.PIN)
            state.pinned = u32(cpu.argument[0])
        case Port.MAP:
            cpu.argument[0], cpu.argument[1] = 0, u64(value) << 24
            call(cpu, Call.MAP)
            state.mapped = u32(cpu.argument[0])
        case Port.SHOW:
            cpu.argument[0], cpu.argument[1] = WINDOW_NUMBER, value
            call(cpu, Call.MAP)
            check(cpu.argument[0] == 0)
        case Port.POWER:
            cpu.argument[0] = Power.OFF if value != 1 else Power.RESET
            call(cpu, Call.POWER)
        case _:
            state.memory_accesses = 0


def leave(value: u8) -> None:
    """Leave for the host by something that is no call."""
    port_out8(0x80, value)


def log(cpu: Cpu, shared: Shared, count: u8) -> None:
    """A line with an escape sequence in it."""
    for index in range(count):
        shared.log[index] = 65 + index % 26
    shared.log[0] = 27
    cpu.argument[0] = count if count < 200 else 1 << 40
    call(cpu, Call.LOG)


def route(cpu: Cpu, shared: Shared, gsi: u8) -> None:
    """GSI to GUEST_VECTOR of CPU 0."""
    if gsi < 24:
        shared.routes[gsi].address = LOCAL_APIC
        shared.routes[gsi].data = GUEST_VECTOR
    cpu.argument[0] = gsi
    call(cpu, Call.ROUTE)


def drain(shared: Shared) -> u32:
    """Take what is in KVM's ring of coalesced writes."""
    ring = CoalescedRing.at(shared.config.coalesced)
    total: u32 = 0
    while ring.first != ring.last:
        place = u64(shared.config.coalesced + 8 + u64(ring.first) * 24)
        entry = CoalescedWrite.at(place)
        check(entry.port == (0 if entry.address >= WINDOW else 1))
        total = u32(total + entry.address + load32(u64(place + 16)))
        ring.first = (ring.first + 1) % 170
    return total


def ring_read(cpu: Cpu, state: State, shared: Shared, sector: u8) -> None:
    """Queue one READ_FIXED and kick."""
    cpu.argument[0] = DISK_DATA_CHUNK
    call(cpu, Call.PIN)
    queue_read(shared, sector)
    call(cpu, Call.KICK)


def flood(cpu: Cpu, shared: Shared, how: u8) -> None:
    """Fill the ring again and again."""
    ring = shared.config.ring
    cpu.argument[0] = DISK_DATA_CHUNK
    call(cpu, Call.PIN)
    while True:
        cpu.argument[0] = cpu.argument[1] = 0
        for _ in range(ring.entries):
            queue_read(shared, 0)
        if how != 1 or load32(ring.sq_tail) == ring.entries:
            call(cpu, Call.KICK)
        while load32(ring.sq_head) != load32(ring.sq_tail):
            pause()


def queue_read(shared: Shared, sector: u8) -> None:
    """One READ_FIXED."""
    ring = shared.config.ring
    tail = load32(ring.sq_tail)
    index = tail & (ring.entries - 1)
    entry = u64(ring.sqes + u64(index) * 64)
    for word in range(8):
        store64(u64(entry + u64(word) * 8), 0)
    store8(entry, 4)  # READ_FIXED
    store8(u64(entry + 1), 1)  # on a fixed file, number 0
    store64(u64(entry + 8), u64(sector) * 512)
    store64(u64(entry + 16), u64(ring.host_ram + DISK_DATA))
    store32(u64(entry + 24), 512)
    store16(u64(entry + 40), FIRST_CHUNK_BUFFER + DISK_DATA_CHUNK)
    store32(u64(ring.sq_array + u64(index) * 4), index)
    store32(ring.sq_tail, u32(tail + 1))


def worker_main(cpu: Cpu) -> None:
    """Once interrupts are let in, at each completion: keep its result, ring GSI 1."""
    state = State.at(STATE)
    shared = Shared.at(SHARED)
    ring = shared.config.ring
    write_msr(X2APIC_SPURIOUS, 0x1FF)
    call(cpu, Call.DONE)
    while True:
        wait_for_interrupt()
        shared.statistics.worker_wakeups = u64(shared.statistics.worker_wakeups + 1)
        while state.floods == 0 and load32(ring.cq_head) != load32(ring.cq_tail):
            head = load32(ring.cq_head)
            index = head & (ring.completion_entries - 1)
            state.result = load32(u64(ring.cqes + u64(index) * 16 + 8))
            store32(ring.cq_head, u32(head + 1))
            port_out8(PORT_DOORBELL + 1, 1)
