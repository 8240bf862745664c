"""The guest that the firmware becomes: what its VMCB holds, by the offsets of the manual.

AMD64 APM volume 2, appendix B. RIP, RSP, RAX and RFLAGS are filled in where the processor changes
sides: runtime/efi.s, which CPython can't execute.
"""

import ctypes
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import compiling
from tests.efiemu.firmware import Firmware
from tests.efiemu.memory import physical
from vestige.efiemu.shell import block
from vestige.efiemu.shell.state import ProcessorState, Shell, World
from vestige.efiemu.shell.takeover import enable_svm, fill_segment, take
from vestige.efiemu.shell.uefi import LoadedImage
from vestige.efiemu.shell.vmcb import Segment, Vmcb
from vestige.lang.intrinsics import CheckFailed, running_on
from vestige.lang.vcpu import STACK_SIZE

EFER, APIC_BASE, PAT, HOST_SAVE_AREA = 0xC000_0080, 0x1B, 0x277, 0xC001_0117
LONG_MODE, SVM = 0xD01, 1 << 12
CODE, DATA = 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF
SMALL = 0x1240_9334_5678_9ABC  # base 0x1234_5678, limit 0x0_9ABC in bytes, 32-bit data
GUEST_ROOT, HOST_ROOT = 0x11_0000, 0x22_0000
# Bits of offsets 0x0C and 0x10: NMI, SMI, CPUID, INVLPGA, IOIO, MSR, shutdown; all of SVM's
# instructions but VMMCALL, which is none of a guest that has no host to call.
INTERCEPTS = 1 << 1 | 1 << 2 | 1 << 18 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 31
INSTRUCTIONS = 0b111_1101


