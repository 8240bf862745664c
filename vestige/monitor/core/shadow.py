"""The pages in which a guest reads the IDE's registers without an exit.

The guest VM maps them read-only where the BARs are at first. They hold what the bus would
answer at those addresses, also after the guest has moved a BAR or switched decoding off. Only
registers whose reads have no effect are there: control blocks and bus master.
"""

from vestige.abi import IDE_MEMORY, IDE_MEMORY_PAGE, IDE_MEMORY_PAGES, Config
from vestige.lang.intrinsics import fill, store32
from vestige.lang.types import u64
from vestige.monitor.devices.piix3_ide.function import Ide
from vestige.monitor.devices.piix3_ide.pci_spec import BUS_MASTER_SIZE


def clear_shadow(config: Config) -> None:
    """Nobody decodes anything yet."""
    if config.shadow != 0:
        fill(config.shadow, 0xFF, IDE_MEMORY_PAGES * IDE_MEMORY_PAGE)


def show_registers(ide: Ide, config: Config) -> None:
    """Bring the pages up to date, the lock being held; before any interrupt that tells of it.

    A drive's status comes before the bus master's interrupt bit, as from a drive: it stops
    being busy, then it raises INTRQ. Aligned 32 bits are stored, and so read, at once.
    """
    if config.shadow == 0:
        return
    for page in range(IDE_MEMORY_PAGES):
        for register in range(0, BUS_MASTER_SIZE, 4):
            offset = page * IDE_MEMORY_PAGE + register
            store32(u64(config.shadow + offset), ide.read_memory(IDE_MEMORY + offset, 4))
