"""What all processors of the shell share, in its block: `Common.lock` guards what changes."""

from vestige.efiemu.shell.pages import Tables
from vestige.lang.types import Struct, u16, u32
from vestige.monitor.core.lock import Lock

CPUS = 8  # that there is room for


class Common(Struct):
    """Zeroed before the firmware's devices are taken."""

    lock: Lock
    tables: Tables  # room for page tables
    bus_master: u16  # the IDE's first port; 0: it answers to none
    config_address: u32  # what the guest has written to CONFIG_ADDRESS
