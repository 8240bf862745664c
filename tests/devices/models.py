"""The small devices as fuzzers and hypothesis drive them: what may be called, what must hold.

Each operation is a method and the ranges of its arguments; nothing a guest or the core can do
is left out. What the bus and the clock may do to a device with a place follows from the place. A
sequence of operations runs on one struct in CPython and, if asked, again in compiled code on the
same memory.
"""

import ctypes
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from tests import compiling
from tests.devices.fw_cfg.driver import CONTROLS, KEYS, RAM_SIZE, power_on, ram8, transfer
from tests.devices.i28f640j5 import driver as flash_driver
from tests.devices.i8042.typing_bench import TypingBench
from tests.devices.i82077.guest_bench import GuestBench, check_bench
from tests.devices.vga.driver import SCREEN_SIZE, in_text_mode, shown
from vestige.abi import (
    DEPTHS,
    FIRMWARE_ITEMS_SIZE,
    FONT_SIZE,
    GLYPH_SIZE,
    MAX_SCREEN_COLUMNS,
    MAX_SCREEN_ROWS,
    PINS,
    SCREEN_MEMORY,
    SCREEN_MEMORY_SIZE,
    WINDOW_NOTHING,
    WINDOW_PARTS,
    WINDOW_SIZE,
    Screen,
    ScreenKind,
    line_size,
)
from vestige.claims import offset_in
from vestige.devices import DEVICES
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct
from vestige.monitor.core.machine import Machine
from vestige.monitor.devices.acpi_registers.model import AcpiRegisters
from vestige.monitor.devices.fw_cfg.model import FwCfg
from vestige.monitor.devices.hpet.model import Hpet
from vestige.monitor.devices.hpet.spec import ROUTES, TIMERS
from vestige.monitor.devices.i28f640j5.model import Flash
from vestige.monitor.devices.i28f640j5.spec import CONFIRM, Reads
from vestige.monitor.devices.i28f640j5.spec import Command as FlashCommand
from vestige.monitor.devices.i28f640j5.spec import Status as FlashStatus
from vestige.monitor.devices.i28f640j5.spec import Step as FlashStep
from vestige.monitor.devices.i8042.keyboard import LONGEST_REPLY, PLACES
from vestige.monitor.devices.i8042.model import KeyboardController, Source
from vestige.monitor.devices.i8042.mouse import FARTHEST, LONGEST
from vestige.monitor.devices.i8042.scan_codes import PAUSE, PRINT_SCREEN
from vestige.monitor.devices.i8042.spec import RATES, UNITS, Command, CommandByte, Status
from vestige.monitor.devices.i8237.model import Dma
from vestige.monitor.devices.i8237.spec import ALL
from vestige.monitor.devices.i8254.counter import Phase
from vestige.monitor.devices.i8254.model import MOST_OWED, Pit
from vestige.monitor.devices.i8254.spec import COUNTERS
from vestige.monitor.devices.i8259.model import LINES, Pic
from vestige.monitor.devices.i8259.spec import MASTER_LEVEL, SLAVE_LEVEL
from vestige.monitor.devices.ioapic.model import IoApic
from vestige.monitor.devices.ioapic.spec import Entry
from vestige.monitor.devices.mc146818.model import Mc146818
from vestige.monitor.devices.mc146818.spec import CELLS, VALID, Cell, Port, RegisterC
from vestige.monitor.devices.mc146818.spec import RegisterB as EnableBit
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.host_bridge import HostBridgeFunction
from vestige.monitor.devices.pci.root import PciRoot
from vestige.monitor.devices.piix3_isa.model import IsaBridge
from vestige.monitor.devices.piix4_pm.model import PowerManagement
from vestige.monitor.devices.piix4_pm.spec import CONTROL_WRITABLE, ENABLE_WRITABLE, Event
from vestige.monitor.devices.pvpanic.model import Pvpanic
from vestige.monitor.devices.pvpanic.spec import KNOWN
from vestige.monitor.devices.uart16550.model import INPUT_SIZE, OUTPUT_SIZE, Uart
from vestige.monitor.devices.uart16550.spec import FIFO_SIZE, Identity
from vestige.monitor.devices.vga.display import show
from vestige.monitor.devices.vga.model import Vga
from vestige.monitor.devices.vga.ports_spec import DISPI_OFFSET, VIDEO_MEMORY, WINDOW_OFFSET
from vestige.monitor.devices.vga.ports_spec import Register as VgaRegister
from vestige.monitor.devices.vga.spec import (
    ATTRIBUTE_BITS,
    CRTC_REGISTERS,
    FIRST_ID,
    GRAPHICS_BITS,
    GRAPHICS_PLACES,
    LAST_ID,
    SEQUENCER_BITS,
    SEQUENCER_PLACES,
    WIDE_DAC_BITS,
    Dispi,
)
from vestige.monitor.events import ROOM
from vestige.monitor.line import NEVER
from vestige.monitor.sized import ONES
from vestige.place import Access, Place

