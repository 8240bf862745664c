"""Guests of efiemu that do anything: no exit fails a check of the shell's or of the monitor's.

    python -m tests.efiemu.fuzz_exits --count 5000 --seed 1

Random instructions in every mode, with random registers, segments and page tables, leave at the
IDE's ports, at configuration space, by ports and in memory, at both kinds of APIC, and at MSRs. No
STARTUP IPI leads a processor to where the guest wants it. Each ends as done, with an exception
for the guest, or with the line of a machine that ends. Prints the number of exits and the seed;
exit status 1 at a failure.
"""

import random
import sys

from tests.devices import fuzzing
from tests.efiemu.disassembly import random_code
from tests.efiemu.machine import APIC_BASE, APIC_COMMAND, NVME, OLD_IDE, RAM_SIZE, Taken, taken
from tests.efiemu.walks import CR0, LA57, LEGACY, MODES, PAE, TABLES, random_case
from vestige import abi
from vestige.efiemu.shell.events import Events
from vestige.efiemu.shell.instruction import RCX
from vestige.efiemu.shell.interrupt import X2APIC_COMMAND
from vestige.efiemu.shell.vmcb import Exit, Segment, Vmcb
from vestige.lang.intrinsics import OnlyInAVm, load32, store32

DEFAULT = 5000
ECAM = 0xB000_0000
PAGE = ECAM + (NVME[1] << 15)  # the controller's
PORTS = (*range(0x1F0, 0x1F8), 0x3F6, 0x170, 0x177, 0x376, *range(0xCFC, 0xD00), 0xEF00, 0xEF02)
FUNCTIONS = (NVME, OLD_IDE, (0, 0, 0), (0, 31, 7))
INTERRUPTIONS = (Exit.NMI, Exit.SMI, Exit.IRET, Exit.DEBUG, Exit.WINDOW, Exit.VMRUN)
SEGMENTS = ("cs", "ds", "es", "ss", "fs", "gs")
CODE, LARGE = 0x1000, 2 << 20
LONG_MODE = 0x500
STARTUP = 6  # delivery mode
MODES_OF_APIC = (0, 1 << 11, 1 << 11 | 1 << 10)
MSRS = (APIC_BASE, X2APIC_COMMAND, 0xC000_0080, 0xC001_0114, 0xC001_0117)
CODE_SIZES = {2: 0x9B, 4: 0xC9B, 8: 0x29B}  # attributes of CS


