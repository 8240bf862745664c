"""The last words on the firmware's console: whether it can be asked, and how it is called."""

import ctypes
from collections.abc import Callable

import pytest

from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.ending import calls_firmware, has_ended
from vestige.efiemu.shell.instruction import RCX, RDX
from vestige.efiemu.shell.state import LONGEST, Shell
from vestige.efiemu.shell.vmcb import Exit, Vmcb
from vestige.lang.intrinsics import load64

FUNCTION, AT = 0x7777_0000, 0x1234
GENERAL_PROTECTION = 13
LONG_MODE, LONG_CODE = 1 << 10, 1 << 9


class Called:
    """A firmware at an access of its own, in memory of this process."""

    def __init__(self, text: str, left: int = Exit.PORT) -> None:
        self.memory = (ctypes.c_uint8 * 0x2000)()
        self.decoy = (ctypes.c_uint8 * 4096)()
        self.protocol = (ctypes.c_uint64 * 4)()
        self.protocol[uefi.OUTPUT_STRING // 8] = FUNCTION
        self.shell = Shell(output=ctypes.addressof(self.protocol), length=len(text))
        self.shell.block = ctypes.addressof(self.decoy) - block.DECOY
        self.shell.state.cr3, self.shell.state.idt = 0x5000, 0x6000
        for number, letter in enumerate(text):
            self.shell.line[number] = ord(letter)
        self.top = ctypes.addressof(self.memory) + 0x1FF8
        self.vmcb = Vmcb(exit=left, cr3=0x5000, efer=LONG_MODE, stack=self.top, flags=0x602)
        self.vmcb.idtr.base, self.vmcb.cs.attributes = 0x6000, LONG_CODE
        self.vmcb.instruction = AT + 2

    def shown(self) -> str:
        """The text that it is given."""
        text = bytes(self.decoy).decode("utf-16-le")
        return text.partition("\0")[0]


@pytest.mark.parametrize("left", [Exit.PORT, Exit.MEMORY])
@pytest.mark.parametrize("text", ["efiemu: PANIC", "", LONGEST * "x"])
def test_it_is_called_and_can_not_go_back(text: str, left: int) -> None:
    called = Called(text, left)
    assert calls_firmware(called.shell, called.vmcb)
    assert called.shown() == f"{text}\r\n"
    assert called.vmcb.instruction == FUNCTION
    assert called.vmcb.flags == 0x202, "forwards, interrupts on"
    registers = called.shell.guest.number
    assert (registers[RCX], registers[RDX]) == (called.shell.output, called.shell.block)
    stack = called.vmcb.stack
    assert stack % 16 == 8, "as behind a call"
    assert stack + 40 <= called.top - 128
    assert load64(stack) >> 47 not in (0, (1 << 17) - 1), "no address of 48 bits"
    assert called.vmcb.exceptions == 1 << GENERAL_PROTECTION


@pytest.mark.parametrize(
    ("left", "ends"),
    [(0x40 + GENERAL_PROTECTION, True), (Exit.SHUTDOWN, True), (Exit.PORT, False),
     (Exit.MEMORY, False), (Exit.NMI, False), (Exit.CPUID, False)],
)  # fmt: skip
def test_it_ends_where_it_comes_back(left: int, ends: bool) -> None:
    assert has_ended(Vmcb(exit=left)) == ends


def set_field(name: str, value: int) -> Callable[[Vmcb], None]:
    return lambda vmcb: setattr(vmcb, name, value)


def move_gates(vmcb: Vmcb) -> None:
    vmcb.idtr.base = 0x7000


def leave_long_mode(vmcb: Vmcb) -> None:
    vmcb.cs.attributes = 0


@pytest.mark.parametrize(
    "change",
    [
        *(set_field("cr3", 0x9000), set_field("privilege", 3), set_field("efer", 0)),
        *(set_field("exit", Exit.NMI), set_field("exit", Exit.WINDOW)),
        *(set_field("flags", 0x402), move_gates, leave_long_mode),
    ],
)
def test_another_guest_is_left_alone(change: Callable[[Vmcb], None]) -> None:
    called = Called("x")
    change(called.vmcb)
    before = bytes(called.vmcb)
    assert not calls_firmware(called.shell, called.vmcb)
    assert bytes(called.vmcb) == before
    assert bytes(called.decoy) == bytes(4096)
