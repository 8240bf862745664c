"""The shell in CPython: what it refuses, what it takes, and how its guest's exits are answered."""

import random
from collections.abc import Iterator

import pytest

from tests.devices.fuzzing import Limit
from tests.efiemu.firmware import INTEL, NVME_CLASS, Firmware
from tests.efiemu.fuzz_start import fuzz
from tests.efiemu.memory import physical
from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.memory import RANGES
from vestige.efiemu.shell.processor import VM_CR
from vestige.efiemu.shell.state import LONGEST

NVME, OLD_IDE = (0, 3, 0), (0, 1, 1)
FREE = 7  # EFI_MEMORY_TYPE


def machine(
    options: str = "", *, controllers: tuple[tuple[int, int, int], ...] = (NVME,)
) -> Firmware:
    firmware = Firmware(options)
    firmware.add((0, 0, 0), 0x06000000, msix=False)
    for place in controllers:
        firmware.add(place, NVME_CLASS)
    return firmware


def refused(firmware: Firmware) -> str:
    assert firmware.start() == uefi.UNSUPPORTED
    (line,) = firmware.lines
    assert firmware.is_untouched(), line
    assert line.startswith("efiemu: ")
    return line.removeprefix("efiemu: ")


def wanted(firmware: Firmware) -> str:
    """The controller of a machine that only lacks the memory to be taken over."""
    assert refused(firmware) == "there are no 9 MiB of memory free, or no 8 KiB below 1 MiB"
    function = firmware.shell.controller
    return f"{function >> 8:02x}:{function >> 3 & 31:02x}.{function & 7}"


@pytest.mark.parametrize(
    ("leaf", "answer", "line"),
    [
        (0x8000_0000, (0x8000_0008, 0, 0, 0), "the processor shows no SVM"),
        (0x8000_0001, (0, 0, 0, 0), "the processor shows no SVM"),
        (0x8000_000A, (1, 16, 0, 0), "the processor has SVM without nested paging"),
        (0x8000_0001, (0, 0, 1 << 2, ~(1 << 26) & 0xFFFF_FFFF), "the processor shows no pages of"),
    ],
)
def test_a_processor_without_it_is_refused(
    leaf: int, answer: tuple[int, int, int, int], line: str
) -> None:
    firmware = machine()
    firmware.leaves[leaf] = answer
    assert refused(firmware).startswith(line)


def test_an_intel_processor_is_refused_by_name() -> None:
    firmware = machine()
    firmware.vendor = INTEL
    assert (
        refused(firmware)
        == "this is no AMD processor, and there is no VMX in efiemu; it needs AMD's SVM"
    )


def test_hygon_is_amd() -> None:
    firmware = machine()
    firmware.vendor = b"HygonGenuine"
    assert wanted(firmware)


def test_svm_that_is_switched_off_is_told() -> None:
    firmware = machine()
    firmware.msrs[VM_CR] = 1 << 4
    assert refused(firmware).startswith("SVM is switched off (VM_CR.SVMDIS)")


@pytest.mark.parametrize(
    ("feature", "number", "value"), [(1 << 1, 0xC001_0131, 1), (1, 0xC001_0010, 1 << 23)]
)
def test_encrypted_memory_is_refused(feature: int, number: int, value: int) -> None:
    firmware = machine()
    firmware.leaves[0x8000_001F] = (feature, 0, 0, 0)
    assert wanted(firmware), "it could be, and is not"
    firmware = machine()
    firmware.leaves[0x8000_001F] = (feature, 0, 0, 0)
    firmware.msrs[number] = value
    assert refused(firmware).startswith("memory is encrypted")
    firmware = machine()
    firmware.leaves.update({0x8000_001F: (feature, 0, 0, 0), 0x8000_0001: (0, 0, 0, 1 << 26)})
    firmware.msrs[number] = value
    assert refused(firmware).startswith("memory is encrypted"), "and such a guest is shown no SVM"


