"""Little kernels for whole runs: an ELF file that `vestige run` loads. Typed Python."""

import struct
from pathlib import Path

from tests import compiling
from vestige.abi import (
    HPET,
    HPET_IDENTITY,
    IDE_SLOT,
    PORT_IDE,
    PORT_IDE_BUS_MASTER,
    PORT_PCI_ADDRESS,
    PORT_PCI_DATA,
    PORT_PVPANIC,
    PORT_RESET,
    PORT_SLEEP_CONTROL,
    PORT_UART,
    RESET_VALUE,
    SLEEP_TYPE_S5,
    VIRTIO_BAR_SIZE,
    VIRTIO_BARS,
    VIRTIO_NOTIFY,
    VIRTIO_NOTIFY_STRIDE,
    VIRTIO_SLOT,
)
from vestige.lang.intrinsics import (
    load8,
    load16,
    load32,
    load64,
    pause,
    port_in8,
    port_in32,
    port_out8,
    port_out32,
    store8,
    store16,
    store32,
    store64,
    timestamp,
)
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.devices.piix3_ide.spec import Command, Register
from vestige.monitor.devices.pvpanic.spec import Event

LOAD_ADDRESS = 0x10_0000
HELLO = b"Hello from the guest\n"
SLEEP_ENABLE = 1 << 5


def say(text: u8) -> None:
    """One character to the UART."""
    port_out8(PORT_UART, text)


def power_off() -> None:
    """ACPI's way."""
    while True:
        port_out8(PORT_SLEEP_CONTROL, SLEEP_TYPE_S5 << 2 | SLEEP_ENABLE)


def hello() -> None:
    """Say so, and power off."""
    for index in range(len(HELLO)):
        say(HELLO[index])
    power_off()


def idle() -> None:
    """Say so, and never end."""
    for index in range(len(HELLO)):
        say(HELLO[index])
    while True:
        pause()


def timer() -> None:
    """Say whether there is an HPET: Y or N."""
    say(89 if load32(HPET) == HPET_IDENTITY else 78)
    power_off()


HPET_ENABLED = 1
HPET_CONFIGURATION, HPET_COUNTER = HPET + 0x10, HPET + 0xF0


def clocks() -> None:
    """Answer each character with the TSC and the HPET's counter, eight bytes of each."""
    store64(HPET_CONFIGURATION, HPET_ENABLED)
    while True:
        while port_in8(PORT_UART + 5) & 1 == 0:
            pause()
        port_in8(PORT_UART)
        say_all(timestamp())
        say_all(load64(HPET_COUNTER))


def say_all(value: u64) -> None:
    """Eight bytes, the lowest first."""
    for place in range(8):
        say(u8(value >> (8 * place)))


def panics() -> None:
    """Tell of a panic with a crash kernel, whose own panic nobody takes care of."""
    port_out8(PORT_PVPANIC, Event.CRASH_LOADED)
    say(112)
    while True:
        port_out8(PORT_PVPANIC, Event.PANICKED)


def crash() -> None:
    """A page fault without an IDT: a triple fault."""
    while True:
        port_out8(PORT_UART, load8(0x7000_0000_0000))


SECTOR_BUFFER = 0x20_0000
PRD = 0x20_1000
END_OF_TABLE = 1 << 31
PCI_COMMAND = 0x8000_0004 | IDE_SLOT << 11
IO_AND_BUS_MASTER = 5
BUS_MASTER_START = 1
BUS_MASTER_INTO_MEMORY = 8
INTERRUPT = 1 << 18  # of a 32-bit read of the bus master's registers
FLUSHED_SECTORS = 2000
FEW_SECTORS = 50
READ_ROUNDS = 8  # of as many sectors
SOME_SECTORS = 600  # of which a guest writes some while a command starts
LBA_MODE = 0x40


