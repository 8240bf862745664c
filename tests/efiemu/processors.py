"""A machine of several processors that is taken over, as the shell of one of them sees it."""

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.efiemu.firmware import LOW, Firmware
from tests.efiemu.memory import at, physical
from vestige import abi
from vestige.efiemu.shell import block
from vestige.efiemu.shell.common import CPUS, Startup
from vestige.efiemu.shell.others import fill_startup
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.intrinsics import running_on

APIC_BASE, X2APIC_COMMAND = 0x1B, 0x830
BOOT, ENABLED, X2APIC = 1 << 8, 1 << 11, 1 << 10
IDENTITIES = (0, 2, 3, 0x21)
FAR, ENTRY = 0x50, 0x100  # where the code goes on, from its beginning


class Machine(Firmware):
    """The shell of processor `number`, its APIC a page of memory."""

    def __init__(self, place: int, number: int = 0) -> None:
        super().__init__()
        self.written_to_com1 = bytearray()
        self.sent: list[tuple[int, int]] = []  # to MSRs
        self.msrs[APIC_BASE] = abi.LOCAL_APIC | ENABLED | (0 if number else BOOT)
        self.msrs[0xC000_0080], self.msrs[0x277] = 0xD01, 0x0007_0406_0007_0406
        self.leaves[1] = (0xA20F10, IDENTITIES[number] << 24, 1 << 21, 0)
        self.page = Startup(far=FAR, entry=ENTRY)
        self.page.code[0] = 0xFA
        self.shell = shell = Shell(block=place, low=LOW, number=number, apic=abi.LOCAL_APIC)
        shell.processors = len(IDENTITIES)
        for each, identity in enumerate(IDENTITIES):
            shell.identities[each] = identity
        self.common = block.common(shell)
        self.vmcb = Vmcb()
        shell.vmcb = ctypes.addressof(self.vmcb)
        block.map_all(shell)
        with running_on(self):
            fill_startup(shell, self.common.startup)

    def startup_page(self) -> int:
        return ctypes.addressof(self.page)

    def write_msr(self, number: int, value: int) -> None:
        super().write_msr(number, value)
        self.sent.append((number, value))

    def port_in8(self, port: int) -> int:
        assert port == 0x3FD
        return 0x20

    def port_out8(self, port: int, value: int) -> None:
        assert port == 0x3F8
        self.written_to_com1.append(value)

    def pages(self) -> list[int]:
        """Where each is to start."""
        return [self.common.pages[number] for number in range(CPUS)]

    def of(self, number: int) -> Shell:
        """The shell of another one, in the block."""
        return Shell.at(block.processor(self.shell.block, number) + block.SHELL)


@contextmanager
def machine(number: int = 0) -> Iterator[Machine]:
    """One, with its memory."""
    with ExitStack() as stack:
        place = stack.enter_context(physical(block.SIZE))
        stack.enter_context(at(abi.LOCAL_APIC, 4096))
        stack.enter_context(at(LOW, 8192))
        yield Machine(place, number)