@pytest.mark.parametrize("signature", [b"IVRS", b"DMAR"])
def test_an_iommu_is_refused(signature: bytes) -> None:
    firmware = machine()
    firmware.add_acpi([b"FACP", signature])
    assert refused(firmware).startswith("there is an IOMMU")


def test_other_tables_are_no_iommu() -> None:
    firmware = machine()
    firmware.add_acpi([b"FACP", b"APIC", b"MCFG"])
    assert wanted(firmware)


def test_without_a_controller_there_is_nothing_to_take() -> None:
    assert refused(machine(controllers=())) == "there is no NVMe controller"


def test_several_controllers_want_a_name() -> None:
    both = ((0, 3, 0), (2, 0, 0))
    several = "there are several NVMe controllers; name one, as in nvme=02:00.0"
    there = "; those there are: 00:03.0 02:00.0"
    assert refused(machine(controllers=both)) == several + there
    assert wanted(machine("efiemu.efi nvme=02:00.0", controllers=both)) == "02:00.0"
    assert wanted(machine("x  nvme=00:03.0 ", controllers=both)) == "00:03.0"
    assert wanted(machine("nvme=00:03.0", controllers=both)) == "00:03.0", "as GRUB gives it"
    line = "there is no NVMe controller at 00:04.0"
    assert refused(machine("x nvme=00:04.0", controllers=both)) == line + there


def test_a_controller_is_named_as_lspci_does_with_the_segment_too() -> None:
    both = ((0, 3, 0), (2, 0, 0))
    assert wanted(machine("x nvme=0000:02:00.0", controllers=both)) == "02:00.0"
    assert wanted(machine("nvme=0000:00:03.0", controllers=both)) == "00:03.0"


def test_a_later_function_is_found() -> None:
    assert wanted(machine(controllers=((0, 0, 7),))) == "00:00.7"


def test_a_controller_without_msix_is_refused() -> None:
    firmware = machine(controllers=())
    firmware.add(NVME, NVME_CLASS, msix=False)
    assert refused(firmware) == "the NVMe controller has no MSI-X"


@pytest.mark.parametrize(
    ("table", "pending", "alone"),
    [
        (0x2000, 0x3000, True),
        (0x1FF8, 0x3000, False),
        (0x2000, 0x1FF8, False),
        (0x0004, 0x0804, True),
    ],
)
def test_a_table_of_interrupts_among_the_registers_is_refused(
    table: int, pending: int, alone: bool
) -> None:
    firmware = machine()
    space = firmware.functions[NVME]
    space[0x54:0x5C] = table.to_bytes(4, "little") + pending.to_bytes(4, "little")
    space[0x20:0x28] = (0x9000_0000 | 4).to_bytes(8, "little")
    if alone:
        assert wanted(firmware)
    else:
        shared = "the NVMe controller has its MSI-X table in a page with its registers"
        assert refused(firmware) == shared


@pytest.fixture
def roomy() -> Iterator[Firmware]:
    """A machine that lacks nothing."""
    firmware = machine()
    firmware.add((0, 1, 0), 0x0601_0000)
    firmware.add(OLD_IDE, 0x0101_8000)
    firmware.memory = [(FREE, 0x10_0000, 1 << 16)]
    with physical(block.SIZE + 2 * block.ALIGNMENT) as place:
        firmware.room = place + 4096
        yield firmware


@pytest.mark.parametrize("memory", [[], [(FREE, 2 * n << 12, 1) for n in range(2 * RANGES)]])
def test_a_firmware_that_tells_of_no_memory_gets_back_what_it_gave(
    roomy: Firmware, memory: list[tuple[int, int, int]]
) -> None:
    roomy.memory = memory
    assert refused(roomy) == "the firmware tells of no memory, or of too many pieces"
    assert len(roomy.given) == 2