def ata(command: u8) -> None:
    """Give drive 0 a command and wait until it has interrupted."""
    port_out8(PORT_IDE_BUS_MASTER + 2, 4)
    port_out8(PORT_IDE + Register.COMMAND, command)
    if command == Command.WRITE_DMA:
        port_out8(PORT_IDE_BUS_MASTER, BUS_MASTER_START)
    elif command == Command.READ_DMA:
        port_out8(PORT_IDE_BUS_MASTER, BUS_MASTER_INTO_MEMORY | BUS_MASTER_START)
    while port_in32(PORT_IDE_BUS_MASTER) & INTERRUPT == 0:
        pause()
    port_out8(PORT_IDE_BUS_MASTER, 0)


def find_disk() -> None:
    """Switch the IDE function on; its DMA goes to and from SECTOR_BUFFER."""
    port_out32(PORT_PCI_ADDRESS, PCI_COMMAND)
    port_out32(PORT_PCI_DATA, IO_AND_BUS_MASTER)
    store32(PRD, SECTOR_BUFFER)
    store32(PRD + 4, 512 | END_OF_TABLE)
    port_out32(PORT_IDE_BUS_MASTER + 4, PRD)


def sector_is(sector: u32) -> None:
    """The next command is for this one sector."""
    port_out8(PORT_IDE + Register.COUNT, 1)
    port_out8(PORT_IDE + Register.LBA_LOW, u8(sector))
    port_out8(PORT_IDE + Register.LBA_MID, u8(sector >> 8))
    port_out8(PORT_IDE + Register.LBA_HIGH, 0)
    port_out8(PORT_IDE + Register.DEVICE, LBA_MODE)


def write_by_ide(sectors: u32) -> None:
    """Write sector after sector, its number in it; say a full stop when it is flushed."""
    find_disk()
    for sector in range(sectors):
        store64(SECTOR_BUFFER, sector + 1)
        sector_is(sector)
        ata(Command.WRITE_DMA)
        ata(Command.FLUSH_CACHE)
        say(46)
    power_off()


def flush() -> None:
    """The same for FLUSHED_SECTORS."""
    write_by_ide(FLUSHED_SECTORS)


def some() -> None:
    """The same for SOME_SECTORS."""
    write_by_ide(SOME_SECTORS)


VIRTIO_CONFIGURATION = 0x8000_0000 | VIRTIO_SLOT << 11
NEXT_SLOT = 1 << 11
COMMAND = 4
MEMORY_AND_BUS_MASTER = 6
VIRTIO_DISK = 0x1042_1AF4
# A split queue of 4, and what a request on it needs; the next queue's are QUEUE_AREA on.
DESCRIPTORS, AVAILABLE, USED = 0x30_0000, 0x30_1000, 0x30_2000
HEADER, STATUS, DATA = 0x30_3000, 0x30_3010, 0x30_3200
QUEUE_AREA = 0x4000
QUEUES = 4  # of each disk that virtio_queues uses
IN, OUT, FLUSH, DISCARD = 0, 1, 4, 11
RANGE_SIZE = 16  # of a DISCARD's
DISCARD_FEATURE = 1 << 13
NEXT, WRITE = 1, 2
FLUSH_FEATURE = 1 << 9
VERSION_1 = 1  # of the upper half of the features


def has_virtio_disk(disk: u32) -> bool:
    """Whether function number `disk` is one."""
    port_out32(PORT_PCI_ADDRESS, u32(VIRTIO_CONFIGURATION + disk * NEXT_SLOT))
    return port_in32(PORT_PCI_DATA) == VIRTIO_DISK


def virtio_disk_count() -> u32:
    """How many there are."""
    disks: u32 = 0
    while has_virtio_disk(disks):
        disks = u32(disks + 1)
    return disks


