"""The guest's local APIC: what of it leads to the shell, and whom the guest starts where."""

import random
from collections.abc import Iterator

import pytest

from tests import compiling
from tests.efiemu.firmware import LOW
from tests.efiemu.processors import (
    APIC_BASE,
    BOOT,
    ENABLED,
    IDENTITIES,
    X2APIC,
    X2APIC_COMMAND,
    Machine,
    machine,
)
from tests.efiemu.walks import Ram
from vestige import abi
from vestige.efiemu.shell.apic import is_meant
from vestige.efiemu.shell.common import CPUS, Startup
from vestige.efiemu.shell.features import answer_msr
from vestige.efiemu.shell.instruction import RCX, RDI, RDX
from vestige.efiemu.shell.mapped import answer_memory
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.others import reset
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Segment, Vmcb
from vestige.lang.intrinsics import load32, running_on, store32

EOI, COMMAND, COMMAND_HIGH = (abi.LOCAL_APIC + offset for offset in (0xB0, 0x300, 0x310))
STARTUP, INIT = 6 << 8, 5 << 8
LOGICAL, ASSERT = 1 << 11, 1 << 14
SELF, ALL, ALL_BUT_SELF = (kind << 18 for kind in (1, 2, 3))
CODE = 0x1000
GENERAL_PROTECTION = 0x8000_0B0D
PAGE = 0x9A  # that the guest wants
NOWHERE = [0] * CPUS


class Guest:
    """At an instruction, in 32-bit mode without paging, on a processor of a machine."""

    def __init__(self, made: Machine) -> None:
        self.machine, self.shell, self.vmcb = made, made.shell, made.vmcb
        self.ram = Ram()
        self.shell.memory = Memory.from_buffer_copy(self.ram.memory)
        self.vmcb.cr0, self.vmcb.flags = 1, 2
        for name, attributes in (("cs", 0xC9B), ("ds", 0xC93), ("es", 0xC93), ("ss", 0xC93)):
            setattr(self.vmcb, name, Segment(attributes=attributes, limit=0xFFFF_FFFF))

    def execute(self, code: str, eax: int = 0, edi: int = 0) -> int:
        """An instruction that has exited, or more: EAX afterwards."""
        data = bytes.fromhex(code)
        self.ram.bytes[CODE : CODE + len(data)] = data
        self.vmcb.instruction, self.vmcb.rax = CODE, eax
        self.shell.guest.number[RDI] = edi
        with running_on(self.machine):
            answer_memory(self.shell, self.vmcb)
        assert not self.shell.failed
        assert self.vmcb.instruction == CODE + len(data)
        return self.vmcb.rax

    def store(self, place: int, value: int) -> None:
        """MOV [EDI], EAX."""
        self.execute("89 07", value, place)

    def writes(self, number: int, value: int) -> bool:
        """WRMSR: False: #GP."""
        self.vmcb.information[0] = 1
        self.vmcb.rax, self.shell.guest.number[RDX] = value & 0xFFFF_FFFF, value >> 32
        self.shell.guest.number[RCX] = number
        self.vmcb.instruction = CODE
        with running_on(self.machine):
            answer_msr(self.shell, self.vmcb)
        assert self.shell.events.decide(self.vmcb)
        if self.vmcb.injected:
            assert (self.vmcb.injected, self.vmcb.instruction) == (GENERAL_PROTECTION, CODE)
            return False
        assert self.vmcb.instruction == CODE + 2
        return True


@pytest.fixture
def guest() -> Iterator[Guest]:
    with machine() as made:
        yield Guest(made)


def test_other_registers_are_the_processors(guest: Guest) -> None:
    guest.store(abi.LOCAL_APIC + 0x80, 0x20)
    assert load32(abi.LOCAL_APIC + 0x80) == 0x20
    guest.execute("c7 05 b0 00 e0 fe 00 00 00 00")  # mov dword ptr [EOI], 0
    store32(abi.LOCAL_APIC + 0xF0, 0x1FF)
    guest.execute("80 0f 01", edi=abi.LOCAL_APIC + 0xF0)  # or byte ptr: of no size there is
    assert load32(abi.LOCAL_APIC + 0xF0) == 0x1FF
    guest.execute("81 0f 00 10 00 00", edi=abi.LOCAL_APIC + 0xF0)
    assert load32(abi.LOCAL_APIC + 0xF0) == 0x11FF
    assert guest.execute("87 07", eax=5, edi=abi.LOCAL_APIC + 0xF0) == 0x11FF
    assert load32(abi.LOCAL_APIC + 0xF0) == 5


def test_other_commands_are_sent_as_they_are(guest: Guest) -> None:
    for command in (ASSERT | 0x31, INIT | ASSERT | 1 << 15, 4 << 8 | ASSERT, ALL_BUT_SELF | 0xFD):
        guest.store(COMMAND, command)
        assert load32(COMMAND) == command
    assert guest.machine.pages() == NOWHERE


def test_startup_leads_to_the_shells_page(guest: Guest) -> None:
    guest.store(COMMAND_HIGH, 3 << 24)
    guest.store(COMMAND, STARTUP | PAGE)
    assert load32(COMMAND) == STARTUP | LOW >> 12
    assert load32(COMMAND_HIGH) == 3 << 24
    assert guest.machine.pages()[:4] == [0, 0, PAGE, 0]
    assert Startup.at(LOW).code[0] == 0xFA


@pytest.mark.parametrize("alias", [4, 8, 12])
def test_a_register_has_16_addresses(guest: Guest, alias: int) -> None:
    guest.store(COMMAND + alias, STARTUP | ALL_BUT_SELF | PAGE)
    assert load32(COMMAND) & 0xFF == LOW >> 12


