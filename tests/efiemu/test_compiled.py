"""What the shell decides by memory and registers alone: compiled, against CPython, at random."""

import ctypes
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest

from tests import compiling
from tests.efiemu.firmware import Firmware
from tests.efiemu.memory import at, physical
from tests.efiemu.test_madt import HEADER, local, x2apic
from vestige.abi import IOAPIC
from vestige.efiemu.shell import block, bridges, ioapic
from vestige.efiemu.shell.common import Common
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.features import answer_cpuid, hide, may_write, of_guest
from vestige.efiemu.shell.madt import find_processors
from vestige.efiemu.shell.options import begins, digit_of, is_controller, word_end
from vestige.efiemu.shell.ram import Descriptor, end_of_ram, take_map
from vestige.efiemu.shell.state import BRIDGES, Leaf, Shell
from vestige.efiemu.shell.uefi import SystemTable
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.intrinsics import cpuid, running_on
from vestige.lang.native import NativeImage
from vestige.lang.types import u8, u32, u64

ROUNDS = 400
# Leaves of CPUID that are the same on all of a machine's processors.
LEAVES = (0, 7, 0x4000_0000, 0x8000_0000, 0x8000_0001, 0x8000_0008, 0x8000_000A, 0x8000_0021)
PAGING = 1 << 31


def read_entry(shell: Shell, pin: u8) -> u64:
    """Both halves in one."""
    low, high = ioapic.read_entry(shell, pin)
    return high << 32 | low


def read_leaf(leaf: u32, subleaf: u32, answer: u64) -> None:
    """CPUID of the processor that this runs on."""
    cpuid(leaf, subleaf, answer)


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(answer_cpuid, hide, may_write, of_guest, begins, digit_of, is_controller, word_end),
    *(find_processors, end_of_ram, take_map, bridges.from_bus_0, bridges.is_bridge),
    *(bridges.is_ides, bridges.keeps, bridges.shown, ioapic.is_ioapic, ioapic.read, ioapic.write),
    *(read_entry, read_leaf),
)


@cache
def native() -> NativeImage:
    return compiling.native(FUNCTIONS)


def both(
    function: Callable[..., Any], *arguments: Any, state: Sequence[ctypes.Array[Any]] = ()
) -> Any:
    """The answer of both, which have to change structures and `state` alike."""
    states = [*state, *(each for each in arguments if isinstance(each, ctypes.Structure))]
    before = [bytes(each) for each in states]
    answer = function(*arguments)
    after = [bytes(each) for each in states]
    for each, data in zip(states, before, strict=True):
        ctypes.memmove(ctypes.addressof(each), data, len(data))
    assert native()[function.__qualname__](*arguments) == answer
    assert [bytes(each) for each in states] == after
    return answer