def find_virtio(function: u32, queues: u32, features: u32) -> None:
    """Negotiate features and set so many queues up. Virtio 1.2, 3.1.1 and 4.1.4.3."""
    port_out32(PORT_PCI_ADDRESS, u32(VIRTIO_CONFIGURATION + function * NEXT_SLOT + COMMAND))
    port_out32(PORT_PCI_DATA, MEMORY_AND_BUS_MASTER)
    bar = u32(VIRTIO_BARS + function * VIRTIO_BAR_SIZE)
    store8(u32(bar + 0x14), 0)
    store8(u32(bar + 0x14), 3)
    store32(u32(bar + 8), 0)
    store32(u32(bar + 12), features)
    store32(u32(bar + 8), 1)
    store32(u32(bar + 12), VERSION_1)
    store8(u32(bar + 0x14), 11)
    for queue in range(queues):
        area = u32((function * queues + queue) * QUEUE_AREA)
        store16(u32(bar + 0x16), u16(queue))
        store16(u32(bar + 0x18), 4)
        store32(u32(bar + 0x20), u32(DESCRIPTORS + area))
        store32(u32(bar + 0x28), u32(AVAILABLE + area))
        store32(u32(bar + 0x30), u32(USED + area))
        store16(u32(bar + 0x1C), 1)
    store8(u32(bar + 0x14), 15)


def descriptor(area: u32, number: u32, address: u32, length: u32, flags: u32) -> None:
    """Fill one in; the next one is the next in the table."""
    place = u32(DESCRIPTORS + area + 16 * number)
    store64(place, u32(address + area))
    store32(u32(place + 8), length)
    store32(u32(place + 12), u32(flags | (number + 1) << 16))


def ask(each: u32, queues: u32, kind: u32, sector: u32, place: u32) -> None:
    """Make the request that is number `place` of all available, and notify the device.

    It is queue `each` of all disks, which have so many `queues` each.
    """
    area = u32(each * QUEUE_AREA)
    store32(u32(HEADER + area), kind)
    store64(u32(HEADER + area + 8), sector)
    descriptor(area, 0, HEADER, 16, NEXT)
    if kind in (IN, OUT, DISCARD):
        data = WRITE if kind == IN else 0
        descriptor(area, 1, DATA, RANGE_SIZE if kind == DISCARD else 512, NEXT | data)
        descriptor(area, 2, STATUS, 1, WRITE)
    else:
        descriptor(area, 1, STATUS, 1, WRITE)
    offer(each, queues, place)


