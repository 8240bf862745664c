"""A machine that is taken over, in CPython: its monitor, its NVMe controller, its guest's exits.

Of the monitor vcpu_main's turns are called; what it would leave for by OUT is told to the shell,
one exit after the other.
"""

import ctypes
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import NamedTuple

from tests.drivers.benches import Pages
from tests.drivers.fake_nvme import FakeNvme
from tests.efiemu.firmware import LOW, NVME_CLASS, Firmware
from tests.efiemu.memory import at, physical
from vestige import abi
from vestige.abi import Cpu, Shared
from vestige.efiemu.build import constants
from vestige.efiemu.shell import block, ide
from vestige.efiemu.shell.accesses import enter
from vestige.efiemu.shell.block import MONITOR_DATA, MONITOR_QUEUES, MONITOR_SHARED, MONITOR_STACKS
from vestige.efiemu.shell.common import Startup
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.monitor import place_monitor
from vestige.efiemu.shell.ports import IN, STRING
from vestige.efiemu.shell.serial import EMPTY, LINE_STATUS
from vestige.efiemu.shell.serve import serve
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Exit, Vmcb
from vestige.host import images
from vestige.lang.intrinsics import running_on
from vestige.monitor.core import trap_turn
from vestige.monitor.core.machine import Machine

NVME, OLD_IDE = (0, 4, 0), (0, 1, 1)
IDE_CLASS, NETWORK_CLASS = 0x0101_8000, 0x0200_0000
COUNTER_KHZ = 1_000_000  # of the time-stamp counter: it counts nanoseconds
RAM_SIZE = 4 << 20
STEP = 100  # ns between two looks at the time
IOAPIC_WINDOW, IOAPIC_SELECT = abi.IOAPIC + 0x10, abi.IOAPIC
APIC_COMMAND, APIC_COMMAND_HIGH = abi.LOCAL_APIC + 0x300, abi.LOCAL_APIC + 0x310
APIC_BASE, X2APIC_COMMAND = 0x1B, 0x830


@cache
def monitor_constants() -> bytes:
    """Of a file with the monitor in it."""
    return constants([("", 0, "")], images.monitor_image())


class Left(NamedTuple):
    """An exit of the monitor's."""

    code: int
    information: int = 0
    rax: int = 0