BYTE, LONG = 1 << 8, 1 << 32
# By size in bytes. Of 8 bytes a third, 0 and all ones among them: a range's length has 63 bits.
VALUES = {size: range(1 << 8 * size) for size in range(1, 8)} | {8: range(0, 1 << 64, 3)}


class Operation(NamedTuple):
    """A method, and for each argument the values it may have."""

    method: Callable[..., Any]
    arguments: tuple[Sequence[int], ...]
    timed: bool = False  # the time is its last argument


class Model(NamedTuple):
    """One device: how it begins, what can be done, what holds after every operation."""

    structure: type[Struct]
    reset: Callable[[Any], None]
    operations: tuple[Operation, ...]
    more: tuple[Operation, ...]  # half of what is done, if there are any
    check: Callable[[Any], None]

    def choices(self) -> list[tuple[Operation, ...]]:
        """One of these is taken from first, each as often."""
        return [operations for operations in (self.operations, self.more) if operations]


def anything(_model: Struct) -> None:
    """Nothing is known that must hold."""


class Own(NamedTuple):
    """What must hold for a device, what others than the bus call, and registers to go to often.

    `reset` is how it begins, if there is more to that.
    """

    check: Callable[[Any], None] = anything
    operations: tuple[Operation, ...] = ()
    reset: Callable[[Any], None] | None = None


class Step(NamedTuple):
    """One operation carried out."""

    operation: Operation
    arguments: tuple[int, ...]


def check_dma(dma: Dma) -> None:
    """There is a bit for each channel, and none for another."""
    for controller in (dma.first, dma.second):
        assert controller.masks | controller.requests | controller.asking | controller.ended <= ALL
        assert controller.second_byte <= 1


def check_uart(uart: Uart) -> None:
    """Counts stay in their arrays; the line says what the identity says."""
    assert uart.received_count <= (FIFO_SIZE if uart.fifos() else 1)
    assert uart.input_count <= INPUT_SIZE
    assert uart.transmitting_count <= FIFO_SIZE
    assert uart.output_count <= OUTPUT_SIZE
    assert uart.output_first < OUTPUT_SIZE
    assert uart.transmitting_count == 0 or uart.output_count == OUTPUT_SIZE
    assert uart.line.level == (uart.identity() != Identity.NONE)


def check_ioapic(ioapic: IoApic) -> None:
    """Remote IRR belongs to level-triggered entries; a level that is due has been sent."""
    assert ioapic.requests < 1 << PINS
    for number in range(PINS):
        pin = ioapic.pins[number]
        if pin.low & Entry.REMOTE_IRR:
            assert pin.level_triggered()
        assert not (ioapic.asserted >> number & 1 and pin.open_for_level())


def a_function(config: ConfigSpace) -> None:
    """A function with a BAR and a status bit to clear."""
    config.identify(0x8086, 0x7010, 1, 1)
    config.allow16(4, 5)
    config.set16(6, 0x2280)
    config.clearable[7] = 0x20
    config.add_io_bar(4, 0xC020, 16)


def check_config(config: ConfigSpace) -> None:
    """What no guest may change is as it was."""
    fresh = ConfigSpace()
    a_function(fresh)
    for offset in range(256):
        kept = ~(config.writable[offset] | config.clearable[offset])
        assert (config.values[offset] ^ fresh.values[offset]) & kept == 0
    assert config.io_bar(4) % 16 == 0


def check_pci(root: PciRoot) -> None:
    """Nothing a guest does changes the host bridge."""
    fresh = HostBridgeFunction()
    fresh.reset()
    assert bytes(root.host_bridge) == bytes(fresh)
    assert root.register() < 256


def check_acpi(acpi: AcpiRegisters) -> None:
    """The enable bit never sticks."""
    assert acpi.sleep_control & ~0x1C == 0


