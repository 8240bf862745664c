"""The walk through a guest's page tables: in CPython, compiled, and against a processor's own."""

import random
import sys

import pytest

from tests.devices.fuzzing import Limit
from tests.efiemu import translating
from tests.efiemu.fuzz_walk import fuzz
from tests.efiemu.walks import (
    CR0,
    FIVE_LEVELS,
    FOUR_LEVELS,
    LEGACY,
    MODES,
    NO_EXECUTE_ENABLED,
    PAGES,
    PHYSICAL_EXTENSION,
    RAM_SIZE,
    SMAP,
    SMEP,
    TABLES,
    Mode,
    Ram,
    new_walk,
)
from tests.kvm_payload import needs_kvm
from vestige.efiemu.shell.fault import Outcome, Vector
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.efiemu.shell.walk import Access, Entry
from vestige.lang.intrinsics import Processor, running_on
from vestige.softhost import SoftHost

TIMEOUT = 120  # seconds; it takes a few
LINEAR = 0x40_2678  # by entry 0, but for the last two levels
PRESENT, WRITABLE, USER, LARGE = Entry.PRESENT, Entry.WRITABLE, Entry.USER, Entry.LARGE
ALL = PRESENT | WRITABLE | USER
PRESENT_ERROR, WRITE_ERROR, USER_ERROR, RESERVED_ERROR, FETCH_ERROR = 1, 2, 4, 8, 16


class Guest:
    """Tables that lead from LINEAR to a page, by pages of 4 KiB."""

    def __init__(self, mode: Mode, *, privilege: int = 0) -> None:
        self.mode, self.ram, self.walk = mode, Ram(), new_walk()
        self.size = 4 if mode is LEGACY else 8
        self.vmcb = Vmcb(
            cr0=CR0, cr3=TABLES + 0x1000 * mode.levels, cr4=mode.cr4,
            efer=mode.efer | NO_EXECUTE_ENABLED, privilege=privilege,
        )  # fmt: skip
        for level in range(1, mode.levels + 1):
            below = PAGES if level == 1 else TABLES + 0x1000 * (level - 1)
            self.enter(level, below | (PRESENT if self.is_bare(level) else ALL))

    def is_bare(self, level: int) -> bool:
        """Whether the entries of this level are without rights and marks."""
        return self.mode is PHYSICAL_EXTENSION and level == 3

    def place(self, level: int) -> int:
        """Of LINEAR's entry."""
        shift = 12 + self.mode.index_bits * (level - 1)
        index = LINEAR >> shift & (1 << self.mode.index_bits) - 1
        return TABLES + 0x1000 * level + self.size * index

    def enter(self, level: int, entry: int) -> None:
        self.ram.put(self.place(level), entry, self.size)

    def entry(self, level: int) -> int:
        return self.ram.get(self.place(level), self.size)

    def change(self, level: int, *, add: int = 0, remove: int = 0) -> None:
        self.enter(level, self.entry(level) & ~remove | add)

    def translate(self, access: Access = Access.READ, linear: int = LINEAR) -> int:
        """The physical address."""
        outcome = self.walk.translate(self.vmcb, self.ram.memory, linear, access)
        assert outcome == Outcome.DONE
        return self.walk.physical

    def error(self, access: Access = Access.READ, linear: int = LINEAR) -> int:
        """The error code of the page fault."""
        before = self.ram.bytes[TABLES:PAGES]
        outcome = self.walk.translate(self.vmcb, self.ram.memory, linear, access)
        assert outcome == Outcome.FAULT
        assert self.walk.fault.vector == Vector.PAGE_FAULT
        assert self.walk.fault.address == linear
        assert self.ram.bytes[TABLES:PAGES] == before, "nothing was used"
        return self.walk.fault.error


@pytest.fixture(params=MODES, ids=lambda mode: f"{mode.levels} levels")
def guest(request: pytest.FixtureRequest) -> Guest:
    return Guest(request.param)


def test_without_paging_an_address_is_physical() -> None:
    guest = Guest(LEGACY)
    guest.vmcb.cr0, guest.vmcb.cr3 = 0x10, 0xFFFF_F000
    assert guest.translate(Access.WRITE, 0x1_2345_6789) == 0x2345_6789
    assert guest.walk.room == 0x877