class Here(Firmware):
    """With this processor's own CPUID, where it tells of no other host's leaves."""

    def cpuid_answer(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        read = Leaf()
        native()["read_leaf"](leaf, subleaf, ctypes.addressof(read))
        return read.eax, read.ebx, read.ecx, read.edx


@pytest.fixture
def chance() -> random.Random:
    return random.Random(13)


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Some of CPUID is of the processor that executes it."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    yield
    os.sched_setaffinity(0, all_of_them)


def test_single_bits_of_cpuid(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        leaf = Leaf(*(chance.getrandbits(32) for _ in range(4)))
        both(hide, chance.choice(LEAVES), leaf)
        both(of_guest, chance.getrandbits(32), 1 << chance.randrange(32), chance.getrandbits(1))


def test_this_processors_cpuid(chance: random.Random) -> None:
    with running_on(Here()):
        for leaf in LEAVES:
            shell, vmcb = Shell(), Vmcb(rax=leaf, next_instruction=2, cr4=chance.getrandbits(64))
            both(answer_cpuid, shell, vmcb)


def test_what_a_guest_may_write_to_efer(chance: random.Random) -> None:
    bits, found = (0, 8, 10, 11, 12, 14, 15, 21, 40), set()
    with running_on(Here()):
        for _ in range(ROUNDS):
            before, efer = (sum({1 << chance.choice(bits) for _ in range(2)}) for _ in range(2))
            vmcb = Vmcb(efer=before, cr0=chance.choice((1, PAGING | 1)))
            found.add(both(may_write, Shell(), vmcb, efer))
    assert found == {False, True}


def test_words_of_load_options(chance: random.Random) -> None:
    parts = ("nvme=", "boot=", "01:1f.7", "ff:20.0", "a0:0A.8", "g", " ", "\0", "\\x", "00:04.0")
    found = set()
    for _ in range(ROUNDS):
        letters = "".join(chance.choice(parts) for _ in range(4))
        text = (ctypes.c_uint16 * len(letters))(*map(ord, letters))
        place, end, shell = ctypes.addressof(text), len(letters), Shell()
        start = chance.randrange(end)
        after = both(word_end, place, start, end)
        for option in (0, 5):
            both(begins, place, start, end, option)
        found.add(both(is_controller, shell, place, 0, both(word_end, place, 0, end)))
        both(is_controller, shell, place, start, after - start)
    assert found == {False, True}
    for letter in range(0x80):
        both(digit_of, letter)


@pytest.mark.usefixtures("one_processor")
def test_processors_that_acpi_tells_of(chance: random.Random) -> None:
    answers = set()
    for _ in range(ROUNDS // 4):
        body = b"".join(
            chance.choice((local, x2apic))(chance.randrange(260) % 256, chance.randrange(4))
            for _ in range(chance.randrange(20))
        ) + chance.randbytes(chance.randrange(3))
        table = b"APIC" + (HEADER + len(body)).to_bytes(4, "little") + bytes(HEADER - 8) + body
        firmware = Here()
        firmware.add_acpi([b"FACP", table])
        with running_on(firmware):
            system = SystemTable.at(firmware.system)
            answers.add(both(find_processors, Shell(), system))
    assert len(answers) == 2


def test_the_memory_map(chance: random.Random) -> None:
    for _ in range(ROUNDS // 4):
        count, step = chance.randrange(70), chance.choice((40, 48))
        rows = (ctypes.c_uint8 * (count * step + 1))()
        place = ctypes.addressof(rows)
        for number in range(count):
            row = Descriptor.at(place + number * step)
            row.type, row.start = chance.randrange(12), chance.randrange(1 << 12) << 12
            row.pages = chance.randrange(40)
        shell = Shell()
        both(take_map, shell, place, count, step)
        both(end_of_ram, shell, chance.randrange(1 << 25))


def test_bridges(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        places = [chance.randrange(4) << 8 | chance.randrange(4) for _ in range(BRIDGES)]
        shell = Shell(
            bridges=chance.randrange(BRIDGES + 1), controller=places[0],
            second=chance.choice((places[1], NOWHERE)),
        )  # fmt: skip
        for number, place in enumerate(places):
            shell.bridge[number] = place
        both(bridges.from_bus_0, shell)
        function = chance.choice((*places, 0x77))
        for asked in (bridges.is_bridge, bridges.is_ides):
            both(asked, shell, function)
        both(bridges.keeps, shell, function, chance.randrange(256))
        size = chance.choice((1, 2, 4, 8))
        both(bridges.shown, chance.randrange(16), size, chance.getrandbits(8 * size))


def test_the_io_apic(chance: random.Random) -> None:
    """Its page is memory here, so that the chip shows nothing by itself."""
    with physical(block.SIZE) as place, at(IOAPIC, 4096):
        shell = Shell(block=place)
        shared = Common.at(place + block.COMMON)
        state = [
            (ctypes.c_uint8 * 4096).from_address(IOAPIC),
            (ctypes.c_uint8 * ctypes.sizeof(shared)).from_address(ctypes.addressof(shared)),
        ]
        for _ in range(ROUNDS):
            address, size = IOAPIC + chance.choice((0, 0x10, 0x40, 0x110)), chance.choice((1, 2, 4))
            both(ioapic.write, shell, address, size, chance.getrandbits(8 * size), state=state)
            both(ioapic.read, shell, address, chance.choice((size, 8)), state=state)
            both(read_entry, shell, chance.randrange(24), state=state)
            both(ioapic.is_ioapic, address + chance.choice((0, 4096)))
