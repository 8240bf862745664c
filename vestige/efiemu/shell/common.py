"""What all processors of the shell share, in its block: `Common.lock` guards what changes."""

from vestige.efiemu.shell.pages import Tables
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.core.lock import Lock

CPUS = 8  # that there is room for
CONFIG_WORDS = 64


class Arrival(Struct):
    """What a processor is told that arrives by a STARTUP IPI: runtime/efi.s."""

    root: u64  # CR3
    parts: u64  # where each processor's part of the block is, by number
    padding_16: u8[6]
    gdt_limit: u16
    gdt: u64
    padding_32: u8[6]
    idt_limit: u16
    idt: u64
    identities: u32[CPUS]  # of local APICs, by number
    count: u32  # of them
    part_size: u32


class Startup(Struct):
    """What is at the page that a STARTUP IPI leads to: runtime/efi.s, with what is filled in."""

    code: u8[0xC0]
    root: u64  # the first CR3, below 4 GiB
    far: u32  # where it goes on in long mode
    selector: u16
    padding_ce: u16
    gdt_limit: u16
    gdt_low: u16
    gdt_high: u16
    padding_d6: u16
    descriptors: u64[3]  # the GDT
    entry: u64  # in the shell's code
    arrival: u64  # address of the Arrival


class ConfigCopy(Struct):
    """What the monitor has said of the IDE's configuration space."""

    lock: Lock  # of this, and over each access of that space
    which: u64  # words that are known, a bit each
    words: u32[CONFIG_WORDS]


class Common(Struct):
    """Zeroed before the firmware's devices are taken."""

    arrival: Arrival
    startup: Startup  # as it is to be
    pages: u8[CPUS]  # where the guest wants a processor to start, by number: its STARTUP IPI
    joined: u8[CPUS]  # 1: it has arrived, or is the one that the firmware runs on
    end: Lock  # which is not released: no processor is to go on
    lock: Lock
    ioapic: Lock  # while the chip shows what somebody has chosen
    selected: u32  # what the guest has chosen in it
    tables: Tables  # room for page tables
    config: ConfigCopy
    bus_master: u16  # the IDE's first port; 0: it answers to none