class Taken(Firmware):
    """With a disk of some sectors behind the controller. `real` are accesses that went through."""

    def __init__(self, place: int, sectors: int = 256) -> None:
        super().__init__()
        self.add((0, 0, 0), 0x0600_0000)
        self.add((0, 1, 0), 0x0601_0000)
        self.add(OLD_IDE, IDE_CLASS)
        self.add(NVME, NVME_CLASS)
        self.image = bytearray(number * 7 & 0xFF for number in range(sectors * 512))
        self.nvme = FakeNvme(self.image)
        self.ram = Pages(RAM_SIZE)
        self.shell = shell = Shell(block=place, processors=1, low=self.low)
        shell.old_ide = OLD_IDE[1] << 3 | OLD_IDE[2]
        shell.controller, shell.boot = NVME[1] << 3, self.boot
        shell.second = NOWHERE
        self._constants = ctypes.create_string_buffer(monitor_constants())
        shell.constants = ctypes.addressof(self._constants)
        shell.memory.offset = self.ram.address
        shell.memory.add(0, RAM_SIZE)
        shell.walk.address_bits, shell.walk.gibibyte_pages = 40, 1
        self.vectors = (ctypes.c_uint32 * 4)()
        shell.vectors = ctypes.addressof(self.vectors)
        shell.bar, shell.msix = self.nvme.registers, 0x50
        self.vmcb = Vmcb()
        shell.vmcb = ctypes.addressof(self.vmcb)
        self.msrs[APIC_BASE] = abi.LOCAL_APIC | 1 << 11
        self.msrs[X2APIC_COMMAND] = 0
        self._startup = Startup()
        self.real: list[tuple[str, int, int, int]] = []  # what, port, bytes, value
        self.sent: list[tuple[int, int]] = []  # by the x2APIC: number and value of an MSR
        self._lefts: list[Left] = []
        self._inside = self._on = False
        self.turns = 0  # of the monitor's
        self._now = 1 << 40
        self.machine = Machine.at(place + block.MONITOR_STATE)
        self.shared = Shared.at(place + MONITOR_SHARED)
        self.cpu = Cpu.at(place + MONITOR_STACKS)
        self.common = block.common(shell)
        block.map_all(shell)
        with running_on(self):
            place_monitor(shell)
            self._move()
            enter(shell)
            assert not shell.failed
            ide.set_up(shell)
        self.real.clear()
        self.written.clear()

    def _move(self) -> None:
        """What the monitor has at addresses of its own is where it is in this process."""
        config, place = self.shared.config, self.shell.block
        config.ram.low, config.ram.low_size = self.ram.address, RAM_SIZE
        config.coalesced = place + block.MONITOR_WRITES
        nvme = config.nvme[0]
        nvme.bar, nvme.bar_size = self.nvme.registers, len(self.nvme.bar)
        nvme.queues, nvme.moved = place + MONITOR_QUEUES, 0
        self.nvme.allowed = [
            (self.ram.address, RAM_SIZE), (place + block.MONITOR_STATE, abi.STATE_SIZE),
            (nvme.queues, abi.NVME_QUEUES_SIZE),
        ]  # fmt: skip
        self.cpu.run = place + MONITOR_DATA - 4096

    # ---- the processor ---------------------------------------------------------------------

    def run_guest(self, vmcb: int, registers: int) -> None:
        """The monitor's next exit."""
        assert registers == vmcb + block.MONITOR_REGISTERS
        if not self._lefts:
            self._inside = True
            call: int = abi.Call.DONE
            if self._on:
                self.turns += 1
                call = trap_turn.serve(self.cpu, self.machine, self.shared)
            else:
                self._on = True
                trap_turn.power_on(self.machine, self.shared)
            self._inside = False
            self._lefts.append(Left(Exit.PORT, abi.PORT_CALL << 16 | 1 << 4, call))
        left, state = self._lefts.pop(0), Vmcb.at(vmcb)
        state.exit, state.information[0], state.rax = left.code, left.information, left.rax
        state.information[1] = state.instruction + 1

    def interrupt_monitor(self, code: int) -> None:
        """The monitor leaves so, before it has done what it is entered for next."""
        self._lefts.append(Left(code))

    def pause(self) -> None:
        self.nvme.step()

    def timestamp(self) -> int:
        self._now += STEP
        return self._now

    def stall(self, microseconds: int) -> None:
        self._now += microseconds * 1000 - STEP

    def wait(self, milliseconds: int) -> None:
        """Nobody does anything for so long."""
        self._now += milliseconds * 1_000_000

    def startup_page(self) -> int:
        return ctypes.addressof(self._startup)

    def write_msr(self, number: int, value: int) -> None:
        if self._inside:
            self._lefts.append(Left(Exit.MSR, 1))
        else:
            self.sent.append((number, value))

    def let_interrupts_in(self) -> None:
        """An NMI is taken."""

    def port_out8(self, port: int, value: int) -> None:
        if self._inside:
            assert port != abi.PORT_CALL or value == abi.Call.ROUTE
            self._lefts.append(Left(Exit.PORT, port << 16 | 1 << 4, value))
        else:
            self.real.append(("out", port, 1, value))

    def port_out16(self, port: int, value: int) -> None:
        self.real.append(("out", port, 2, value))

    def port_out32(self, port: int, value: int) -> None:
        self.real.append(("out", port, 4, value))

    def port_in8(self, port: int) -> int:
        if port == LINE_STATUS:
            return EMPTY
        self.real.append(("in", port, 1, 0x5A))
        return 0x5A

    def port_in16(self, port: int) -> int:
        self.real.append(("in", port, 2, 0x5A5A))
        return 0x5A5A

    def port_in32(self, port: int) -> int:
        if port == 0xCF8:
            return super().port_in32(port)
        value = super().port_in32(port) if port == 0xCFC else 0x5A5A_5A5A
        self.real.append(("in", port, 4, value))
        return value

    # ---- the guest -------------------------------------------------------------------------

    def leave(self, code: int, first: int = 0, second: int = 0) -> None:
        """An exit of the guest's, served."""
        self.vmcb.exit = code
        self.vmcb.information[0], self.vmcb.information[1] = first, second
        with running_on(self):
            serve(self.shell, self.vmcb)

    def out(self, port: int, value: int, size: int = 1) -> None:
        """OUT."""
        self.vmcb.rax = 0xA5A5_A5A5_0000_0000 | value
        self.access(port, size, 0)

    def inp(self, port: int, size: int = 1) -> int:
        """IN: RAX afterwards."""
        self.vmcb.rax = 0xA5A5_A5A5_A5A5_A5A5
        self.access(port, size, IN)
        return self.vmcb.rax

    def access(self, port: int, size: int, flags: int) -> None:
        """Either, of 2 bytes."""
        self.vmcb.instruction, self.vmcb.shadow = 0x1000, 1
        self.leave(Exit.PORT, port << 16 | size << 4 | flags, 0x1002)
        assert (self.vmcb.instruction, self.vmcb.shadow) == (0x1002, 0)

    def string(self, port: int, size: int, code: bytes, flags: int) -> None:
        """INS or OUTS, in real mode with segments at 0."""
        self.ram.data[0x1000 : 0x1000 + len(code)] = code
        self.vmcb.instruction = 0x1000
        for segment in (self.vmcb.cs, self.vmcb.ds, self.vmcb.es):
            segment.limit, segment.attributes = 0xFFFF, 0x93
        info = port << 16 | size << 4 | STRING | flags
        self.leave(Exit.PORT, info, 0x1000 + len(code))

    def command(self, code: int, lba: int = 0, count: int = 1) -> None:
        """A 28-bit command."""
        for register, value in ((2, count), (3, lba), (4, lba >> 8), (5, lba >> 16), (6, 0xE0)):
            self.out(0x1F0 + register, value & 0xFF)
        self.out(0x1F7, code)

    def dma(self, code: int, lba: int, address: int, length: int) -> None:
        """A DMA command over one region of RAM, begun."""
        self.ram.data[0x800:0x808] = struct.pack("<IHH", address, length & 0xFFFF, 0x8000)
        first = self.common.bus_master
        self.out(first + 4, 0x800, 4)
        self.out(first + 2, 6)
        self.out(first, 8)
        self.command(code, lba, length // 512)
        self.out(first, 9)

    def config(self, place: tuple[int, int, int], offset: int, size: int = 4) -> int:
        """A read of configuration space."""
        self.select(place, offset)
        return self.inp(0xCFC + offset % 4, size) & (1 << 8 * size) - 1

    def set_config(self, place: tuple[int, int, int], offset: int, value: int, size: int) -> None:
        """A write."""
        self.select(place, offset)
        self.out(0xCFC + offset % 4, value, size)

    def select(self, place: tuple[int, int, int], offset: int) -> None:
        """CONFIG_ADDRESS, which nobody intercepts."""
        bus, device, number = place
        self.address = 1 << 31 | bus << 16 | device << 11 | number << 8 | offset & 0xFC


@contextmanager
def taken() -> Iterator[Taken]:
    """One, with a page each for the I/O APIC and the local APIC."""
    with ExitStack() as stack:
        place = stack.enter_context(physical(block.SIZE))
        for page in (abi.IOAPIC, abi.LOCAL_APIC):
            stack.enter_context(at(page, 4096))
        stack.enter_context(at(LOW, block.LOW_SIZE))
        yield Taken(place)
