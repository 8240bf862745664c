"""Configuration space in memory: whose pages exit, and what instructions on them do."""

import struct
from collections.abc import Iterator

import pytest

from tests.efiemu.firmware import Firmware
from tests.efiemu.memory import physical, translate
from tests.efiemu.walks import Ram
from vestige.efiemu.shell import accesses, block, ecam, ide
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.fault import Vector
from vestige.efiemu.shell.instruction import RBX, RCX, RDI, RSI
from vestige.efiemu.shell.mapped import answer_memory, map_high
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import SystemTable
from vestige.efiemu.shell.vmcb import Segment, Vmcb

PLACE = 0xB000_0000
NVME, OLD = 0x18, 0xF9  # 00:03.0 and 00:1f.1
CODE, DATA, CODE_32 = 0x1000, 0x2000, 0xC9B
NVME_PAGE, OLD_PAGE = PLACE + (NVME << 12), PLACE + (OLD << 12)


class Ide:
    """Configuration space of 256 bytes, which keeps what is written."""

    def __init__(self) -> None:
        self.space = bytearray(range(256))
        self.moved = 0

    def read(self, _shell: Shell, offset: int, size: int) -> int:
        return int.from_bytes(self.space[offset : offset + size], "little")

    def write(self, _shell: Shell, offset: int, size: int, value: int) -> None:
        self.space[offset : offset + size] = value.to_bytes(size, "little")

    def find_bus_master(self, _shell: Shell) -> None:
        self.moved += 1


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Ide:
    made = Ide()
    monkeypatch.setattr(accesses, "read_ide_config", made.read)
    monkeypatch.setattr(accesses, "write_ide_config", made.write)
    monkeypatch.setattr(ide, "find_bus_master", made.find_bus_master)
    return made


class Guest:
    """In 32-bit mode without paging, at an instruction that has exited."""

    def __init__(self, code: str, **registers: int) -> None:
        self.ram = Ram()
        shell = Shell(controller=NVME, second=NOWHERE, old_ide=OLD, ecam=PLACE, last_bus=255)
        shell.memory = Memory.from_buffer_copy(self.ram.memory)
        self.shell = shell
        self.vmcb = Vmcb(cr0=1, flags=2, instruction=CODE)
        for name, attributes in (("cs", CODE_32), ("ds", 0xC93), ("es", 0xC93), ("ss", 0xC93)):
            setattr(self.vmcb, name, Segment(attributes=attributes, limit=0xFFFF_FFFF))
        data = bytes.fromhex(code)
        self.end = CODE + len(data)
        self.ram.bytes[CODE : self.end] = data
        for name, number in (("ebx", RBX), ("ecx", RCX), ("esi", RSI), ("edi", RDI)):
            shell.guest.number[number] = registers.get(name, 0)
        self.vmcb.rax = registers.get("eax", 0)

    def go(self) -> None:
        """Until the instruction is over, as the guest would come back."""
        while self.vmcb.instruction == CODE and not self.shell.failed:
            answer_memory(self.shell, self.vmcb)
            assert self.shell.events.decide(self.vmcb)
            if self.vmcb.injected:
                return

    def line(self) -> str:
        return "".join(chr(self.shell.line[at]) for at in range(self.shell.length))


def test_loads_find_the_ide_where_the_nvme_was(function: Ide) -> None:
    guest = Guest("8b 47 08", edi=NVME_PAGE)
    guest.go()
    assert (guest.vmcb.rax, guest.vmcb.instruction) == (0x0B0A_0908, guest.end)
    guest = Guest("0f b6 5f 0e", edi=NVME_PAGE)
    guest.go()
    assert guest.shell.guest.number[RBX] == 0x0E


def test_stores_reach_it_and_may_move_its_bus_master(function: Ide) -> None:
    guest = Guest("66 c7 47 3c 0b 00", edi=NVME_PAGE)
    guest.go()
    assert (function.read(guest.shell, 0x3C, 2), function.moved) == (0x000B, 0)
    guest = Guest("83 4f 04 05", edi=NVME_PAGE)  # or dword ptr [edi + 4], 5
    guest.go()
    assert (function.space[4], function.moved) == (4 | 5, 1)
    Guest("89 47 20", edi=NVME_PAGE, eax=0xC001).go()
    assert (function.read(guest.shell, 0x20, 4), function.moved) == (0xC001, 2)


@pytest.mark.parametrize(
    ("address", "size", "value"),
    [
        (NVME_PAGE + 0x100, 4, 0xFFFF_FFFF), (NVME_PAGE + 0xFFC, 4, 0xFFFF_FFFF),
        (NVME_PAGE + 0x03, 2, 0xFFFF), (OLD_PAGE, 4, 0xFFFF_FFFF), (OLD_PAGE + 9, 1, 0xFF),
        (NVME_PAGE + 0xF8, 8, 0xFFFE_FDFC_FBFA_F9F8),
    ],
)  # fmt: skip
def test_where_nobody_is_there_are_ones(function: Ide, address: int, size: int, value: int) -> None:
    shell = Guest("90").shell
    before = bytes(function.space)
    assert ecam.read(shell, address, size) == value
    ecam.write(shell, address, size, value)
    assert bytes(function.space) == before


