"""A monitor that a guest has taken over: it makes the attack it is ordered to. Typed Python.

It lets itself be powered on as an honest one does, and attacks at the guest's first trap. Where
all of what it tried was refused it ends the guest with Power.OFF; a failed check says what was not.
"""

from ctypes import sizeof
from enum import IntEnum

from vestige.abi import (
    CHUNK,
    FIRST_CHUNK_BUFFER,
    GATE_CLOSED,
    GATE_NUMBER,
    GATE_OPEN,
    GSIS,
    HIGH_RAM,
    IMAGE,
    IOAPIC,
    LOCAL_APIC,
    LOG_SIZE,
    MAX_DISKS,
    NO_VECTOR,
    PCI_WINDOW,
    PORT_ATTEND,
    PORT_CALL,
    PORT_DOORBELL,
    REGIONS,
    RING,
    RING_ENTRIES,
    RUN_PAGES,
    RUN_STRIDE,
    SHARED,
    STACK_SIZE,
    STACKS,
    STATE,
    STATE_BUFFER,
    STATE_SIZE,
    STATE_VIRTIO,
    TABLES,
    WINDOW_NUMBER,
    WINDOW_PARTS,
    WINDOW_SIZE,
    Call,
    Config,
    Cpu,
    Power,
    Ring,
    Shared,
    Statistics,
)
from vestige.lang.intrinsics import (
    check,
    fill,
    load32,
    load64,
    load_acquire32,
    pause,
    port_in32,
    port_out8,
    port_out32,
    store8,
    store32,
    store64,
    store_release32,
    wait_for_interrupt,
    write_msr,
)
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.drivers.ring.spec import (
    COMPLETION_SIZE,
    ENTRY_SIZE,
    FIXED_FILE,
    Completion,
    Opcode,
    Submission,
)

ORDERS = 0x11_0000  # in the guest's RAM: the kernel's file has them there
PAGE = 4096
GUEST_VECTOR = 0x50
EINVAL = 22
MANY = 1 << 40
ENDLESS = (1 << 64) - 1
UNMAPPED = 0x7000_0000_0000


class Attack(IntEnum):
    """What to do; most have a parameter that says how."""

    NOTHING = 0  # and answer no access
    READS = 1  # that never complete, of the console's input
    UNTAKEN = 2  # flushes whose completions are never taken
    LOG = 3  # without end
    CALL = 4  # by this number
    KICK = 5  # this ring
    POWER = 6  # in this way
    PIN = 7  # what is not there
    ROUTE = 8  # what is not there, or a message that is none
    ROUTES = 9  # of all GSIs
    LEAVE = 10  # by what is no call
    SCRIBBLE = 11  # over what the host reads: this byte, or random ones for 256
    OPERATIONS = 12  # all that the ring knows but three
    ENTRIES = 13  # of these three, in ways that are not allowed
    BEHIND = 14  # write behind the end of the first disk
    CONSOLE = 15  # write to its file's first byte, twice
    TOUCH = 16  # what it may not
    MSR = 17  # write this one
    SPIN = 18
    HALT = 19
    DONE = 20  # the trap, without an answer
    BELL = 21  # this doorbell
    PANIC = 22  # with a record of this kind
    FAILURES = 23  # of disks, random ones, without end
    ROUNDS = 24  # so many of random scribbling and calling
    PRIORITY = 25  # of I/O: real time
    INJECT = 26  # this vector, at each trap
    ATTEND = 27  # without end
    RING = 28  # the boot CPU's bell, without end: itself, or for 1 the worker
    MAP = 29  # regions that are not there, and where none may be; with 1, one that is, anywhere
    REMAP = 30  # without end
    ALARM = 31  # order one in so many ns, without end
    APIC = 32  # this register of its local APIC, with a random value


class Orders(Struct):
    """At ORDERS."""

    attack: u64
    parameter: u64
    seed: u64


class Place(IntEnum):
    """What TOUCH touches."""

    RUN = 0  # the first page of kvm_run
    CODE = 1
    TABLES = 2
    NOWHERE = 3
    ENTRY = 4  # reads: code is to be read