@pytest.mark.parametrize("keeper", [NVME, OLD_IDE])
def test_drivers_are_on_their_devices_again_where_one_keeps_its_own(
    roomy: Firmware, keeper: tuple[int, int, int]
) -> None:
    handles = [roomy.handle_of(NVME), roomy.handle_of(OLD_IDE)]
    roomy.kept = {roomy.handle_of(keeper)}
    line = "a driver of the firmware keeps the NVMe controller, or the chip set's IDE"
    assert refused(roomy) == line
    assert roomy.disconnected == roomy.connected == handles


@pytest.mark.parametrize(
    ("bar", "taken"),
    [(1 << 40, True), (0x3800_0000_0000, True), ((1 << 47) - (1 << 30), False), (0, False)],
)
def test_a_controllers_registers_may_be_far_up(bar: int, taken: bool) -> None:
    firmware = machine()
    firmware.functions[NVME][0x10:0x18] = (bar | 4).to_bytes(8, "little")
    if taken:
        assert wanted(firmware)
    else:
        assert refused(firmware) == "the NVMe controller has no address below 128 TiB"


@pytest.mark.parametrize(
    "place",
    [
        *("", "00:03", "00:20.0", "00:03.8", "0:3.0", "00:03.0x", "00-03.0", "g0:03.0", "0:03.0.1"),
        *("0001:00:03.0", "0000-00:03.0", "000:00:03.0", "00000:00:03.0", "0000:0000:00:03.0"),
    ],
)
@pytest.mark.parametrize("before", ["", "x ", "efiemu.efi  "])
def test_a_controllers_place_is_read_as_lspci_writes_it(before: str, place: str) -> None:
    line = "nvme= takes BUS:DEVICE.FUNCTION in hexadecimal digits, as in nvme=01:00.0, not nvme="
    assert refused(machine(f"{before}nvme={place} boot=x")) == line + place


@pytest.mark.parametrize(
    ("options", "word"),
    [
        *(("x nvme", "nvme"), ("x NVME=00:03.0 boot=x", "NVME=00:03.0"), ("x y", "y"), (" x", "x")),
        *(("x \xe9\x1b[2J", "??[2J"), ("nvme=00:03.0 boot", "boot"), (f"x {999 * 'y'}", 999 * "y")),
    ],
)
def test_an_unknown_load_option_is_told(options: str, word: str) -> None:
    line = f"a load option is nvme=BUS:DEVICE.FUNCTION or boot=FILE, not {word}"
    assert refused(machine(options)) == line[: LONGEST - len("efiemu: ")]


@pytest.mark.parametrize("before", ["", "x "])
def test_one_controller_is_named_once(before: str) -> None:
    line = "nvme= is given twice; name one controller, not also nvme=00:04.0"
    assert refused(machine(f"{before}nvme=00:03.0 nvme=00:04.0")) == line


@pytest.mark.parametrize("options", ["boot=", "x boot= a", "nvme=00:03.0 boot= ", "x boot=\0"])
def test_a_file_to_boot_has_a_name(options: str) -> None:
    line = "boot= takes a file of the disk, as in boot=/EFI/debian/grubx64.efi"
    assert refused(machine(options)) == line


def test_a_machine_that_is_taken_over_already_says_so() -> None:
    firmware = machine()
    firmware.leaves[0x8000_0001] = (0, 0, 0, 0)  # a guest is shown no SVM
    firmware.add_acpi([b"FACP", b"VSTG"])
    assert refused(firmware).startswith("this machine is taken over already (ACPI has the table")


@pytest.mark.parametrize(
    "options", ["", "efiemu.efi", "efiemu.efi ", "\u4e00\x07\x01", "x\0 y", "nvme", "x" * 2000]
)
def test_a_name_and_what_ends_it_are_no_options(options: str) -> None:
    assert wanted(machine(options))


def test_machines_whose_firmware_tells_anything() -> None:
    assert fuzz(Limit(150), random.Random(14)) == (150, None)