def check_hpet(hpet: Hpet) -> None:
    """Lines follow the status, routes are possible ones, a halted timer has no deadline."""
    assert hpet.status < 1 << TIMERS
    for number in range(TIMERS):
        timer = hpet.timers[number]
        assert ROUTES >> timer.route() & 1
        assert timer.comparator <= timer.mask()
        assert timer.period <= timer.mask()
        assert hpet.running() or timer.deadline == NEVER
        if timer.line.level:
            assert hpet.running()
            assert hpet.status >> number & 1


def check_keyboard_controller(controller: KeyboardController) -> None:
    """Counts stay in their arrays; no byte that may come waits for an empty output buffer."""
    keyboard, mouse = controller.keyboard, controller.mouse
    assert keyboard.count <= PLACES
    assert keyboard.replied <= keyboard.reply_length <= LONGEST_REPLY
    assert (keyboard.held == 0) == (keyboard.repeat_at == NEVER)
    assert mouse.sent <= mouse.length <= LONGEST
    assert max(abs(mouse.x), abs(mouse.y)) <= FARTHEST
    assert mouse.resolution < len(UNITS)
    assert mouse.rate in RATES
    full = controller.status & Status.OUTPUT_FULL != 0
    from_mouse = controller.status & Status.AUXILIARY != 0
    assert full == (controller.source != Source.NOBODY)
    if not full:
        assert not controller.reply_waits
        assert controller.has(CommandByte.DISABLE_KEYBOARD) or not keyboard.ready()
        assert controller.has(CommandByte.DISABLE_MOUSE) or not mouse.ready()
    interrupts = controller.ram[0] & (1 << from_mouse) if full else 0
    assert controller.keyboard_line.level == interrupts & 1
    assert controller.mouse_line.level == interrupts >> 1


def check_typing(bench: TypingBench) -> None:
    """No event makes the keyboard lose one."""
    check_keyboard_controller(bench.controller)
    assert bench.controller.keyboard.overrun == 0
    assert bench.stream.used <= bench.stream.count <= ROOM


def check_pvpanic(pvpanic: Pvpanic) -> None:
    """It keeps nothing but what it knows."""
    assert pvpanic.events & ~KNOWN == 0


def check_pic(pic: Pic) -> None:
    """Edges are of edge inputs, the master has seen the slave's INT, what asks isn't masked."""
    assert pic.lines & ~LINES == 0
    assert pic.master.level & ~MASTER_LEVEL == 0
    assert pic.slave.level & ~SLAVE_LEVEL == 0
    assert pic.asked == pic.slave.asks()
    for chip in (pic.master, pic.slave):
        assert chip.edges & chip.level == 0
        assert chip.top < 8
        assert not chip.asks() or chip.irr() & ~chip.imr


def check_pit(pit: Pit) -> None:
    """Nothing is divided by 0; GATE is as the phase says; a tick that is owed has its time."""
    assert pit.line.level <= 1
    assert pit.owed <= MOST_OWED // 60
    assert not pit.owed or pit.deadline == pit.ready
    for number in range(COUNTERS):
        counter = pit.counters[number]
        assert counter.access() != 0
        assert counter.base <= 0x1_0000
        assert counter.load == NEVER or counter.count > 0
        if counter.phase == Phase.COUNTING:
            assert counter.mode() not in (2, 3) or counter.base > 0
            assert counter.gate or counter.mode() in (1, 5)
    assert pit.counters[0].gate == pit.counters[1].gate == 1


def check_rtc(rtc: Mc146818) -> None:
    """IRQF and the line follow flags and enables; what is read-only stays; SET allows no UIE."""
    enabled = rtc.cells[Cell.REGISTER_B]
    flags = rtc.cells[Cell.REGISTER_C]
    assert rtc.index < CELLS
    assert rtc.cells[Cell.REGISTER_A] < 1 << 7
    assert not (enabled & EnableBit.SET and enabled & EnableBit.UPDATE_ENDED)
    assert flags & ~(RegisterC.FLAGS | RegisterC.REQUEST) == 0
    assert rtc.cells[Cell.REGISTER_D] == VALID
    assert rtc.line.level == (flags & enabled & RegisterC.FLAGS != 0)
    assert rtc.line.level == (flags & RegisterC.REQUEST != 0)
    if rtc.line.level or not rtc.running() or not enabled & RegisterC.FLAGS:
        assert rtc.deadline == NEVER
    else:
        assert rtc.deadline > rtc.seen