class Way(IntEnum):
    """How LEAVE leaves."""

    OTHER_PORT = 0
    WIDE = 1  # PORT_CALL, 32 bits
    IN = 2  # PORT_CALL, read
    NO_MEMORY = 3  # mapped, and nothing behind it


class Chance(Struct):
    """Random numbers, and what scribbling over Config would lose."""

    state: u64
    ring: Ring
    coalesced: u64
    run: u64

    def next(self) -> u64:
        """Xorshift: Marsaglia, 2003."""
        value = self.state
        value ^= u64(value << 13)
        value ^= value >> 7
        value = u64(value ^ u64(value << 17))
        self.state = value
        return value

    def below(self, limit: u64) -> u64:
        """One of 0 to `limit` - 1."""
        return self.next() % limit


# Behind what the ring has of STATE, and each CPU's own.
CHANCES = STATE + STATE_SIZE - PAGE
CHANCE_SIZE = 512


def call(number: u8) -> None:
    """Leave for the host."""
    port_out8(PORT_CALL, number)


def power_off(cpu: Cpu) -> None:
    """The attack is over, and nothing came of it."""
    cpu.argument[0] = Power.OFF
    call(Call.POWER)


def vcpu_main(cpu: Cpu) -> None:
    """Be powered on, then attack at the first trap."""
    call(Call.DONE)
    attack(cpu, Shared.at(SHARED), Orders.at(ORDERS))
    while True:
        call(Call.DONE)


def worker_main(cpu: Cpu) -> None:
    """The same; only two attacks have it do anything."""
    call(Call.DONE)
    orders = Orders.at(ORDERS)
    if orders.attack == Attack.RING and orders.parameter == 1:
        ring_boot()
    if orders.attack == Attack.ROUNDS:
        rounds(cpu, Shared.at(SHARED), orders)
    while True:
        wait_for_interrupt()


def attack(cpu: Cpu, shared: Shared, orders: Orders) -> None:
    """Do what is ordered."""
    parameter = orders.parameter
    if orders.attack in (Attack.SPIN, Attack.HALT) and parameter != 0:
        log(cpu, shared, 3)  # who waits for the attack sees it
    match orders.attack:
        case Attack.READS:
            reads(cpu, shared)
        case Attack.UNTAKEN:
            untaken(cpu, shared)
        case Attack.LOG:
            while True:
                log(cpu, shared, 199)
        case Attack.CALL:
            call(u8(parameter))
        case Attack.INJECT:
            while True:
                cpu.argument[0], cpu.argument[1] = parameter, 1
                call(Call.INJECT)
        case Attack.ATTEND:
            while True:
                call(Call.ATTEND)
        case Attack.RING:
            if parameter == 1:
                return
            ring_boot()
        case Attack.ALARM:
            while True:
                cpu.argument[0], cpu.argument[1], cpu.argument[2] = NO_VECTOR, 0, parameter
                call(Call.INJECT)
        case Attack.APIC:
            write_msr(u32(parameter), orders.seed)
        case Attack.KICK:
            cpu.argument[0] = parameter
            call(Call.KICK)
        case Attack.POWER:
            cpu.argument[0] = parameter
            call(Call.POWER)
        case Attack.PIN:
            pin_nothing(cpu)
        case Attack.ROUTE:
            route_nothing(cpu, shared, parameter)
        case Attack.ROUTES:
            route_all(cpu, shared)
        case Attack.LEAVE:
            leave(parameter)
        case Attack.SCRIBBLE:
            scribble(orders)
        case Attack.OPERATIONS:
            operations(cpu, shared)
        case Attack.ENTRIES:
            entries(cpu, shared)
        case Attack.BEHIND:
            behind(cpu, shared)
        case Attack.CONSOLE:
            console(cpu, shared)
        case Attack.TOUCH:
            touch(cpu, parameter)
        case Attack.MSR:
            write_msr(u32(parameter), 0x1D01)
        case Attack.SPIN:
            while True:
                pause()
        case Attack.HALT:
            wait_for_interrupt()
        case Attack.BELL:
            port_out8(u16(PORT_DOORBELL + parameter), 0)
        case Attack.PANIC:
            panics(cpu, parameter)
        case Attack.FAILURES:
            failures(cpu, shared)
        case Attack.ROUNDS:
            rounds(cpu, shared, orders)
        case Attack.PRIORITY:
            priority(cpu, shared)
        case Attack.MAP:
            map_wrongly(cpu)
            if parameter == 1:
                map_rightly(cpu, shared)
        case Attack.REMAP:
            while True:
                check(mapped(cpu, 0, PCI_WINDOW) == 0)
                check(mapped(cpu, 0, 0) == 0)
        case _:
            return
    if orders.attack != Attack.DONE:
        power_off(cpu)