def test_a_page_of_4_kib(guest: Guest) -> None:
    assert guest.translate() == PAGES | LINEAR & 0xFFF
    assert guest.walk.room == 0x1000 - (LINEAR & 0xFFF)


def test_large_pages() -> None:
    for mode, level, size in (
        (LEGACY, 2, 4 << 20),
        *((mode, 2, 2 << 20) for mode in MODES[1:]),
        *((mode, 3, 1 << 30) for mode in (FOUR_LEVELS, FIVE_LEVELS)),
    ):
        guest = Guest(mode)
        guest.enter(level, 0xC000_0000 | ALL | LARGE | 1 << 12)  # bit 12 is of the PAT
        assert guest.translate() == 0xC000_0000 | LINEAR & size - 1, mode


def test_large_pages_may_lie_above_4_gib_without_pae() -> None:
    guest = Guest(LEGACY)
    guest.enter(2, 0x40_0000 | 0xA5 << 13 | ALL | LARGE)
    assert guest.translate() == 0xA5_0040_0000 | LINEAR & 0x3F_FFFF
    guest.walk.address_bits = 36
    assert guest.error() == PRESENT_ERROR | RESERVED_ERROR
    guest.vmcb.cr4 = 0
    guest.enter(2, TABLES + 0x1000 | ALL | LARGE)
    assert guest.translate() == PAGES | LINEAR & 0xFFF, "there are no large pages then"


def test_gibibyte_pages_are_reserved_where_there_are_none() -> None:
    guest = Guest(FOUR_LEVELS)
    guest.enter(3, ALL | LARGE)
    guest.walk.gibibyte_pages = 0
    assert guest.error() == PRESENT_ERROR | RESERVED_ERROR


def test_what_is_not_present_is_a_fault_at_any_level(guest: Guest) -> None:
    for level in range(1, guest.mode.levels + 1):
        guest.change(level, remove=PRESENT)
        assert guest.error() == 0
        assert guest.error(Access.WRITE) == WRITE_ERROR
        guest.change(level, add=PRESENT)


def test_user_mode_needs_the_right_at_each_level(guest: Guest) -> None:
    guest.vmcb.privilege = 3
    guest.translate(Access.WRITE)
    for level in range(1, guest.mode.levels + 1):
        if guest.is_bare(level):
            continue
        for right, access, error in (
            (USER, Access.READ, USER_ERROR),
            (WRITABLE, Access.WRITE, USER_ERROR | WRITE_ERROR),
        ):
            guest.change(level, remove=right)
            assert guest.error(access) == PRESENT_ERROR | error
            guest.change(level, add=right)


def test_the_supervisor_writes_where_it_may_not_unless_cr0_says_so(guest: Guest) -> None:
    guest.change(1, remove=WRITABLE)
    assert guest.error(Access.WRITE) == PRESENT_ERROR | WRITE_ERROR
    guest.vmcb.cr0 &= ~(1 << 16)
    guest.translate(Access.WRITE)


def test_smep_and_smap_keep_the_supervisor_from_user_pages(guest: Guest) -> None:
    guest.vmcb.cr4 |= SMEP | SMAP
    assert guest.error(Access.FETCH) == PRESENT_ERROR | FETCH_ERROR
    assert guest.error(Access.READ) == PRESENT_ERROR
    guest.vmcb.flags = 1 << 18
    guest.translate(Access.WRITE)
    assert guest.error(Access.FETCH) == PRESENT_ERROR | FETCH_ERROR
    guest.change(1, remove=USER)
    guest.vmcb.flags = 0
    guest.translate(Access.FETCH)


def test_no_execute(guest: Guest) -> None:
    if guest.mode is LEGACY:
        return
    for level in range(1, guest.mode.levels + 1):
        if guest.is_bare(level):
            continue
        guest.change(level, add=Entry.NO_EXECUTE)
        guest.translate()
        assert guest.error(Access.FETCH) == PRESENT_ERROR | FETCH_ERROR
        guest.vmcb.efer &= ~NO_EXECUTE_ENABLED
        assert guest.error() == PRESENT_ERROR | RESERVED_ERROR
        assert guest.error(Access.FETCH) == PRESENT_ERROR | RESERVED_ERROR, "no bit of a fetch"
        guest.vmcb.efer |= NO_EXECUTE_ENABLED
        guest.change(level, remove=Entry.NO_EXECUTE)