def check_power_management(pm: PowerManagement) -> None:
    """SCI follows status and enables; what can't be written isn't; ports are 64 at a multiple."""
    assert pm.status & ~Event.TIMER_OVERFLOW == 0
    assert pm.enable & ~ENABLE_WRITABLE == 0
    assert pm.control & ~CONTROL_WRITABLE == 0
    assert pm.line.level == (pm.status & pm.enable != 0)
    assert pm.base % 64 == 0
    assert pm.base != 0


def check_fw_cfg(fw_cfg: FwCfg) -> None:
    """The next byte is one of the item, or just behind it; that is in the host's memory."""
    assert fw_cfg.position <= fw_cfg.size
    assert fw_cfg.offset + fw_cfg.size <= FIRMWARE_ITEMS_SIZE


def check_flash(flash: Flash) -> None:
    """Reads give the array unless a command is under way; a buffer has room for what comes."""
    assert flash.step == FlashStep.COMMAND or flash.reads == Reads.STATUS
    assert flash.mapped_address() == (flash.address if flash.reads == Reads.ARRAY else 0)
    assert flash.taken <= flash.count <= len(flash.buffer)
    assert flash.status & ~FLASH_BITS == 0


def check_vga(vga: Vga) -> None:
    """Bits that aren't there are 0; a viewer is told of nothing outside the screen's memory."""
    registers = vga.registers
    for index, bits in enumerate(SEQUENCER_BITS):
        assert registers.sequencer[index] & ~bits == 0
    for index, bits in enumerate(GRAPHICS_BITS):
        assert registers.graphics[index] & ~bits == 0
    for index, bits in enumerate(ATTRIBUTE_BITS):
        assert registers.attribute[index] & ~bits == 0
    assert max(bytes(registers.dac.entries)) <= WIDE_DAC_BITS
    assert FIRST_ID <= vga.dispi.registers[Dispi.ID] <= LAST_ID
    screen = Screen()
    show(registers, vga.dispi, screen)
    if screen.kind == ScreenKind.GRAPHICS and screen.region:
        last = screen.start + (screen.height - 1) * screen.pitch
        assert last + line_size(screen.width, screen.depth) <= VIDEO_MEMORY
        assert screen.depth in (0, *DEPTHS)
    assert max(screen.palette) < 1 << 24
    end = SCREEN_MEMORY + SCREEN_MEMORY_SIZE
    assert screen.columns <= MAX_SCREEN_COLUMNS
    assert screen.rows <= MAX_SCREEN_ROWS
    assert screen.character_height <= GLYPH_SIZE
    assert max(screen.colours) < 1 << 24
    if screen.window_size:
        assert screen.window >= SCREEN_MEMORY
        assert screen.window + screen.window_size <= end
        assert all(SCREEN_MEMORY <= font <= end - FONT_SIZE for font in screen.fonts)
    assert vga.window < WINDOW_PARTS + VIDEO_MEMORY // WINDOW_SIZE
    assert (vga.due == NEVER) == (vga.window != WINDOW_NOTHING)


HPET_REGISTERS = (0, 0x10, 0x20, 0xF0, 0x100, 0x108, 0x110, 0x120, 0x128, 0x140, 0x148, 0x160)
REGISTERS = range(0, 0x44, 4)
PIC_COMMANDS = (0x11, 0x13, 0x10, 0x0A, 0x0B, 0x0C, 0x48, 0x68, *range(0x00, 0x100, 0x20))
# Each mode of the three counters, their low byte and both; latches of everything.
PIT_WORDS = [
    n << 6 | access << 4 | mode for n in range(3) for access in (1, 3) for mode in range(16)
]
PIT_WORDS += [*range(0, 0xC0, 0x40), *range(0xC0, 0x100, 6)]
CLOCK_CELLS = (*range(Cell.REGISTER_D + 1), Cell.CENTURY)
KEY_CODES = (0x1E, 0x41, 0xE048, 0x7F, PAUSE, PRINT_SCREEN, 0, 0x9E, 0xFFFF)
DISTANCES = (0, 0, 1, -1, 5, 127, -300, (1 << 31) - 1, -(1 << 31))
FLOPPY_REGISTERS = (2, 3, 4, 5, 7)
FLASH_OFFSETS = range(flash_driver.FIRST, flash_driver.FIRST + flash_driver.SIZE)
FLASH_COMMANDS = (*FlashCommand, CONFIRM)
FLASH_BITS = FlashStatus.READY | FlashStatus.ERASE_ERROR | FlashStatus.PROGRAM_ERROR
FLOPPY_COMMANDS = (
    0x46,
    0xC6,
    0xE6,
    0x45,
    0xC5,
    0x42,
    0x4C,
    0x6C,
    0x49,
    0x4A,
    0x4D,
    0x56,
    3,
    0x13,
    0xF,
)
# Unit and head, C, H, R, N, EOT, GPL, DTL, as their values are in commands.
FLOPPY_SECTORS = [
    int.from_bytes(bytes([head << 2, cylinder, head, sector, 2, last, 27, 255]), "little")
    for head in (0, 1)
    for cylinder in (0, 0, 1, 79)
    for sector in (1, 1, 17, 18, 19)
    for last in (1, 18, 18, 19)
]
FW_CFG_ADDRESSES = (*range(0, 200, 5), *range(RAM_SIZE - 40, RAM_SIZE + 2), 1 << 32, ONES[8])

