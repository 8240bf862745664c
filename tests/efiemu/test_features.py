"""What the guest is shown of its processor: CPUID, EFER and SVM's registers."""

import pytest

from tests.efiemu.firmware import Firmware
from tests.efiemu.walks import Ram
from vestige.efiemu.shell.features import answer_cpuid, answer_msr
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.processor import LARGEST, VM_CR
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.takeover import EFER
from vestige.efiemu.shell.vmcb import SVM_ENABLED, Vmcb
from vestige.lang.intrinsics import running_on

LONG_MODE, LONG_MODE_ACTIVE, PAGING = 1 << 8, 1 << 10, 1 << 31 | 1
GENERAL_PROTECTION = 0x8000_0B0D  # an event, with an error code of 0
ALL = 0xFFFF_FFFF
FEATURES, EXTENDED_2 = 0x8000_0001, 0x8000_0021
OSXSAVE, OSPKE = 1 << 27, 1 << 4
TCE, NO_EXECUTE, FAST_FXSAVE = 1 << 15, 1 << 11, 1 << 14  # of EFER
AUTOMATIC_IBRS = 1 << 21
CODE, LONG = 0x1000, 0x29B  # attributes of CS


class Processor(Firmware):
    """With the leaves of CPUID that a test gives it; all others are 0."""

    def __init__(self, **leaves: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.leaves = {int(name[1:], 16): leaf for name, leaf in leaves.items()}
        self.leaves[LARGEST] = (max(self.leaves, default=LARGEST), 0, 0, 0)

    def cpuid_answer(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        return self.leaves.get(leaf, (0, 0, 0, 0))

    def cpuid(self, leaf: int, subleaf: int = 0, cr4: int = 0) -> tuple[int, ...]:
        """The guest's."""
        shell, vmcb = exit_of(rax=0xFFFF_FFFF << 32 | leaf, rcx=subleaf)
        vmcb.cr4 = cr4
        with running_on(self):
            answer_cpuid(shell, vmcb)
        assert vmcb.instruction == 0x1002
        return (vmcb.rax, *(shell.guest.number[each] for each in (3, 1, 2)))

    def write_efer(self, value: int, before: int = 0, cr0: int = 1) -> int | None:
        """EFER afterwards, without SVM; None: #GP."""
        shell, vmcb = exit_of(rax=value & ALL, rcx=EFER, rdx=value >> 32)
        vmcb.efer, vmcb.cr0, vmcb.information[0] = SVM_ENABLED | before, cr0, 1
        with running_on(self):
            answer_msr(shell, vmcb)
        assert vmcb.efer & SVM_ENABLED
        if shell.events.exception:
            assert (shell.events.exception, vmcb.instruction) == (GENERAL_PROTECTION, 0x1000)
            return None
        assert vmcb.instruction == 0x1002
        return vmcb.efer & ~SVM_ENABLED


def exit_of(rax: int = 0, rcx: int = 0, rdx: int = 0) -> tuple[Shell, Vmcb]:
    shell, vmcb = Shell(), Vmcb(rax=rax, instruction=0x1000, efer=SVM_ENABLED | 0xD00, cr0=1)
    shell.guest.number[1], shell.guest.number[2], shell.guest.number[3] = (
        rcx,
        rdx,
        0xFFFF_FFFF_FFFF_FFFF,
    )
    return shell, vmcb


def changed(leaf: int, subleaf: int = 0) -> tuple[int, ...]:
    """Which bits of a leaf of ones the guest doesn't have: EAX, EBX, ECX, EDX."""
    of_ones = Processor(**{f"x{leaf:x}": (ALL, ALL, ALL, ALL)})
    return tuple(each ^ ALL for each in of_ones.cpuid(leaf, subleaf))


@pytest.mark.parametrize(("cr4", "shown"), [(0, 0), (1 << 18, OSXSAVE)])
def test_cpuid_tells_of_the_guests_own_cr4(cr4: int, shown: int) -> None:
    for here in (1, OSXSAVE | 1):
        processor = Processor(x1=(0xA20F10, 0x800, here, 0x0F8B_FBFF))
        assert processor.cpuid(1, cr4=cr4) == (0xA20F10, 0x800, 1 | shown, 0x0F8B_FBFF)


@pytest.mark.parametrize(("cr4", "shown"), [(0, 0), (1 << 22, OSPKE)])
def test_so_it_does_of_protection_keys(cr4: int, shown: int) -> None:
    for here in (8, OSPKE | 8):
        processor = Processor(x7=(1, 2, here, 4))
        assert processor.cpuid(7, cr4=cr4) == (1, 2, 8 | shown, 4)
        assert processor.cpuid(7, 1, cr4=cr4) == (1, 2, here, 4), "another leaf"


def test_cpuid_shows_no_svm_and_no_encryption() -> None:
    assert changed(FEATURES) == (0, 0, 1 << 2 | 1 << 12, 0)
    for leaf in (0x8000_000A, 0x8000_001F):
        assert changed(leaf) == (ALL, ALL, ALL, ALL)


def test_cpuid_shows_no_instruction_that_a_vmcb_or_efer_forbids() -> None:
    assert changed(0x8000_0008) == (0, 1 << 3 | 1 << 8 | 1 << 13, 0, 0)
    assert changed(EXTENDED_2) == (1 << 7, 0, 0, 0)


def test_no_host_tells_of_itself() -> None:
    """KVM's clock is an MSR that isn't there: Linux divided by zero."""
    for leaf in (0x4000_0000, 0x4000_0001, 0x4000_0100, 0x4000_FFFF):
        assert changed(leaf) == (ALL, ALL, ALL, ALL)
    assert changed(0x3FFF_FFFF) == changed(0x4001_0000) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("code", "attributes", "length"),
    [
        ("0f a2", LONG, 2), ("66 0f a2", LONG, 3), ("48 0f a2", LONG, 3),
        ("f3 2e 67 0f a2", LONG, 5), ("48 0f a2", 0xC9B, 2), ("66 67 0f a2", 0x9B, 4),
        (13 * "66 " + "0f a2", LONG, 15), ("90 0f a2", LONG, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [CODE, 0x1FFE, 0x1FFF])
def test_it_goes_on_behind_all_prefixes(code: str, attributes: int, length: int, at: int) -> None:
    """Where it is another instruction by now, that is no matter."""
    ram = Ram()
    ram.bytes[at : at + 16] = bytes.fromhex(code).ljust(16, b"\x90")
    shell, vmcb = exit_of()
    shell.memory = Memory.from_buffer_copy(ram.memory)
    vmcb.instruction, vmcb.cs.attributes, vmcb.cr0 = at, attributes, 1
    with running_on(Processor()):
        answer_cpuid(shell, vmcb)
    assert vmcb.instruction == at + length


def test_a_processor_that_tells_the_next_instruction_is_believed() -> None:
    shell, vmcb = exit_of()
    vmcb.next_instruction = 0x1007
    with running_on(Processor()):
        answer_cpuid(shell, vmcb)
    assert vmcb.instruction == 0x1007


def test_efer_is_read_without_svm() -> None:
    shell, vmcb = exit_of(rcx=EFER)
    answer_msr(shell, vmcb)
    assert (vmcb.rax, shell.guest.number[2], vmcb.instruction) == (0xD00, 0, 0x1002)


def test_efer_keeps_lma_which_the_processor_sets() -> None:
    processor = Processor()
    assert processor.write_efer(LONG_MODE) == LONG_MODE
    active = LONG_MODE | LONG_MODE_ACTIVE
    assert processor.write_efer(LONG_MODE, active, PAGING) == active
    assert processor.write_efer(active) == LONG_MODE


def test_lme_stays_while_the_guest_pages() -> None:
    processor, active = Processor(), LONG_MODE | LONG_MODE_ACTIVE
    assert processor.write_efer(LONG_MODE_ACTIVE | 1, active, PAGING) is None
    assert processor.write_efer(LONG_MODE, 0, PAGING) is None
    assert processor.write_efer(1, 0, PAGING) == 1


@pytest.mark.parametrize(
    ("bit", "leaf", "answer"),
    [
        (TCE, FEATURES, (0, 0, 1 << 17, 0)),
        (NO_EXECUTE, FEATURES, (0, 0, 0, 1 << 20)),
        (FAST_FXSAVE, FEATURES, (0, 0, 0, 1 << 25)),
        (AUTOMATIC_IBRS, EXTENDED_2, (1 << 8, 0, 0, 0)),
    ],
)
def test_efer_takes_a_bit_where_the_processor_has_it(
    bit: int, leaf: int, answer: tuple[int, int, int, int]
) -> None:
    assert Processor(**{f"x{leaf:x}": answer}).write_efer(bit) == bit
    assert Processor().write_efer(bit) is None


def test_other_bits_of_efer_are_not_there() -> None:
    processor = Processor(x80000001=(ALL, ALL, ALL, ALL), x80000021=(ALL, ALL, ALL, ALL))
    taken = [bit for bit in range(64) if processor.write_efer(1 << bit) is not None]
    assert taken == [0, 8, 10, 11, 14, 15, 21]


def test_vm_cr_is_locked_and_other_msrs_are_not_there() -> None:
    shell, vmcb = exit_of(rcx=VM_CR)
    answer_msr(shell, vmcb)
    assert (vmcb.rax, shell.events.exception) == (0x18, 0)
    for number, writes in ((VM_CR, 1), (0xC001_0117, 0), (0xC001_0117, 1), (0x4B56_4D01, 1)):
        shell, vmcb = exit_of(rax=SVM_ENABLED, rcx=number)
        vmcb.information[0] = writes
        answer_msr(shell, vmcb)
        assert (shell.events.exception, vmcb.instruction) == (GENERAL_PROTECTION, 0x1000)