def offer(each: u32, queues: u32, place: u32) -> None:
    """Make the chain that begins with descriptor 0 available, and notify the device."""
    area = u32(each * QUEUE_AREA)
    available = u32(AVAILABLE + area)
    store16(u32(available + 4 + 2 * (place & 3)), 0)
    store16(u32(available + 2), u16(place + 1))
    bar = u32(VIRTIO_BARS + each // queues * VIRTIO_BAR_SIZE)
    queue = each % queues
    store16(u32(bar + VIRTIO_NOTIFY + queue * VIRTIO_NOTIFY_STRIDE), u16(queue))


def await_answer(each: u32, place: u32) -> u8:
    """Wait for it; its status."""
    area = u32(each * QUEUE_AREA)
    while load16(u32(USED + area + 2)) != u16(place + 1):
        pause()
    return load8(u32(STATUS + area))


def write_by_virtio(sectors: u32, disks: u32, queues: u32) -> None:
    """Write sector after sector, its number and the disk's in it; then say a full stop.

    All disks do so at a time, and all queues, each for its part of the sectors.
    """
    total = u32(disks * queues)
    for disk in range(disks):
        find_virtio(disk, queues, FLUSH_FEATURE)
    for turn in range(sectors):
        failed: u8 = 0
        for step in range(2):
            place = u32(2 * turn + step)
            for each in range(total):
                sector = u32(each % queues * sectors + turn)
                store64(u32(DATA + each * QUEUE_AREA), u64((sector + 1) | each // queues << 32))
                ask(each, queues, FLUSH if step else OUT, sector, place)
            for each in range(total):
                failed |= await_answer(each, place)
        say(u8(46 + failed))
    power_off()


def virtio_flush() -> None:
    """As flush, by virtio."""
    write_by_virtio(FLUSHED_SECTORS, 1, 1)


def virtio_few() -> None:
    """The same for FEW_SECTORS."""
    write_by_virtio(FEW_SECTORS, 1, 1)


def virtio_some() -> None:
    """The same for SOME_SECTORS."""
    write_by_virtio(SOME_SECTORS, 1, 1)


def virtio_one_at_a_time() -> None:
    """Read sectors one at a time, READ_ROUNDS times FEW_SECTORS; say a full stop for each round in
    which each held its number and one.
    """
    find_virtio(0, 1, FLUSH_FEATURE)
    place: u32 = 0
    for _ in range(READ_ROUNDS):
        failed: u8 = 0
        for sector in range(FEW_SECTORS):
            ask(0, 1, IN, sector, place)
            failed |= await_answer(0, place)
            if load64(DATA) != sector + 1:
                failed = 1
            place = u32(place + 1)
        say(u8(46 + failed))
    power_off()


def virtio_discards() -> None:
    """Give back sectors 8 to 15, then one behind the disk's end; say 46 + the status of each."""
    find_virtio(0, 1, FLUSH_FEATURE | DISCARD_FEATURE)
    store32(DATA + 8, 8)
    store32(DATA + 12, 0)
    for turn in range(2):
        store64(DATA, 8 if turn == 0 else 1 << 40)
        ask(0, 1, DISCARD, 0, turn)
        say(u8(46 + await_answer(0, turn)))
    power_off()


def virtio_disks() -> None:
    """The same on all disks."""
    write_by_virtio(FEW_SECTORS, virtio_disk_count(), 1)


def virtio_queues() -> None:
    """The same by several queues of each."""
    write_by_virtio(FEW_SECTORS, virtio_disk_count(), QUEUES)


def virtio_some_disks() -> None:
    """SOME_SECTORS of all disks."""
    write_by_virtio(SOME_SECTORS, virtio_disk_count(), 1)


def virtio_some_queues() -> None:
    """The same by several queues of each."""
    write_by_virtio(SOME_SECTORS, virtio_disk_count(), QUEUES)


READ_ROUNDS, READ_PAGES, READ_PAGE = 8, 256, 0x40_0000  # the address of the first


def virtio_reads() -> None:
    """Read sector after sector of the first disk, each into a page of its own, in rounds.

    A sector begins with its number. Say a full stop for a round in which each page had the number
    that it had got in the round before.
    """
    find_virtio(0, 1, FLUSH_FEATURE)
    for turn in range(READ_ROUNDS):
        wrong: u8 = 0
        for page in range(READ_PAGES):
            number = u32(turn * READ_PAGES + page)
            address = u32(READ_PAGE + 4096 * page)
            if turn > 0 and load64(address) != u64(number - READ_PAGES):
                wrong = 1
            store32(HEADER, IN)
            store64(HEADER + 8, number)
            descriptor(0, 0, HEADER, 16, NEXT)
            descriptor(0, 1, address, 512, NEXT | WRITE)
            descriptor(0, 2, STATUS, 1, WRITE)
            offer(0, 1, number)
            wrong |= await_answer(0, number)
        say(u8(46 + wrong))
    power_off()


FILL_PAGES, FILL_PAGE = 4096, 0x80_0000  # the address of the first


def fills() -> None:
    """Count in a word of each page, one page after the other, for ever; a full stop a round."""
    number: u32 = 0
    while True:
        number = u32(number + 1)
        for page in range(FILL_PAGES):
            store32(u32(FILL_PAGE + 4096 * page), number)
        say(46)


HVC_QUEUES = 2  # of a console without named ports: input, output
HVC_OUTPUT = 3  # of all queues, behind the input of one disk's console
FLOOD_PIECE = 3500
FLOOD_PIECES = 40  # more than a terminal keeps for who reads it
FLOOD_PATIENCE = 1_000_000  # looks whether a piece has been taken
UART_FLOOD = 200  # characters of a line
SECTORS_AFTER_FLOOD = 5


def take_sectors() -> None:
    """Write SECTORS_AFTER_FLOOD to the first disk, without a word, and never end."""
    find_virtio(0, 1, FLUSH_FEATURE)
    for turn in range(SECTORS_AFTER_FLOOD):
        store64(DATA, turn + 1)
        for step in range(2):
            ask(0, 1, FLUSH if step else OUT, turn, u32(2 * turn + step))
            await_answer(0, u32(2 * turn + step))
    while True:
        pause()


def uart_floods() -> None:
    """Print two long lines, whether they are taken or not; then the disk's turn."""
    for _ in range(2):
        for _ in range(UART_FLOOD):
            say(120)
        say(10)
    take_sectors()


def hvc_floods() -> None:
    """Print to hvc0, which is behind one disk, until nothing is taken; then the disk's turn."""
    find_virtio(1, HVC_QUEUES, 0)
    area = u32(HVC_OUTPUT * QUEUE_AREA)
    pieces: u32 = 0
    patience: u32 = FLOOD_PATIENCE
    while patience > 0 and pieces < FLOOD_PIECES:
        descriptor(area, 0, DATA, FLOOD_PIECE, 0)
        offer(HVC_OUTPUT, HVC_QUEUES, pieces)
        pieces = u32(pieces + 1)
        patience = FLOOD_PATIENCE
        while patience > 0 and load16(u32(USED + area + 2)) != u16(pieces):
            patience = u32(patience - 1)
            pause()
    take_sectors()


REMEMBERED = 0x20_2000  # RAM that a guest fills and a reset must clear
RESETS = 2


def reset() -> None:
    """ACPI's way."""
    while True:
        port_out8(PORT_RESET, RESET_VALUE)


def resets_for_ever() -> None:
    """Say so, and reset."""
    say(114)
    reset()


def resets() -> None:
    """Count the starts in the first sector, reset twice, power off; say what RAM remembers."""
    say(u8(48 + (load64(REMEMBERED) & 1)))
    store64(REMEMBERED, 1)
    find_disk()
    sector_is(0)
    ata(Command.READ_DMA)
    starts = load64(SECTOR_BUFFER) & 7
    say(u8(65 + starts))
    store64(SECTOR_BUFFER, starts + 1)
    sector_is(0)
    ata(Command.WRITE_DMA)
    if starts < RESETS:
        reset()
    power_off()


# Say so by one string instruction, send back what comes, power off after a full stop.
# 8-bit IN is machine code because typed Python has none.
ECHO = (
    bytes.fromhex(
        "488d352a000000"  # lea rsi, [rip + 0x2a]: HELLO
        "b915000000"  # mov ecx, 21
        "baf8030000"  # mov edx, PORT_UART
        "f36e"  # rep outsb
        "b2fc"  # mov dl, modem control
        "b002"  # mov al, RTS: ready to receive
        "ee"  # out dx, al
        "b2fd"  # next: mov dl, line status
        "ec"  # in al, dx
        "a801"  # test al, data ready
        "74f9"  # jz next
        "b2f8"  # mov dl, data
        "ec"  # in al, dx
        "ee"  # out dx, al
        "3c2e"  # cmp al, '.'
        "75f1"  # jne next
        "ba00060000"  # mov edx, PORT_SLEEP_CONTROL
        "b034"  # mov al, SLP_TYP 5, SLP_EN
        "ee"  # out dx, al
        "ebfe"  # jmp to itself
    )
    + HELLO
)


class Kernels:
    """Kernels in a folder, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> str:
        """The path of the kernel `name`."""
        path = self._folder / name
        if not path.exists():
            write(name, path)
        return str(path)


def write(name: str, path: Path) -> None:
    """Make an ELF kernel of the function `name`, or of ECHO, at `path`."""
    if name == "echo":
        write_elf(ECHO, LOAD_ADDRESS, path)
        return
    image = compiling.image([globals()[name]], base=LOAD_ADDRESS, runtime="kernel")
    write_elf(image.code, LOAD_ADDRESS + image.symbols[name], path)


def write_elf(code: bytes, entry: int, path: Path) -> None:
    """An ELF file that loads `code` at LOAD_ADDRESS and starts at `entry`."""
    offset, size = 4096, len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 7, offset, LOAD_ADDRESS, LOAD_ADDRESS, size, size, offset)
    path.write_bytes((header + segment).ljust(offset, b"\0") + code)