# By the field of a device with a place: what its place can't say.
OWN = {
    "second_uart": Own(check_uart),
    "uart": Own(
        check_uart,
        (
            Operation(Uart.write, ((0,), (1,), range(BYTE)), timed=True),
            Operation(Uart.receive, (range(BYTE),), timed=True),
            Operation(Uart.arrive, (range(INPUT_SIZE),), timed=True),
            Operation(Uart.waiting, ()),
        ),
    ),
    "ioapic": Own(
        check_ioapic,
        (
            Operation(IoApic.read, (REGISTERS, (4,)), timed=True),
            Operation(IoApic.write, (REGISTERS, (4,), range(LONG)), timed=True),
            Operation(IoApic.write, ((0,), (4,), range(0x42)), timed=True),
            Operation(IoApic.write, ((0x10,), (4,), range(1 << 17)), timed=True),
            Operation(IoApic.take_lines, (range(1 << PINS), (0, 0, 1, 1 << PINS - 1))),
            Operation(IoApic.edge, (range(PINS),)),
            Operation(IoApic.end_of_interrupt, (range(BYTE),)),
            Operation(IoApic.message_address, (range(PINS),)),
            Operation(IoApic.message_data, (range(PINS),)),
            Operation(IoApic.take_requests, ()),
        ),
    ),
    "acpi": Own(
        check_acpi,
        (Operation(AcpiRegisters.write, ((0, 4, 0x15), (1,), range(BYTE)), timed=True),),
    ),
    "hpet": Own(
        check_hpet,
        (
            Operation(Hpet.read, (HPET_REGISTERS, (4, 8)), timed=True),
            Operation(Hpet.write, (range(0x400), (8,), (0, 1, 1000, ONES[8])), timed=True),
            Operation(Hpet.write, (HPET_REGISTERS, (4, 8), range(10_000)), timed=True),
            Operation(Hpet.write, ((0x10,), (4,), (0, 1, 1)), timed=True),
            Operation(Hpet.write, ((0x100, 0x120), (4,), range(1 << 15)), timed=True),
        ),
    ),
    "pit": Own(
        check_pit,
        (
            Operation(Pit.read, (range(5), (1,)), timed=True),
            Operation(Pit.write, ((3,), (1,), PIT_WORDS), timed=True),
            Operation(Pit.write, ((0, 0, 1, 2), (1,), (0, 0, 1, 2, 60, 255)), timed=True),
            Operation(Pit.write, ((4,), (1,), range(4)), timed=True),
            Operation(Pit.expire, (), timed=True),
        ),
    ),
    "keyboard_controller": Own(
        check_keyboard_controller,
        (
            Operation(KeyboardController.read, ((0, 0, 4), (1,)), timed=True),
            Operation(KeyboardController.write, ((0,), (1,), range(0xE0, BYTE)), timed=True),
            Operation(KeyboardController.write, ((4,), (1,), tuple(Command)), timed=True),
            Operation(KeyboardController.write, ((4,), (1,), (Command.WRITE_MOUSE,)), timed=True),
            Operation(KeyboardController.press, (KEY_CODES,), timed=True),
            Operation(KeyboardController.release, (KEY_CODES,), timed=True),
            Operation(
                KeyboardController.move, (DISTANCES, DISTANCES, DISTANCES, range(BYTE)), timed=True
            ),
            Operation(KeyboardController.a20, ()),
            Operation(KeyboardController.ending, ()),
        ),
    ),
    "pvpanic": Own(check_pvpanic),
    "pic": Own(
        check_pic,
        (
            Operation(Pic.take_lines, (range(LONG), (0, 1, 4, 0x8102, LONG - 1))),
            Operation(Pic.intr, ()),
            Operation(Pic.acknowledge, ()),
            Operation(Pic.write, ((0, 2), (1,), PIC_COMMANDS), timed=True),
            Operation(Pic.write, ((1, 3), (1,), (0, 0, 2, 4, 0x11, 0x13, 0x70)), timed=True),
        ),
    ),
    "dma": Own(check_dma),
    "rtc": Own(
        check_rtc,
        (
            Operation(Mc146818.write, ((Port.INDEX,), (1,), CLOCK_CELLS), timed=True),
            Operation(Mc146818.write, ((Port.DATA,), (1,), (0x23, 0x59, 0xC0)), timed=True),
            Operation(Mc146818.write, ((Port.DATA,), (1,), range(0x20, 0x30)), timed=True),
            Operation(Mc146818.read, ((Port.DATA,), (1,)), timed=True),
        ),
    ),
    "vga": Own(
        check_vga,
        (
            *(
                Operation(Vga.write, ((register,), (1,), values), timed=True)
                for register, values in (
                    (VgaRegister.CRTC_INDEX, range(CRTC_REGISTERS)),
                    (VgaRegister.CRTC_DATA, range(BYTE)),
                    (VgaRegister.SEQUENCER_INDEX, range(SEQUENCER_PLACES)),
                    (VgaRegister.SEQUENCER_DATA, (0, 1, 3, 3, *range(BYTE))),
                    (VgaRegister.GRAPHICS_INDEX, range(GRAPHICS_PLACES)),
                    (VgaRegister.GRAPHICS_DATA, range(BYTE)),
                    (VgaRegister.ATTRIBUTE, range(BYTE)),
                    (VgaRegister.DAC_DATA, range(BYTE)),
                )
            ),
            Operation(Vga.read, ((VgaRegister.STATUS_1,), (1,)), timed=True),
            Operation(Vga.takes_whole, (range(DISPI_OFFSET + 3), (2, 4))),
            Operation(Vga.write, ((VgaRegister.DISPI_INDEX,), (2,), (*Dispi, 0xFFFF)), timed=True),
            Operation(
                Vga.write,
                ((VgaRegister.DISPI_DATA,), (2,), (*range(FIRST_ID, LAST_ID + 2), 0)),
                timed=True,
            ),
            Operation(
                Vga.write,
                ((VgaRegister.DISPI_DATA,), (2,), (1, 0x61, 0xE1, 4, 8, 15, 24, 32, 640, 0xFFFF)),
                timed=True,
            ),
            Operation(Vga.region_address, ()),
            Operation(Vga.read, (range(WINDOW_OFFSET, WINDOW_OFFSET + 4), (1, 2)), timed=True),
            Operation(
                Vga.write,
                (range(WINDOW_OFFSET, WINDOW_OFFSET + 4), (1, 2), range(1 << 16)),
                timed=True,
            ),
            Operation(Vga.is_quiet_write, (range(DISPI_OFFSET), (1, 2), (0,))),
            Operation(Vga.read, (range(DISPI_OFFSET, DISPI_OFFSET + 3), (2,)), timed=True),
            Operation(shown, (range(SCREEN_SIZE),)),
        ),
        in_text_mode,
    ),
    "isa_bridge": Own(
        operations=(
            Operation(IsaBridge.write_config, ((0,), range(0x60, 0x64), (1,), range(BYTE))),
            Operation(IsaBridge.steer, (range(LONG),)),
        )
    ),
    "power_management": Own(
        check_power_management,
        (
            Operation(PowerManagement.read, (range(64), (1,)), timed=True),
            Operation(PowerManagement.write, (range(64), (1,), range(BYTE)), timed=True),
            Operation(PowerManagement.write, ((0, 2), (1,), (0, 1, 0xFF)), timed=True),
            Operation(PowerManagement.write_config, ((0,), (0x40, 0x80), (4,), range(LONG))),
            Operation(PowerManagement.port_offset, (range(1 << 16),)),
            Operation(PowerManagement.ending, ()),
        ),
    ),
    "flash": Own(
        check_flash,
        (
            Operation(Flash.write, (FLASH_OFFSETS, (1,), FLASH_COMMANDS), timed=True),
            Operation(Flash.write, (FLASH_OFFSETS, (1,), (CONFIRM,)), timed=True),
            Operation(Flash.write, (FLASH_OFFSETS[:40], (1,), range(8)), timed=True),
            Operation(Flash.write, (FLASH_OFFSETS, (1,), range(BYTE)), timed=True),
            Operation(Flash.read, (FLASH_OFFSETS, (1,)), timed=True),
            Operation(Flash.takes_whole, (FLASH_OFFSETS, (2, 4, 8))),
            Operation(Flash.mapped_address, ()),
            Operation(flash_driver.array8, (range(flash_driver.SIZE),)),
        ),
        flash_driver.over_memory,
    ),
    "fw_cfg": Own(
        check_fw_cfg,
        (
            Operation(FwCfg.write, ((0,), (2,), (*KEYS, 0xFFFF)), timed=True),
            Operation(FwCfg.write, ((4, 8), (4,), (0, 1, 1 << 24, ONES[4])), timed=True),
            Operation(FwCfg.read, ((0, 4, 8), (2, 4)), timed=True),
            Operation(FwCfg.takes_whole, (range(12), (2, 4))),
            Operation(transfer, (FW_CFG_ADDRESSES, CONTROLS, range(600), FW_CFG_ADDRESSES)),
            Operation(transfer, (range(90), range(LONG), range(LONG), FW_CFG_ADDRESSES)),
            Operation(ram8, (range(RAM_SIZE),)),
        ),
        power_on,
    ),
    "pci": Own(
        check_pci,
        (
            Operation(PciRoot.write_address, (range(LONG),)),
            Operation(PciRoot.enabled, ()),
            Operation(PciRoot.function, ()),
            Operation(PciRoot.register, ()),
        ),
    ),
}


