"""A CPU at its first instruction, as plain data: whoever runs the CPU turns it into its own form.

Segment attributes are those of a descriptor: Intel SDM vol. 3, 3.4.5.
"""

CODE = 0xB  # execute, read, accessed
DATA = 0x3  # read, write, accessed
TSS = 0xB  # of a system segment: busy 32-bit or 64-bit TSS

CR0_PE = 1 << 0
CR0_ET = 1 << 4
CR0_NE = 1 << 5
CR0_WP = 1 << 16
CR0_PG = 1 << 31
CR4_PAE = 1 << 5
EFER_LME = 1 << 8
EFER_LMA = 1 << 10

RFLAGS_RESERVED = 1 << 1  # always 1; interrupts are off

# Firmware's job elsewhere: caching on, write-back by default. Without it Linux finds its MTRRs
# "disabled by BIOS", and a passed-through device makes all of RAM uncached.
MSR_MTRR_DEFAULT_TYPE = 0x2FF
MTRR_ENABLE_WRITE_BACK = 1 << 11 | 6


class Segment:
    """A segment register with its hidden part; `limit` is in bytes, granularity applied."""

    __slots__ = (
        "base",
        "default_32",
        "granularity",
        "limit",
        "long",
        "nonsystem",
        "selector",
        "type",
    )

    def __init__(
        self,
        selector: int,
        type_: int,
        *,
        limit: int = 0xFFFF_FFFF,
        long: bool = False,
        default_32: bool = True,
        nonsystem: bool = True,
    ) -> None:
        self.base = 0
        self.limit = limit
        self.selector = selector
        self.type = type_
        self.long = long  # L: 64-bit code
        self.default_32 = default_32  # D/B
        self.nonsystem = nonsystem  # S: code or data
        self.granularity = limit > 0xF_FFFF  # G: 4 KiB units


class CpuState:
    """Registers of the boot CPU. Those not named are 0; all segments are present, DPL 0.

    `data` is for DS, ES, FS, GS and SS. The LDT is unusable, the IDT empty (limit 0). `msrs`
    are (number, value) pairs meant for every CPU of the machine.
    """

    __slots__ = (
        "code",
        "cr0",
        "cr3",
        "cr4",
        "data",
        "efer",
        "gdt_base",
        "gdt_limit",
        "msrs",
        "rax",
        "rbx",
        "rflags",
        "rip",
        "rsi",
        "rsp",
        "task",
    )

    def __init__(
        self,
        *,
        rip: int,
        code: Segment,
        data: Segment,
        task: Segment,
        gdt_base: int,
        gdt_limit: int,
        cr0: int,
        cr3: int = 0,
        cr4: int = 0,
        efer: int = 0,
        rsp: int = 0,
        rsi: int = 0,
        rbx: int = 0,
        rax: int = 0,
    ) -> None:
        self.rip = rip
        self.rsp = rsp
        self.rsi = rsi
        self.rbx = rbx
        self.rax = rax
        self.rflags = RFLAGS_RESERVED
        self.code = code
        self.data = data
        self.task = task
        self.gdt_base = gdt_base
        self.gdt_limit = gdt_limit
        self.cr0 = cr0
        self.cr3 = cr3
        self.cr4 = cr4
        self.efer = efer
        self.msrs = ((MSR_MTRR_DEFAULT_TYPE, MTRR_ENABLE_WRITE_BACK),)
