"""What the shell knows on one processor: common.py has what changes for all of them."""

from vestige.efiemu.shell.announcement import Announcement
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.decode import Decoder
from vestige.efiemu.shell.events import Events
from vestige.efiemu.shell.instruction import Instruction
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.operands import Operands
from vestige.efiemu.shell.registers import Registers
from vestige.efiemu.shell.strings import Transfer
from vestige.efiemu.shell.uefi import Guid
from vestige.efiemu.shell.walk import Walk
from vestige.lang.types import Struct, u8, u16, u32, u64

LONGEST = 200  # characters of a line
PATH_SIZE = 1024  # bytes
BRIDGES = 8  # one behind the other
ROOM = LONGEST + 3  # and CR, LF and NUL


class Leaf(Struct):
    """What CPUID answers."""

    eax: u32
    ebx: u32
    ecx: u32
    edx: u32


class ProcessorState(Struct):
    """What read_state reads."""

    padding_0: u8[6]
    gdt_limit: u16
    gdt: u64
    padding_16: u8[6]
    idt_limit: u16
    idt: u64
    es: u16
    cs: u16
    ss: u16
    ds: u16
    cr0: u64
    cr2: u64
    cr3: u64
    cr4: u64
    dr6: u64
    dr7: u64


class World(Struct):
    """Where take_over goes on."""

    vmcb: u64
    cr3: u64
    stack: u64
    state: u64
    padding_32: u8[6]
    gdt_limit: u16
    gdt: u64
    padding_48: u8[6]
    idt_limit: u16
    idt: u64
    distance: u64  # of the copy of the code from the code


class Shell(Struct):
    """Zeroed before the firmware enters the application.

    What is found out before the takeover is the same on all processors afterwards, and stays.
    """

    number: u32  # of this processor; 0: the one that the firmware runs on
    processors: u32  # that the machine has
    identities: u8[CPUS]  # of their local APICs, by number
    apic: u64  # physical address of the local APICs
    low: u64  # physical address of two pages below 1 MiB
    boot: u64  # EFI_BOOT_SERVICES
    output: u64  # EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL
    line: u16[ROOM]  # being written
    length: u32  # characters of it
    leaf: Leaf
    guid: Guid  # for a call
    answer: u64[5]  # of a call
    image: u64  # EFI_LOADED_IMAGE_PROTOCOL
    file: u64  # where the load options name what to boot, as CHAR16; 0: they don't
    file_size: u32  # bytes of that and of what follows
    word: u64  # where the word of the load options is that was looked at last
    word_size: u32  # characters of it
    met: u32  # what is in the way of booting, a Text; NOTHING: it has been done
    status: u64  # of the firmware's, where it is that
    path: u8[PATH_SIZE]  # a device path
    announcement: Announcement
    constants: u64  # address of the Constants
    block: u64  # physical address of the shell's memory
    host_root: u64  # physical addresses of page tables' roots
    guest_root: u64
    monitor_root: u64
    vmcb: u64
    state: ProcessorState
    world: World
    guest: Registers
    found: Instruction  # that the guest is at
    decoder: Decoder
    transfer: Transfer
    operands: Operands
    events: Events
    wanted: u32  # the controller that the load options name; NOWHERE: none
    controllers: u32  # NVMe controllers found
    controller: u32  # the last one of them, or the one wanted: bus, device and function
    identity: u32  # its vendor and device
    bar: u64  # physical addresses: its registers, its table of interrupts
    vectors: u64
    msix: u8  # where that is switched on, in configuration space
    handle: u64  # the firmware's handle of it; 0: there is none
    old_ide: u32  # the chip set's IDE in its place of 1997, which is hidden; NOWHERE: there is none
    old_handle: u64
    second: u32  # where the IDE is, too: on bus 0; NOWHERE: it is there anyway
    bridges: u32  # that lead to the controller
    bridge: u32[BRIDGES]
    memory: Memory  # RAM, without the block
    walk: Walk
    failed: u8  # 1: the monitor has; Shell.line says why
    pending: u8  # 1: an NMI has come while the monitor ran
    answers: u64  # of the controller's, that the shell knows the monitor has taken
    owed: u8  # NMIs that may still come for those, on the first processor
    owed_since: u64  # when the last one of them was owed, by the time-stamp counter
    sent: u64  # interrupts, and those that a masked pin has lost
    dropped: u64
    ecam: u64  # physical address of configuration space for bus 0; 0: there is none in memory
    first_bus: u8  # that it has
    last_bus: u8
