"""The other processors: what one of them finds, what it begins with, and how all of them end."""

import ctypes
from collections.abc import Iterator

import pytest

from tests.efiemu.firmware import LOW
from tests.efiemu.machine import taken
from tests.efiemu.memory import translate
from tests.efiemu.processors import (
    APIC_BASE,
    ENTRY,
    FAR,
    IDENTITIES,
    X2APIC,
    X2APIC_COMMAND,
    Machine,
    machine,
)
from vestige import abi
from vestige.efiemu.shell import block, others
from vestige.efiemu.shell.common import Startup
from vestige.efiemu.shell.instruction import RCX, RDX
from vestige.efiemu.shell.others import end_all, join, place_startup, prepare_others
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.takeover import INTERCEPTED
from vestige.efiemu.shell.vmcb import SVM_ENABLED, Exit, Vmcb
from vestige.lang.intrinsics import OnlyInAVm, load64, running_on, store64

READ_ONLY, GUEST = 5, 7
NMI, NMI_EVENT = 0x4400, 0x8000_0202  # as a command, and as it is injected
READ_DMA = 0xC8
CR0 = 0x6000_0010


@pytest.fixture
def first() -> Iterator[Machine]:
    with machine() as made:
        yield made


def test_each_has_what_the_first_one_knows(first: Machine) -> None:
    first.shell.controller, first.shell.bar = 0x18, 5 << 32
    with running_on(first):
        prepare_others(first.shell)
    for number in range(1, len(IDENTITIES)):
        other = first.of(number)
        assert (other.number, other.processors, other.block) == (number, 4, first.shell.block)
        assert (other.controller, other.bar) == (0x18, 5 << 32)
    assert first.of(4).block == 0, "there is no fifth one"
    arrival = first.common.arrival
    assert [arrival.identities[number] for number in range(4)] == list(IDENTITIES)
    assert (arrival.count, arrival.root) == (4, first.shell.host_root)
    assert arrival.parts + 3 * arrival.part_size + abi.STACK_SIZE == ctypes.addressof(first.of(3))


@pytest.mark.parametrize(("processors", "allowed"), [(2, READ_ONLY), (1, GUEST)])
def test_stores_to_the_apic_exit_where_there_are_others(
    first: Machine, processors: int, allowed: int
) -> None:
    first.shell.processors = processors
    with running_on(first):
        prepare_others(first.shell)
    root = first.shell.guest_root
    assert translate(root, abi.LOCAL_APIC + 0x300) == (abi.LOCAL_APIC + 0x300, allowed)
    for near in (abi.LOCAL_APIC - PAGE, abi.LOCAL_APIC + PAGE):
        assert translate(root, near) == (near, GUEST)


def test_the_pages_below_1_mib_lead_to_the_shell(first: Machine) -> None:
    place_startup(first.shell)
    startup = Startup.at(LOW)
    code = first.startup_page()
    assert bytes(startup.code) == bytes(first.page.code)
    assert (startup.far, startup.entry) == (LOW + FAR, code + ENTRY)
    table = startup.gdt_low | startup.gdt_high << 16
    assert load64(table + 8) == block.CODE_DESCRIPTOR
    assert load64(table + 16) == block.DATA_DESCRIPTOR
    assert startup.root == LOW + PAGE
    assert translate(startup.root, first.shell.block) == translate(
        first.shell.host_root, first.shell.block
    )
    assert startup.arrival == ctypes.addressof(first.common.arrival)


def test_they_are_mended_and_left_alone_where_they_are_right(
    first: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def store(place: int, value: int) -> None:
        written.append(place)
        store64(place, value)

    place_startup(first.shell)
    right = ctypes.string_at(LOW, 2 * PAGE)
    monkeypatch.setattr(others, "store64", store)
    place_startup(first.shell)
    assert written == [], "a processor may be on its way through them"
    places = [LOW + 8, LOW + 0xF8, LOW + PAGE]
    for place in places:
        store64(place, 1 << 63)
    place_startup(first.shell)
    assert written == places
    assert ctypes.string_at(LOW, 2 * PAGE) == right


def test_one_begins_as_after_init_and_startup() -> None:
    with machine(number=2) as made:
        shell = made.shell
        made.common.pages[2] = 0x9A
        for _ in range(2):
            shell.guest.number[RCX], shell.pending, shell.events.nmis = 7, 1, 1
            with running_on(made):
                join(shell, CR0)
            vmcb = Vmcb.at(shell.vmcb)
            part = block.processor(shell.block, 2)
            assert shell.vmcb == part + block.VMCB
            assert made.msrs[0xC001_0117] == part + block.HOST_SAVE
            assert made.msrs[0xC000_0080] & SVM_ENABLED
            assert (vmcb.cs.selector, vmcb.cs.base, vmcb.instruction) == (0x9A00, 0x9A000, 0)
            assert (vmcb.ds.base, vmcb.ds.limit, vmcb.ss.attributes) == (0, 0xFFFF, 0x93)
            assert (vmcb.cr0, vmcb.cr3, vmcb.cr4, vmcb.efer) == (CR0, 0, 0, SVM_ENABLED)
            assert (vmcb.flags, vmcb.dr6, vmcb.dr7) == (2, 0xFFFF_0FF0, 0x400)
            assert (vmcb.intercepts, vmcb.nested_root) == (INTERCEPTED, shell.guest_root)
            assert (vmcb.asid, vmcb.nested_paging, vmcb.flush) == (1, 1, 1)
            assert (shell.guest.number[RCX], shell.guest.number[RDX]) == (0, 0xA20F10)
            assert (shell.pending, shell.events.nmis, made.common.joined[2]) == (0, 0, 1)
            vmcb.cr3, vmcb.instruction = 5, 6


def test_the_end_reaches_each_that_has_arrived(first: Machine) -> None:
    first.msrs[APIC_BASE] |= X2APIC
    first.common.joined[0] = first.common.joined[2] = first.common.joined[3] = 1
    with running_on(first):
        end_all(first.shell)
    assert first.common.end.held
    assert first.sent == [(X2APIC_COMMAND, identity << 32 | NMI) for identity in IDENTITIES[2:]]


def test_none_goes_on_then() -> None:
    with taken() as made:
        made.leave(Exit.SMI)
        made.common.end.acquire()
        with pytest.raises(OnlyInAVm, match="wait_for_interrupt"):
            made.leave(Exit.SMI)


def test_an_nmi_of_another_processor_is_always_the_guests() -> None:
    with taken() as made:
        made.dma(READ_DMA, 8, 0x10000, 4096)
        made.nvme.step()
        made.shell.number = 1
        made.leave(Exit.NMI)
        assert made.vmcb.injected == NMI_EVENT