def ring_boot() -> None:
    """For ever."""
    while True:
        port_out8(PORT_ATTEND, 0)


# ---- calls ------------------------------------------------------------------------------------


def log(cpu: Cpu, shared: Shared, length: u32) -> None:
    """A line."""
    shared.log[0] = 27
    shared.log[1] = 10
    cpu.argument[0] = length
    call(Call.LOG)


ABSURD = (MANY, ENDLESS, 5, 5, 1 << 63)
NO_DOMAINS = (0, 0, 1, ENDLESS, 1 << 63)


def pin_nothing(cpu: Cpu) -> None:
    """Chunks of no RAM, and chunks for no ring."""
    for index in range(len(ABSURD)):
        cpu.argument[0] = ABSURD[index]
        cpu.argument[1] = NO_DOMAINS[index]
        call(Call.PIN)
        check(cpu.argument[0] == EINVAL)


def route_nothing(cpu: Cpu, shared: Shared, parameter: u64) -> None:
    """GSIs and domains that are not there, which is nothing; or a message with an odd address."""
    if parameter != 0:
        shared.routes[5].address = parameter
        cpu.argument[0], cpu.argument[1] = 5, 0
        call(Call.ROUTE)
        return
    for index in range(len(ABSURD)):
        cpu.argument[0] = ABSURD[index]
        cpu.argument[1] = NO_DOMAINS[index]
        call(Call.ROUTE)


def route_all(cpu: Cpu, shared: Shared) -> None:
    """Each GSI gets a doorbell, for which the host takes a descriptor."""
    for gsi in range(GSIS):
        shared.routes[gsi].address = LOCAL_APIC
        shared.routes[gsi].data = GUEST_VECTOR
        cpu.argument[0], cpu.argument[1] = gsi, 0
        call(Call.ROUTE)