def model_of(place: Place, own: Own) -> Model:
    """A device with a place, driven as the core may drive it that goes by the place alone."""
    structure = type(getattr(Machine(), place.field))
    operations = [*port_accesses(place, structure), *memory_accesses(place, structure)]
    operations += config_accesses(place, structure)
    if place.timed:
        operations.append(Operation(structure.expire, (), timed=True))
        operations.append(Operation(structure.next_deadline, ()))
    reset = own.reset or structure.reset
    return Model(structure, reset, tuple(operations), own.operations, own.check)


def port_accesses(place: Place, structure: Any) -> Iterator[Operation]:
    """Any byte at any of its ports."""
    offsets = [
        offset_in(place, ports, port)
        for ports in place.ports
        for port in range(ports.first, ports.end)
    ]
    if offsets:
        yield Operation(structure.read, (offsets, (1,)), timed=True)
        yield Operation(structure.write, (offsets, (1,), range(BYTE)), timed=True)
        if place.quiet:
            yield Operation(structure.is_quiet_read, (offsets,))


def memory_accesses(place: Place, structure: Any) -> Iterator[Operation]:
    """Any access inside its block of memory that comes to the model as it is."""
    if place.memory is None:
        return
    natural = place.memory.access == Access.NATURAL
    sizes = {Access.NATURAL: (1, 2, 4), Access.WHOLE: range(1, 9), Access.TAKEN: (1,)}
    for size in sizes[Access(place.memory.access)]:
        first = place.memory.offset
        every: Sequence[int] = range(first, first + place.memory.size)
        offsets = [n for n in every if (n - first) % 4 + size <= 4] if natural else every
        yield Operation(structure.read, (offsets, (size,)), timed=True)
        yield Operation(structure.write, (offsets, (size,), VALUES[size]), timed=True)