def test_reserved_bits(guest: Guest) -> None:
    if guest.mode is LEGACY:
        guest.enter(2, ALL | LARGE | 1 << 21)
        assert guest.error() == PRESENT_ERROR | RESERVED_ERROR
        return
    for level in range(1, guest.mode.levels + 1):
        bits = [40, 51]
        bits += [7] if level >= 4 else []
        bits += [1, 2, 5, 6, 7, 8, 63] if guest.is_bare(level) else []
        bits += [] if guest.mode.efer else [52, 62]
        for bit in bits:
            guest.change(level, add=1 << bit)
            assert guest.error() == PRESENT_ERROR | RESERVED_ERROR, (level, bit)
            guest.change(level, remove=1 << bit)
    for bit in (13, 20):
        guest.enter(2, ALL | LARGE | 1 << bit)
        assert guest.error() == PRESENT_ERROR | RESERVED_ERROR


def test_used_entries_are_marked(guest: Guest) -> None:
    marked = [level for level in range(1, guest.mode.levels + 1) if not guest.is_bare(level)]
    guest.translate(Access.FETCH)
    for level in marked:
        assert guest.entry(level) & 0x60 == Entry.ACCESSED
    guest.translate(Access.WRITE)
    for level in marked:
        assert guest.entry(level) & 0x60 == Entry.ACCESSED | (Entry.DIRTY if level == 1 else 0)


def test_what_another_processor_changes_at_that_time_is_not_overwritten() -> None:
    class Other(Processor):
        def before_ordered_access(self) -> None:
            changing.enter(1, 0)

    changing = Guest(FOUR_LEVELS)
    with running_on(Other()):
        outcome = changing.walk.translate(changing.vmcb, changing.ram.memory, LINEAR, Access.READ)
    assert outcome == Outcome.AGAIN
    assert changing.entry(1) == 0


@pytest.mark.parametrize(("mode", "bit"), [(FOUR_LEVELS, 47), (FIVE_LEVELS, 56)])
def test_addresses_that_are_not_canonical(mode: Mode, bit: int) -> None:
    guest = Guest(mode)
    for linear in (1 << bit, (1 << 64) - (1 << bit) - 1, 1 << 63):
        outcome = guest.walk.translate(guest.vmcb, guest.ram.memory, linear, Access.READ)
        assert (outcome, guest.walk.fault.vector) == (Outcome.FAULT, Vector.GENERAL_PROTECTION)
        assert guest.walk.fault.error == 0
    assert guest.error(linear=(1 << bit) - 0x1000) == 0
    assert guest.error(linear=(1 << 64) - (1 << bit)) == 0


def test_addresses_have_32_bits_outside_long_mode() -> None:
    guest = Guest(PHYSICAL_EXTENSION)
    assert guest.translate(linear=LINEAR | 0xFF << 32) == PAGES | LINEAR & 0xFFF


def test_tables_outside_ram_are_refused_by_address(guest: Guest) -> None:
    for level in range(1, guest.mode.levels):
        guest.enter(level + 1, RAM_SIZE | (PRESENT if guest.is_bare(level + 1) else ALL))
        outcome = guest.walk.translate(guest.vmcb, guest.ram.memory, LINEAR, Access.READ)
        assert outcome == Outcome.REFUSED
        assert guest.walk.fault.address == RAM_SIZE | guest.place(level) & 0xFFF


def test_compiled_code_does_the_same() -> None:
    done, problem = fuzz(Limit(2400), random.Random(13))
    assert (done, problem) == (2400, None)


def test_the_software_hosts_processor_does_the_same(softhost: SoftHost) -> None:
    """Also where paging has 32 bits, and with PAE: not every machine's own KVM has these."""
    command = [sys.executable, "-m", "tests.efiemu.translating", "--count", "300", "2", "3", "4"]
    done = softhost.capture(command, timeout=TIMEOUT)
    assert done.status == 0, done.stderr.decode()
    assert done.stdout.count(b"as the walk says") == 3


@pytest.mark.kvm
def test_this_processor_does_the_same() -> None:
    needs_kvm()
    found = translating.judge_many(FOUR_LEVELS, 1500, random.Random(13))
    assert found["made"] > 300
    assert found["vector 14"] > 300