class Machine(Firmware):
    """A processor that is asked for its state, and taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.gdt = (ctypes.c_uint64 * 8)(0, 0, 0, SMALL, 0, 0, DATA, CODE)
        pat = 0x0007_0406_0007_0406
        self.msrs.update({EFER: LONG_MODE, APIC_BASE: 0xFEE0_0900, PAT: pat, HOST_SAVE_AREA: 0})
        self.worlds: list[World] = []

    def read_state(self, place: int) -> None:
        now = ProcessorState.at(place)
        now.gdt, now.gdt_limit = ctypes.addressof(self.gdt), 63
        now.idt, now.idt_limit = 0x7F00_1000, 0xFFF
        now.es, now.cs, now.ss, now.ds = 0x18, 0x38, 0x30, 3
        now.cr0, now.cr2, now.cr3, now.cr4 = 0x8001_0033, 0xBAD_0000, 0x7FC0_1000, 0x668
        now.dr6, now.dr7 = 0xFFFF_0FF0, 0x400

    def take_over(self, world: int) -> None:
        self.worlds.append(World.from_buffer_copy(World.at(world)))


@contextmanager
def taken(size: int = 0x5000) -> Iterator[tuple[Machine, Shell, bytes]]:
    """A machine that has been taken over, the shell's own memory, and the application's image."""
    firmware, data = Machine(), random.Random(3).randbytes(size)
    memory = ctypes.create_string_buffer(size + STACK_SIZE)
    base = ctypes.addressof(memory) // 4096 * 4096 + 4096
    ctypes.memmove(base, data, size)
    with physical(block.SIZE) as place, running_on(firmware):
        shell = Shell(block=place, processors=1, guest_root=GUEST_ROOT, host_root=HOST_ROOT)
        shell.constants = base + 0x1230
        enable_svm(shell)
        take(shell, LoadedImage(base=base, size=size))
        yield firmware, shell, data


def test_the_guest_is_the_processor_as_it_is() -> None:
    with taken() as (firmware, shell, _):
        place = shell.block
        fields = {
            0x00C: ("I", INTERCEPTS), 0x010: ("I", INSTRUCTIONS),
            0x040: ("Q", place + block.PORTS), 0x048: ("Q", place + block.MSRS),
            0x058: ("I", 1), 0x090: ("Q", 1), 0x0B0: ("Q", GUEST_ROOT),
            0x400: ("HHIQ", 0x18, 0x493, 0x9ABC, 0x1234_5678),
            0x410: ("HHIQ", 0x38, 0xA9B, 0xFFFF_FFFF, 0),
            0x420: ("HHIQ", 0x30, 0xC93, 0xFFFF_FFFF, 0),
            0x430: ("HHIQ", 3, 0, 0, 0),
            0x460: ("HHIQ", 0, 0, 63, ctypes.addressof(firmware.gdt)),
            0x480: ("HHIQ", 0, 0, 0xFFF, 0x7F00_1000),
            0x4D0: ("Q", LONG_MODE | SVM), 0x548: ("Q", 0x668), 0x550: ("Q", 0x7FC0_1000),
            0x558: ("Q", 0x8001_0033), 0x560: ("Q", 0x400), 0x568: ("Q", 0xFFFF_0FF0),
            0x640: ("Q", 0xBAD_0000), 0x668: ("Q", 0x0007_0406_0007_0406),
        }  # fmt: skip
        wanted = bytearray(4096)
        for offset, (kind, *values) in fields.items():
            struct.pack_into(f"<{kind}", wanted, offset, *values)
        assert ctypes.string_at(shell.vmcb, 4096) == bytes(wanted), "and all else is 0"


@pytest.mark.parametrize(
    ("field", "offset"),
    [
        *(("exit", 0x70), ("information", 0x78), ("interrupted", 0x88), ("injected", 0xA8)),
        *(("interrupt_control", 0x60), ("shadow", 0x68), ("flush", 0x5C), ("exceptions", 0x08)),
        *(("bytes", 0xD1), ("privilege", 0x4CB), ("flags", 0x570), ("instruction", 0x578)),
        *(
            ("stack", 0x5D8),
            ("rax", 0x5F8),
            ("fs", 0x440),
            ("tr", 0x490),
            ("next_instruction", 0xC8),
        ),
    ],
)
def test_what_the_shell_reads_and_sets_later_is_where_the_manual_has_it(
    field: str, offset: int
) -> None:
    assert getattr(Vmcb, field).offset == offset


def test_the_processor_has_svm_and_a_page_for_the_hosts_registers() -> None:
    with taken() as (firmware, shell, _):
        own = shell.block + block.PROCESSORS
        assert firmware.msrs[EFER] == LONG_MODE | SVM
        assert firmware.msrs[HOST_SAVE_AREA] == own + 0x1_F000
        assert shell.vmcb == own + 0x1_E000
        assert shell.apic == 0xFEE0_0000


def test_the_host_goes_on_in_a_copy_of_the_application() -> None:
    with taken() as (firmware, shell, data):
        (world,) = firmware.worlds
        first = shell.constants - 0x1230
        assert ctypes.string_at(first, len(data)) == data
        assert shell.block <= first < shell.block + STACK_SIZE
        assert (world.vmcb, world.cr3) == (shell.vmcb, HOST_ROOT)
        own = shell.block + block.PROCESSORS + block.SHELL
        assert (world.state, world.stack) == (own, own), "the stack ends where the state begins"
        assert ctypes.string_at(own, ctypes.sizeof(Shell)) == bytes(shell)
        descriptors = (shell.block + block.DESCRIPTORS, 23)
        assert (world.gdt, world.gdt_limit) == descriptors
        assert ctypes.string_at(world.gdt, 24) == struct.pack("<3Q", 0, CODE, DATA)
        assert (world.idt, world.idt_limit) == (shell.block + block.GATES, 0xFFF)


def test_an_application_that_is_larger_than_its_place_is_a_failed_check() -> None:
    with pytest.raises(CheckFailed), taken(block.IMAGE_SIZE):
        pass


def test_segments_compiled_and_by_their_fields() -> None:
    compiled = compiling.native([fill_segment])
    chance = random.Random(1)
    for _ in range(200):
        table = (ctypes.c_uint64 * 4)(*(chance.getrandbits(64) for _ in range(4)))
        selector = chance.randrange(32)
        own, native = Segment(), Segment()
        fill_segment(own, selector, ctypes.addressof(table))
        compiled["fill_segment"](native, selector, ctypes.addressof(table))
        assert bytes(own) == bytes(native)
        low, base, middle, type_, limit_and_flags, high = struct.unpack(
            "<HHBBBB", struct.pack("<Q", table[selector >> 3])
        )
        if selector < 4:
            assert bytes(own) == struct.pack("<HHIQ", selector, 0, 0, 0)
            continue
        limit = low | (limit_and_flags & 0xF) << 16
        if limit_and_flags & 0x80:
            limit = limit * 4096 + 4095
        assert (own.selector, own.limit) == (selector, limit)
        assert own.base == base | middle << 16 | high << 24
        assert own.attributes == type_ | (limit_and_flags >> 4) << 8