class Fuzz:
    """One machine, and guest after guest on it."""

    def __init__(self, machine: Taken, chance: random.Random) -> None:
        self.machine, self.chance = machine, chance
        machine.shell.ecam, machine.shell.last_bus = ECAM, 255
        machine.shell.processors, machine.shell.identities[1] = 2, 1
        machine.shell.apic = abi.LOCAL_APIC
        self.started = 0  # STARTUP IPIs
        self.said = 0  # lines of machines that ended

    def step(self) -> None:
        """One guest's exit."""
        chance, machine = self.chance, self.machine
        code_size = chance.choice((2, 4, 8))
        vmcb = Vmcb(cr0=chance.choice((0, 1)), flags=chance.getrandbits(18) | 2)
        vmcb.instruction, addresses = CODE, [PAGE + chance.randrange(4096), PAGE - 2, 1 << 40]
        for page in (abi.IOAPIC, abi.LOCAL_APIC):
            addresses.append(page + chance.choice((0, 0x10, 0x40, 0x300, chance.randrange(4096))))
        if code_size == 8:
            self.map_identity(vmcb)
        elif chance.randrange(3) == 0:
            code_size = self.map_anything(vmcb, addresses)
        for name in SEGMENTS:
            setattr(vmcb, name, self.segment())
        vmcb.cs.attributes = CODE_SIZES[code_size]
        vmcb.cs.base = 0
        code = random_code(chance, code_size)
        machine.ram.data[CODE : CODE + len(code)] = code
        startup = STARTUP << 8 | chance.getrandbits(8) | chance.getrandbits(2) << 18
        for number in range(16):
            values = (
                *addresses,
                chance.randrange(RAM_SIZE),
                chance.getrandbits(64),
                startup,
                0,
                1,
                8,
            )
            machine.shell.guest.number[number] = chance.choice(values)
        vmcb.rax = chance.choice((startup, chance.getrandbits(64)))
        vmcb.stack = chance.choice(addresses)
        if chance.randrange(8) == 0:
            vmcb.interrupted = chance.getrandbits(64)
        self.enter(vmcb, code)

    def enter(self, vmcb: Vmcb, code: bytes) -> None:
        """Leave with it."""
        chance, machine, shell = self.chance, self.machine, self.machine.shell
        for name, *_ in Vmcb._fields_:
            setattr(machine.vmcb, name, getattr(vmcb, name))
        match chance.randrange(4):
            case 0:
                left, first = chance.choice(INTERRUPTIONS), 0
            case 1 | 2:
                left, first = Exit.MEMORY, chance.getrandbits(34)
            case _ if chance.randrange(4) == 0:
                left, first = Exit.MSR, chance.randrange(2)
                machine.msrs[APIC_BASE] = abi.LOCAL_APIC | chance.choice(MODES_OF_APIC)
                shell.guest.number[RCX] = chance.choice(MSRS)
            case _:
                left, first = Exit.PORT, self.port(code)
                if chance.randrange(2):
                    machine.select(chance.choice(FUNCTIONS), chance.randrange(256))
        second = chance.choice((PAGE, vmcb.instruction + 2, chance.getrandbits(50)))
        try:
            machine.leave(left, first, second)
        except OnlyInAVm:  # where a machine ends, it halts
            self.said += shell.failed
            assert shell.failed or shell.events.dead or left == Exit.SHUTDOWN
            shell.failed, shell.length, self.machine.common.end.held = 0, 0, 0
            shell.events = Events()
        self.look_at_commands()

    def look_at_commands(self) -> None:
        """What the local APIC was given to send, in memory or by its MSR."""
        machine = self.machine
        sent = [value for number, value in machine.sent if number == X2APIC_COMMAND]
        for command in (load32(APIC_COMMAND), *sent):
            startup = command >> 8 & 7 == STARTUP
            assert not startup or command & 0xFF == machine.shell.low >> 12
            self.started += startup
        machine.sent.clear()
        store32(APIC_COMMAND, 0)

    def port(self, code: bytes) -> int:
        """What the processor tells of an access of a port: most likely of this instruction."""
        chance = self.chance
        size = chance.choice((1, 2, 4))
        kind = chance.choice((0, 1, 4, 5, 5, 12, 13))
        if kind & 4 and chance.randrange(4):
            string = bytes((0xF3, 0x66, chance.randrange(0x6C, 0x70)))[chance.randrange(3) :]
            self.machine.ram.data[CODE : CODE + len(string)] = string
            size = 1 if not string[-1] & 1 else chance.choice((2, 4))
            kind = kind & ~1 | (string[-1] < 0x6E)
        port: int = chance.choice(PORTS)
        return port << 16 | size << 4 | kind

    def segment(self) -> Segment:
        """Any, most of them of all memory."""
        chance = self.chance
        if chance.randrange(4):
            return Segment(attributes=0xC93, limit=0xFFFF_FFFF)
        return Segment(
            attributes=chance.getrandbits(12), limit=chance.getrandbits(chance.choice((8, 16, 32))),
            base=chance.choice((0, PAGE, chance.getrandbits(32))),
        )  # fmt: skip

    def map_identity(self, vmcb: Vmcb) -> None:
        """RAM and configuration space where they are, by large pages with any rights."""
        chance, put = self.chance, self.put
        vmcb.cr0, vmcb.cr3, vmcb.efer = CR0, TABLES, LONG_MODE
        vmcb.cr4 = (PAE | chance.getrandbits(22)) & ~LA57
        vmcb.privilege = chance.choice((0, 0, 3))
        self.machine.ram.data[TABLES : TABLES + 0x5000] = bytes(0x5000)
        put(TABLES, TABLES + 0x1000 | 7)
        put(TABLES + 0x1000, TABLES + 0x2000 | 7)
        put(TABLES + 0x1000 + 8 * (ECAM >> 30), TABLES + 0x3000 | 7)
        for number in range(RAM_SIZE // LARGE):
            put(TABLES + 0x2000 + 8 * number, number * LARGE | 0x83 | chance.choice((4, 4, 0)))
        rights = chance.choice((7, 7, 7, 3, 5, 6))
        put(TABLES + 0x3000 + 8 * (ECAM >> 21 & 511), ECAM | 0x80 | rights)
        put(TABLES + 0x1000 + 8 * (abi.IOAPIC >> 30), TABLES + 0x4000 | 7)
        for page in (abi.IOAPIC, abi.LOCAL_APIC):
            put(TABLES + 0x4000 + 8 * (page >> 21 & 511), page | 0x80 | rights)

    def map_anything(self, vmcb: Vmcb, addresses: list[int]) -> int:
        """Tables of any shape, with the code behind them; the size of code."""
        chance = self.chance
        case = random_case(chance, chance.choice(MODES))
        for name in ("cr0", "cr3", "cr4", "efer", "privilege"):
            setattr(vmcb, name, getattr(case.vmcb, name))
        size = 4 if case.mode is LEGACY else 8
        self.machine.ram.data[TABLES : TABLES + 0x6000] = bytes(0x6000)
        for place, entry in case.entries:
            self.put(place, entry, size)
        vmcb.instruction = case.linear
        addresses.append(case.linear)
        return 8 if case.mode.efer else 4

    def put(self, place: int, value: int, size: int = 8) -> None:
        """An entry of a table."""
        self.machine.ram.data[place : place + size] = value.to_bytes(size, "little")


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many exits there were. Raises what a failed check does."""
    done = 0
    with taken() as machine:
        run = Fuzz(machine, chance)
        while limit.left(done):
            run.step()
            done += 1
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "exits", "exits", DEFAULT, fuzz))