def config_accesses(place: Place, structure: Any) -> Iterator[Operation]:
    """Any access to configuration space, and any look for a register of a BAR."""
    if place.pci is None:
        return
    numbers = range(place.pci.count)
    for size in (1, 2, 4):
        offsets = [n for n in range(256) if n % 4 + size <= 4]
        yield Operation(structure.read_config, (numbers, offsets, (size,)))
        yield Operation(structure.write_config, (numbers, offsets, (size,), VALUES[size]))
    if any(bar.region is None for bar in place.pci.bars):
        yield Operation(structure.port_offset, (range(1 << 16),))
        yield Operation(structure.memory_offset, (numbers, range(1 << 32)))


MODELS = {
    "config": Model(
        ConfigSpace,
        a_function,
        (
            Operation(ConfigSpace.read, (range(300), (1, 2, 3, 4))),
            Operation(ConfigSpace.write, (range(300), (1, 2, 3, 4), range(LONG))),
            Operation(ConfigSpace.write, (range(4, 0x28), (1, 2, 4), (0, LONG - 1))),
            Operation(ConfigSpace.io_bar, (range(6),)),
        ),
        (),
        check_config,
    ),
    "events": Model(
        TypingBench,
        TypingBench.reset,
        (
            Operation(TypingBench.arrive, (range(ROOM + 1), range(6), range(1 << 62))),
            Operation(TypingBench.arrive, ((20,), (1, 2), (0x1E_001E_001E, 0x30_0030_0030))),
            Operation(TypingBench.fail, ((0, 4, 11, 5),)),
            Operation(TypingBench.move, (), timed=True),
            Operation(TypingBench.move, (), timed=True),
            Operation(TypingBench.read, ((0, 0, 4),), timed=True),
            Operation(TypingBench.write, ((0, 4), range(BYTE)), timed=True),
        ),
        (),
        check_typing,
    ),
    "floppy_commands": Model(
        GuestBench,
        GuestBench.reset,
        (
            Operation(GuestBench.command, (FLOPPY_COMMANDS, range(0, 1 << 64, 3))),
            Operation(GuestBench.command, (FLOPPY_COMMANDS, FLOPPY_SECTORS)),
            Operation(GuestBench.command, (FLOPPY_COMMANDS, FLOPPY_SECTORS)),
            Operation(GuestBench.program, (range(0, 3 << 16, 7), range(0x3000), range(BYTE))),
            Operation(GuestBench.answer, ((0, 0, 0, 0, 0, 5),)),
            Operation(GuestBench.answer, ((0,),)),
            Operation(GuestBench.move, ()),
            Operation(GuestBench.move, ()),
        ),
        (
            Operation(GuestBench.read, (FLOPPY_REGISTERS,)),
            Operation(GuestBench.read, ((4, 5, 5, 5),)),
            Operation(GuestBench.write, (FLOPPY_REGISTERS, range(BYTE))),
            Operation(GuestBench.write, ((5,), (0, 1, 2, 9, 80))),
            Operation(GuestBench.write, ((2,), (0x3C, 0x3C, 0x3D, 0x34, 0x38))),
            Operation(GuestBench.dma_write, (range(16), range(BYTE))),
            Operation(GuestBench.answer, ((0,),)),
            Operation(GuestBench.move, ()),
            Operation(GuestBench.poke, (range(LONG), range(LONG))),
        ),
        check_bench,
    ),
    **{place.field: model_of(place, OWN.get(place.field, Own())) for place in DEVICES},
}