@pytest.mark.parametrize(
    ("command", "destination", "meant"),
    [
        (ALL_BUT_SELF, 0, [0, PAGE, PAGE, PAGE]),
        (ALL, 0, [PAGE] * 4),
        (SELF, 3, [PAGE, 0, 0, 0]),
        (0, 0x21, [0, 0, 0, PAGE]),
        (0, 0xFF, [PAGE] * 4),
        (LOGICAL, 0xFF, [PAGE] * 4),
        (0, 4, [0] * 4),
        (LOGICAL, 2, [0] * 4),
    ],
)
def test_who_is_meant(guest: Guest, command: int, destination: int, meant: list[int]) -> None:
    guest.store(COMMAND_HIGH, destination << 24)
    guest.store(COMMAND, STARTUP | command | PAGE)
    assert guest.machine.pages()[:4] == meant


@pytest.mark.parametrize(
    ("command", "destination", "meant"),
    [
        (ALL_BUT_SELF, 0, [0, PAGE, PAGE, PAGE]),
        (0, 0x21, [0, 0, 0, PAGE]),
        (0, 0xFF, [0] * 4),
        (0, 0xFFFF_FFFF, [PAGE] * 4),
        (LOGICAL, 0b1101, [PAGE, PAGE, PAGE, 0]),
        (LOGICAL, 2 << 16 | 0b10, [0, 0, 0, PAGE]),
        (LOGICAL, 1 << 16 | 0b10, [0] * 4),
    ],
)
def test_x2apic_does_the_same(
    guest: Guest, command: int, destination: int, meant: list[int]
) -> None:
    guest.machine.msrs[APIC_BASE] |= X2APIC
    assert guest.writes(X2APIC_COMMAND, destination << 32 | INIT | ASSERT | command)
    assert guest.machine.pages() == NOWHERE
    assert guest.writes(X2APIC_COMMAND, destination << 32 | STARTUP | command | PAGE)
    assert guest.machine.pages()[:4] == meant
    sent = [value for number, value in guest.machine.sent if number == X2APIC_COMMAND]
    assert sent == [
        destination << 32 | INIT | ASSERT | command,
        destination << 32 | STARTUP | command | LOW >> 12,
    ]


def test_its_register_is_there_in_that_mode_only(guest: Guest) -> None:
    assert not guest.writes(X2APIC_COMMAND, STARTUP | ALL_BUT_SELF | PAGE)
    guest.machine.msrs[APIC_BASE] |= X2APIC
    for bit in (12, 13, 16, 17, 20, 31):
        assert not guest.writes(X2APIC_COMMAND, 1 << bit), "a reserved bit would be the host's #GP"
    assert guest.machine.sent == []


def test_the_mode_changes_as_the_processors_does(guest: Guest) -> None:
    base = abi.LOCAL_APIC | BOOT
    msrs = guest.machine.msrs
    assert msrs[APIC_BASE] == base | ENABLED
    for mode, changes in (
        (X2APIC, False), (X2APIC | ENABLED, True), (ENABLED, False), (0, True),
        (X2APIC | ENABLED, False), (ENABLED, True), (ENABLED, True),
    ):  # fmt: skip
        before = msrs[APIC_BASE]
        assert guest.writes(APIC_BASE, base | mode) == changes
        assert msrs[APIC_BASE] == (base | mode if changes else before)
    guest.machine.leaves[1] = (0, 0, 0, 0)
    assert not guest.writes(APIC_BASE, base | X2APIC | ENABLED), "the processor has no x2APIC"


def test_it_can_not_be_moved_and_a_line_says_so(guest: Guest) -> None:
    for value in (0xFEC0_0000 | BOOT | ENABLED, abi.LOCAL_APIC | ENABLED):
        assert not guest.writes(APIC_BASE, value)
    assert guest.machine.sent == []
    line = bytes(guest.machine.written_to_com1)
    assert line == b"efiemu: the guest may not move its local APIC; it has got #GP\r\n"


def test_on_a_machine_of_one_processor_it_is_left_alone(guest: Guest) -> None:
    guest.shell.processors = 1
    guest.ram.bytes[CODE : CODE + 2] = bytes.fromhex("89 07")
    guest.vmcb.instruction, guest.shell.guest.number[RDI] = CODE, COMMAND
    with running_on(guest.machine):
        answer_memory(guest.shell, guest.vmcb)
    assert guest.shell.failed, "nothing exits there"


def test_compiled_code_does_the_same() -> None:
    chance = random.Random(13)
    native = compiling.native([is_meant, reset])
    for _ in range(500):
        shell = Shell(processors=len(IDENTITIES), number=chance.randrange(CPUS))
        for number in range(CPUS):
            shell.identities[number] = chance.choice((0, 1, 2, 15, 16, 17, 0x21, 254))
        command = chance.getrandbits(20)
        destination = chance.choice(
            (chance.randrange(40), 0xFF, 0xFFFF_FFFF, chance.getrandbits(2) << 16 | 7)
        )
        number, x2apic = chance.randrange(CPUS), chance.random() < 0.5
        arguments = (number, command, destination, x2apic)
        assert native["is_meant"](shell, *arguments) == is_meant(shell, *arguments)
        page, cr0 = chance.randrange(256), chance.getrandbits(32)
        both = Vmcb(), Vmcb()
        reset(both[0], page, cr0)
        native["reset"](both[1], page, cr0)
        assert bytes(memoryview(both[0])) == bytes(memoryview(both[1]))