def test_a_copy_to_ram_is_made_to_its_end(function: Ide) -> None:
    guest = Guest("f3 a5", esi=NVME_PAGE, edi=DATA, ecx=64)
    guest.go()
    assert guest.ram.bytes[DATA : DATA + 256] == bytes(range(256))
    assert guest.vmcb.instruction == guest.end


def test_a_fault_of_the_instruction_is_the_guests(function: Ide) -> None:
    guest = Guest("8b 47 08", edi=NVME_PAGE)
    guest.vmcb.ds.limit = 0xFFFF
    guest.go()
    assert guest.vmcb.injected == 0x8000_0B00 | Vector.GENERAL_PROTECTION
    assert guest.vmcb.instruction == CODE


def test_another_address_ends_the_machine_with_a_line(function: Ide) -> None:
    guest = Guest("8b 47 08", edi=NVME_PAGE + 0x1000)
    guest.go()
    assert guest.shell.failed
    assert guest.line() == (
        "efiemu: PANIC: the guest's instruction can't be done that is at 0000000000001000, address"
        " 00000000b0019008, bytes 8b 47 08" + " 00" * 12
    )
    guest = Guest("f3 a5", esi=NVME_PAGE, edi=0xFEE0_0300, ecx=1)
    guest.go()
    assert guest.shell.failed
    assert "address 00000000fee00300" in guest.line()


def test_an_unknown_instruction_ends_it_too(function: Ide) -> None:
    guest = Guest("0f 10 07", edi=NVME_PAGE)
    guest.go()
    assert "address 0000000000001000, bytes 0f 10 07" in guest.line()


@pytest.fixture
def place() -> Iterator[int]:
    with physical(block.SIZE) as place:
        yield place


@pytest.mark.parametrize(
    ("old", "last_bus", "exits"),
    [(OLD, 255, {NVME_PAGE, OLD_PAGE}), (NOWHERE, 255, {NVME_PAGE}), (0x200, 1, {NVME_PAGE})],
)
def test_their_pages_are_not_in_the_guests_memory(
    place: int, old: int, last_bus: int, exits: set[int]
) -> None:
    shell = Shell(block=place, controller=NVME, second=NOWHERE, old_ide=old, ecam=PLACE)
    shell.last_bus = last_bus
    block.map_all(shell)
    ecam.take_pages(shell)
    for page in range(PLACE, PLACE + (1 << 22), 0x1000):
        assert (translate(shell.guest_root, page) is None) == (page in exits)
        assert ecam.is_taken(shell, page + 0xFFF) == (page in exits)


def test_without_it_nothing_is_taken(place: int) -> None:
    shell = Shell(block=place, controller=NVME, second=NOWHERE, old_ide=OLD)
    block.map_all(shell)
    ecam.take_pages(shell)
    assert translate(shell.guest_root, NVME << 12) is not None
    assert not ecam.is_taken(shell, NVME << 12)


def test_what_is_high_up_is_mapped_when_it_is_touched(place: int) -> None:
    guest = Guest("8b 07")
    shell = guest.shell
    shell.block = place
    block.map_all(shell)
    for address in (block.EVERYTHING, (1 << 47) + 0x1234_5678, (1 << 48) - 1):
        assert translate(shell.guest_root, address) is None
        guest.vmcb.information[1] = address
        answer_memory(shell, guest.vmcb)
        assert translate(shell.guest_root, address) == (address, block.GUEST)
        assert guest.vmcb.instruction == CODE
    assert not map_high(shell, 1 << 48)
    assert not map_high(shell, block.EVERYTHING - 1)
    tables = block.common(shell).tables
    tables.next = tables.end
    assert not map_high(shell, 1 << 46), "there is no room for more tables"


def test_acpi_tells_where_it_is() -> None:
    firmware, shell = Firmware(), Shell()
    rows = struct.pack("<QHBBI", 0x8000_0000, 1, 0, 255, 0)
    rows += struct.pack("<QHBBI", PLACE, 0, 0, 63, 0)
    firmware.add_acpi([b"FACP", b"MCFG" + struct.pack("<I", 44 + len(rows)) + bytes(36) + rows])
    ecam.find_ecam(shell, SystemTable.at(firmware.system))
    assert (shell.ecam, shell.first_bus, shell.last_bus) == (PLACE, 0, 63)
    assert ecam.page_of(shell, NVME) == NVME_PAGE
    assert ecam.page_of(shell, 64 << 8) == 0


def test_a_machine_may_have_none() -> None:
    firmware, shell = Firmware(), Shell(ecam=1)
    firmware.add_acpi([b"FACP"])
    ecam.find_ecam(shell, SystemTable.at(firmware.system))
    assert shell.ecam == 0