def random_steps(model: Model, count: int, chance: random.Random) -> list[Step]:
    """Any operations with any arguments; time goes on."""
    now = 0
    steps = []
    for operations in chance.choices(model.choices(), k=count):
        operation = chance.choice(operations)
        arguments = [chance.choice(values) for values in operation.arguments]
        if operation.timed:
            now += chance.choice((0, 1, 1000, 100_000, 10**9))
            arguments.append(now)
        steps.append(Step(operation, tuple(arguments)))
    return steps


def interpret(model: Model, steps: Iterable[Step]) -> tuple[list[int], bytes]:
    """Run the steps in CPython, the model's rules checked after each; answers, final state."""
    struct = model.structure()
    model.reset(struct)
    answers = []
    for step in steps:
        quiet = is_quiet(struct, step)
        before = acted_on(struct) if quiet else b""
        answers.append(int(step.operation.method(struct, *step.arguments) or 0))
        assert not quiet or acted_on(struct) == before
        model.check(struct)
    return answers, bytes(struct)


def is_quiet(struct: Any, step: Step) -> bool:
    """Whether a model says that a step changes nothing."""
    if step.operation.method is not getattr(type(struct), "read", None):
        return False
    return hasattr(struct, "is_quiet_read") and struct.is_quiet_read(step.arguments[0])


def acted_on(struct: Struct) -> bytes:
    """The state, but for what only its own model looks at later."""
    copy: Any = type(struct).from_buffer_copy(struct)
    if isinstance(copy, Uart):
        copy.polls = copy.listens()
    return bytes(copy)


def execute(model: Model, steps: Iterable[Step]) -> tuple[list[int], bytes]:
    """Run the steps in compiled code; answers, final state."""
    native = compiled()
    struct = model.structure()
    native[model.reset.__qualname__](struct)
    answers = [
        int(native[step.operation.method.__qualname__](struct, *step.arguments) or 0)
        for step in steps
    ]
    return answers, ctypes.string_at(ctypes.addressof(struct), ctypes.sizeof(struct))


@cache
def compiled() -> NativeImage:
    """All operations of all models as machine code."""
    functions = []
    for model in MODELS.values():
        operations = (*model.operations, *model.more)
        for function in (model.reset, *(operation.method for operation in operations)):
            if function not in functions:
                functions.append(function)
    return compiling.native(functions)