REGION_SIZE = REGIONS[0][1]
# Of 64 MiB of RAM, and a firmware's and devices' places above.
FORBIDDEN = (
    *(1, PAGE, REGION_SIZE, 3 * REGION_SIZE, PCI_WINDOW + PAGE, PCI_WINDOW + REGION_SIZE // 2),
    *(IOAPIC - REGION_SIZE // 2, 0xFE00_0000, 0xFF00_0000, IOAPIC, LOCAL_APIC),
    *(HIGH_RAM, MANY, 1 << 63, ENDLESS, ENDLESS - REGION_SIZE + 1),
)

MOVES = 100  # of the gate of bit 20
PARTS = REGION_SIZE // WINDOW_SIZE
NO_PARTS = (WINDOW_PARTS + PARTS, MANY, 1 << 63, ENDLESS)


def mapped(cpu: Cpu, region: u64, address: u64) -> u64:
    """What MAP answers."""
    cpu.argument[0], cpu.argument[1] = region, address
    call(Call.MAP)
    return cpu.argument[0]


def map_wrongly(cpu: Cpu) -> None:
    """Each is refused."""
    for index in range(len(ABSURD)):
        check(mapped(cpu, ABSURD[index], PCI_WINDOW) == EINVAL)
        check(mapped(cpu, ABSURD[index], 0) == EINVAL)
    for index in range(len(FORBIDDEN)):
        check(mapped(cpu, 0, FORBIDDEN[index]) == EINVAL)
    for index in range(len(NO_PARTS)):
        check(mapped(cpu, WINDOW_NUMBER, NO_PARTS[index]) == EINVAL)
        check(mapped(cpu, GATE_NUMBER, NO_PARTS[index]) == EINVAL)


def map_rightly(cpu: Cpu, shared: Shared) -> None:
    """All over the hole; the same memory stays behind it."""
    store64(shared.config.regions[0], 0x1234)
    for number in range(4, 0xFE):
        check(mapped(cpu, 0, u64(number) * REGION_SIZE) == 0)
    check(mapped(cpu, 0, PCI_WINDOW) == 0)
    check(mapped(cpu, 0, PCI_WINDOW) == 0)
    for what in range(WINDOW_PARTS + PARTS):
        check(mapped(cpu, WINDOW_NUMBER, what) == 0)
    for state in range(2 * MOVES):
        check(mapped(cpu, GATE_NUMBER, GATE_CLOSED if state & 1 else GATE_OPEN) == 0)
    map_wrongly(cpu)
    check(mapped(cpu, 0, 0) == 0)
    check(load64(shared.config.regions[0]) == 0x1234)


def leave(way: u64) -> None:
    """By something that is no call."""
    match way:
        case Way.OTHER_PORT:
            port_out8(0x80, 4)
        case Way.WIDE:
            port_out32(PORT_CALL, Call.DONE)
        case Way.IN:
            check(port_in32(PORT_CALL) == 4)
        case _:
            check(load64(RUN_PAGES + 30 * RUN_STRIDE) == 4)


def panics(cpu: Cpu, kind: u64) -> None:
    """A record of nothing."""
    value = ENDLESS if kind == 0 else u64(0x4141_4141_4141_4141)
    cpu.panic.site = 0 if kind == 2 else value
    cpu.panic.vector = 14 if kind == 2 else value
    cpu.panic.error = value
    cpu.panic.rip = value
    cpu.panic.address = value
    call(Call.PANIC)


def failures(cpu: Cpu, shared: Shared) -> None:
    """Disks that fail, for all reasons there are."""
    for number in range(256):
        for disk in range(MAX_DISKS):
            report = shared.statistics.disks[disk]
            report.read = u8(number)
            report.write = u8(number + 1)
            report.flush = u8(number + 2)
            report.discard = u8(number + 3)
        cpu.argument[0] = 0
        call(Call.LOG)


# ---- the processor ----------------------------------------------------------------------------


def touch(cpu: Cpu, place: u64) -> None:
    """What is not the monitor's to write, or not there."""
    match place:
        case Place.RUN:
            store8(u64(cpu.run + 1), 1)
        case Place.CODE:
            store8(IMAGE, 0x90)
        case Place.TABLES:
            store64(TABLES + 2 * PAGE, 7)
        case Place.NOWHERE:
            store8(UNMAPPED, 1)
        case _:
            check(load64(IMAGE) != 0)


# ---- the ring ---------------------------------------------------------------------------------


def prepared(ring: Ring) -> Submission:
    """The next entry, with nothing in it; `submit` is to follow."""
    number = load32(ring.sq_tail) & u32(ring.entries - 1)
    place = u64(ring.sqes + ENTRY_SIZE * number)
    fill(place, 0, ENTRY_SIZE)
    store32(u64(ring.sq_array + 4 * number), number)
    return Submission.at(place)


def submit(ring: Ring) -> None:
    """Show it to the kernel."""
    store_release32(ring.sq_tail, u32(load32(ring.sq_tail) + 1))


def kick(cpu: Cpu) -> None:
    """Have the kernel take what there is, and threads of its own run."""
    cpu.argument[0], cpu.argument[1] = 0, 1
    call(Call.KICK)


def answer(cpu: Cpu, ring: Ring) -> u32:
    """Submit what was prepared: its result, as an unsigned number."""
    submit(ring)
    kick(cpu)
    while load_acquire32(ring.cq_tail) == load32(ring.cq_head):
        kick(cpu)
    head = load32(ring.cq_head)
    place = u64(ring.cqes + COMPLETION_SIZE * (head & u32(ring.completion_entries - 1)))
    result = u32(Completion.at(place).result)
    store_release32(ring.cq_head, u32(head + 1))
    return result


def refused(result: u32) -> bool:
    """Whether a result is an errno."""
    return result >= u32(-4095)


def transfer(ring: Ring, opcode: u8, file: u32, offset: u64, length: u32) -> Submission:
    """Prepare a READ_FIXED or WRITE_FIXED of the first bytes of STATE."""
    entry = prepared(ring)
    entry.opcode = opcode
    entry.flags = FIXED_FILE
    entry.file = file
    entry.offset = offset
    entry.address = ring.host_state
    entry.length = length
    entry.buffer = STATE_BUFFER
    return entry


def fill_ring(cpu: Cpu, ring: Ring) -> None:
    """What is in the last entry prepared, in all entries; submitted again and again, for ever."""
    number = load32(ring.sq_tail) & u32(ring.entries - 1)
    model = u64(ring.sqes + ENTRY_SIZE * number)
    for each in range(ring.entries):
        store32(u64(ring.sq_array + 4 * each), each)
        for word in range(ENTRY_SIZE // 8):
            value = load64(u64(model + 8 * word))
            store64(u64(ring.sqes + ENTRY_SIZE * each + 8 * word), value)
    while True:
        store_release32(ring.sq_tail, u32(load_acquire32(ring.sq_head) + ring.entries))
        kick(cpu)


def reads(cpu: Cpu, shared: Shared) -> None:
    """Of the console, from which nothing ever comes."""
    transfer(shared.config.ring, Opcode.READ_FIXED, u32(shared.config.console.input), 0, 64)
    fill_ring(cpu, shared.config.ring)


def untaken(cpu: Cpu, shared: Shared) -> None:
    """Flushes."""
    entry = prepared(shared.config.ring)
    entry.opcode = Opcode.FSYNC
    entry.flags = FIXED_FILE
    fill_ring(cpu, shared.config.ring)


OPCODES = 256


def operations(cpu: Cpu, shared: Shared) -> None:
    """All but those that are allowed, on the disk's file and with a buffer that is there."""
    ring = shared.config.ring
    for opcode in range(OPCODES):
        if opcode not in (Opcode.FSYNC, Opcode.READ_FIXED, Opcode.WRITE_FIXED):
            for length in (0, 512):
                transfer(ring, u8(opcode), 0, 0, u32(length))
                check(refused(answer(cpu, ring)))


def entries(cpu: Cpu, shared: Shared) -> None:
    """Allowed operations with all that an entry may say beyond that."""
    ring = shared.config.ring
    fill(STATE, 0x5A, 512)
    for opcode in (Opcode.READ_FIXED, Opcode.WRITE_FIXED, Opcode.FSYNC):
        for flags in (0, 2, 3, 5, 8, 17, 33, 65, 129, 255):  # neither FIXED_FILE nor a chain's
            entry = transfer(ring, opcode, 0, 0, 512)
            entry.flags = flags
            check(refused(answer(cpu, ring)))
        for file in (30, 31, 32, 33, 1 << 16, 1 << 31, u32(-1), u32(-100)):  # not registered
            transfer(ring, opcode, file, 0, 512)
            check(refused(answer(cpu, ring)))
        entry = transfer(ring, opcode, 0, 0, 512)
        entry.personality = 1
        check(refused(answer(cpu, ring)))
    for opcode in (Opcode.READ_FIXED, Opcode.WRITE_FIXED):
        for distance in (-1, STATE_VIRTIO - 511, STATE_SIZE, -(1 << 21), 1 << 40):
            entry = transfer(ring, opcode, 0, 0, 512)  # memory that is in no buffer
            entry.address = u64(ring.host_state + distance)
            check(refused(answer(cpu, ring)))
        for buffer in (FIRST_CHUNK_BUFFER, FIRST_CHUNK_BUFFER + 1, 40, 0x3FFF, 0xFFFF):
            entry = transfer(ring, opcode, 0, 0, 512)
            entry.buffer = buffer
            check(refused(answer(cpu, ring)))


def behind(cpu: Cpu, shared: Shared) -> None:
    """Nothing is written there; what begins before the end becomes shorter."""
    ring = shared.config.ring
    size = u64(shared.config.disks[0].sectors * 512)
    fill(STATE, 0x5A, PAGE)
    for distance in (0, 1, 4096, 1 << 30, 1 << 61):
        transfer(ring, Opcode.WRITE_FIXED, 0, u64(size + distance), 512)
        check(refused(answer(cpu, ring)))
    transfer(ring, Opcode.WRITE_FIXED, 0, u64(size - 512), 4096)
    check(answer(cpu, ring) == 512)


def console(cpu: Cpu, shared: Shared) -> None:
    """Two lines, both written to its first byte."""
    ring = shared.config.ring
    for number in range(2):
        fill(STATE, u8(65 + number), 8)
        transfer(ring, Opcode.WRITE_FIXED, u32(shared.config.console.output), 0, 8)
        check(answer(cpu, ring) == 8)


REAL_TIME = 1 << 13  # the class of an ioprio


def priority(cpu: Cpu, shared: Shared) -> None:
    """Real-time I/O is refused."""
    ring = shared.config.ring
    for opcode in (Opcode.READ_FIXED, Opcode.WRITE_FIXED):
        for level in range(8):
            entry = transfer(ring, opcode, 0, 0, 512)
            entry.priority = u16(REAL_TIME | level)
            check(refused(answer(cpu, ring)))


# ---- anything, anywhere -----------------------------------------------------------------------

SHARED_SIZE = sizeof(Shared)
CONFIG_SIZE = sizeof(Config)
STATISTICS_SIZE = sizeof(Statistics)
CPU_SIZE = sizeof(Cpu)
ANYTHING = 256


def scribble(orders: Orders) -> None:
    """Over all of Shared: one byte, or random ones."""
    value = orders.parameter
    if value < ANYTHING:
        fill(SHARED, u8(value), SHARED_SIZE)
        return
    chance = Chance.at(CHANCES)
    chance.state = orders.seed | 1
    for word in range(SHARED_SIZE // 8):
        store64(u64(SHARED + 8 * word), chance.next())


def rounds(cpu: Cpu, shared: Shared, orders: Orders) -> None:
    """So many, then power off; a worker only stops."""
    chance = Chance.at(u64(CHANCES + CHANCE_SIZE * (0 if cpu.run != 0 else 1)))
    is_worker = cpu.run == 0
    chance.state = u64(orders.seed * 2 + 1 + is_worker * 0x1234_5678)
    chance.ring = shared.config.ring
    chance.coalesced = shared.config.coalesced
    chance.run = RUN_PAGES
    for number in range(u32(orders.parameter)):
        for _ in range(8):
            scribble_once(chance)
        if not is_worker or number % 4 == 0:
            anything(cpu, shared, chance, is_worker)
    if not is_worker:
        power_off(cpu)


def scribble_once(chance: Chance) -> None:
    """A word, somewhere."""
    value = random_word(chance)
    match chance.below(8):
        case 0:
            store64(u64(SHARED + chance.below(CONFIG_SIZE)), value)
        case 1 | 2:
            store64(u64(SHARED + chance.below(SHARED_SIZE)), value)
        case 3:
            end = u64(SHARED + SHARED_SIZE - LOG_SIZE - STATISTICS_SIZE)
            store64(u64(end + chance.below(STATISTICS_SIZE)), value)
        case 4:
            if chance.below(4) == 0:  # the other's call may be just under way
                place = u64(STACKS + chance.below(2) * STACK_SIZE)
                store64(u64(place + chance.below(CPU_SIZE // 8) * 8), value)
        case 5:
            store64(u64(chance.run + PAGE + chance.below(PAGE - 8)), value)
        case 6:
            if chance.coalesced != 0:
                store64(u64(chance.coalesced + chance.below(16)), value)
        case _:
            scribble_ring(chance, value)


def random_word(chance: Chance) -> u64:
    """One that is near an edge, small, or any."""
    value = chance.next()
    match chance.below(8):
        case 0:
            return ENDLESS
        case 1:
            return 0
        case 2:
            return value & 0xFF
        case 3:
            return u64(1 << (value & 63))
        case _:
            return value


def scribble_ring(chance: Chance, value: u64) -> None:
    """Its pages, its entries, or one of its heads and tails."""
    ring = chance.ring
    size = u64(ring.cqes + COMPLETION_SIZE * u64(ring.completion_entries) - RING)
    match chance.below(8):
        case 0 | 1:
            store64(u64(RING_ENTRIES + chance.below(u64(ENTRY_SIZE * ring.entries - 8))), value)
        case 2:
            store64(u64(RING + chance.below(u64(max(size, 16) - 8))), value)
        case 3:
            store32(ring.cq_head, load32(ring.cq_tail))
        case 4:
            if chance.below(16) == 0:  # much is under way then, by the kernel's count
                store32(ring.cq_head, u32(value))
        case 5:
            store32(ring.sq_flags, u32(value))
        case 6:
            store32(ring.cq_flags, u32(value))
        case _:
            store32(u64(ring.sq_array + 4 * chance.below(ring.entries)), u32(value & 0x1FF))


ALLOWED = (Opcode.READ_FIXED, Opcode.WRITE_FIXED, Opcode.FSYNC, Opcode.READ_FIXED)
OFTEN = (
    *(Call.ROUTE, Call.PIN, Call.LOG, Call.KICK, Call.KICK, Call.KICK, Call.DONE, Call.ROUTE),
    *(Call.ATTEND, Call.PIN, Call.MAP, Call.KICK, Call.KICK, Call.KICK, Call.INJECT, Call.ROUTE),
)
CHUNKS = 64 // 2  # of the guest's RAM


def random_entry(chance: Chance) -> None:
    """An entry that the kernel may take, and often does."""
    ring = chance.ring
    entry = prepared(ring)
    number = chance.next()
    entry.opcode = ALLOWED[number & 3] if number & 0xF0 else u8(number >> 8)
    entry.flags = FIXED_FILE if number & 0xF000 else u8(number >> 16)
    entry.file = u32(chance.below(8))
    entry.offset = u64(chance.below(64) * 512) if number & 0xF0000 else random_word(chance)
    entry.length = u32(chance.below(8192)) if number & 0xF00000 else u32(random_word(chance))
    entry.user_data = number
    if number & 0x1000000:
        entry.address = u64(ring.host_state + chance.below(PAGE))
    else:
        # Chunks behind what this guest is made of: who knows what it would do otherwise.
        chunk = u64(2 + chance.below(CHUNKS - 2))
        entry.address = u64(ring.host_ram + chunk * CHUNK + chance.below(PAGE))
        entry.buffer = u16(FIRST_CHUNK_BUFFER + chunk)
    if number & 0xF0000000 == 0:
        entry.priority = u16(random_word(chance))
    if number & 0xFF00000000 == 0:
        store32(ring.sq_tail, u32(random_word(chance)))
    else:
        submit(ring)


def anything(cpu: Cpu, shared: Shared, chance: Chance, is_worker: bool) -> None:
    """A call, or something else that leaves."""
    number = chance.next()
    for index in range(4):
        cpu.argument[index] = random_word(chance)
    kind = number & 0xFFFF
    if kind < 64:  # one in a thousand, most of which end the guest
        if kind < 48:
            call(u8(number >> 16))
        else:
            port_out8(u16(PORT_DOORBELL + chance.below(GSIS + 64)), 0)
        return
    what = OFTEN[number >> 16 & 15]
    match what:
        case Call.ROUTE:
            gsi = chance.below(GSIS if number & 1 << 40 else 8)
            cpu.argument[0] = gsi if number & 0xF00000 else random_word(chance)
            cpu.argument[1] = 0 if number & 0xF000000 else random_word(chance)
            if gsi < GSIS:
                shared.routes[gsi].address = u64(LOCAL_APIC | (number >> 44 & 0xFFFFF))
                shared.routes[gsi].data = u32(chance.next())
        case Call.PIN:
            cpu.argument[0] = u64(2 + chance.below(CHUNKS))
            cpu.argument[1] = 0 if number & 0xF000000 else random_word(chance)
        case Call.MAP:
            cpu.argument[0] = 0 if number & 0xF00000 else random_word(chance)
            place = chance.below(1 << 32) & ~u64(0xFF_FFFF)
            cpu.argument[1] = place if number & 0xF000000 else random_word(chance)
        case Call.LOG:
            shared.log[0] = u8(number >> 48)
        case Call.INJECT:
            if is_worker:
                return
            if number & 0xF00000:
                cpu.argument[0] = NO_VECTOR  # an interrupt is the end of a guest without an IDT
        case Call.ATTEND:
            pass
        case Call.KICK:
            cpu.argument[0], cpu.argument[1] = 0, number >> 63
            for _ in range(number >> 32 & 7):
                random_entry(chance)
        case _:
            if is_worker:
                return
    call(what)
