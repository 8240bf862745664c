"""Where the IDE is: its slot, and its BARs before the first instruction, in native mode.

On a PC it is function 1 of the PIIX3, in compatibility mode, where only the bus master has a BAR.

Where the machine has control blocks and bus master in memory, BARs 1, 3 and 4 are pages there.
"""

from vestige.abi import (
    IDE_MEMORY_BUS_MASTER,
    IDE_MEMORY_CONTROL,
    IDE_MEMORY_PAGE,
    IDE_MEMORY_SECONDARY_CONTROL,
    IDE_SLOT,
    PIN_PCI_INTA,
    PORT_IDE,
    PORT_IDE_BUS_MASTER,
    PORT_IDE_CONTROL,
    PORT_IDE_SECONDARY,
    PORT_IDE_SECONDARY_CONTROL,
    Board,
    Bus,
    Config,
)
from vestige.monitor.devices.piix3_ide.pci_spec import (
    BUS_MASTER_SIZE,
    CHANNELS,
    COMMAND_BLOCK_SIZE,
    COMPATIBILITY_INTERRUPT,
    CONTROL_BLOCK_SIZE,
)
from vestige.monitor.devices.piix3_ide.pci_spec import Bar as Number
from vestige.place import Access, Bar, Function, Pci, Place, Post, Requests, Routed, Space

BUS_MASTER_BAR = Bar(Number.BUS_MASTER, PORT_IDE_BUS_MASTER, BUS_MASTER_SIZE, Space.PORTS)
NATIVE_BARS = tuple(
    Bar(number, first, size, Space.PORTS, Board.MODERN)
    for number, first, size in (
        (Number.PRIMARY_COMMAND, PORT_IDE, COMMAND_BLOCK_SIZE),
        (Number.PRIMARY_CONTROL, PORT_IDE_CONTROL, CONTROL_BLOCK_SIZE),
        (Number.SECONDARY_COMMAND, PORT_IDE_SECONDARY, COMMAND_BLOCK_SIZE),
        (Number.SECONDARY_CONTROL, PORT_IDE_SECONDARY_CONTROL, CONTROL_BLOCK_SIZE),
    )
)
MEMORY_BARS = (
    Bar(Number.PRIMARY_CONTROL, IDE_MEMORY_CONTROL, IDE_MEMORY_PAGE),
    Bar(Number.SECONDARY_CONTROL, IDE_MEMORY_SECONDARY_CONTROL, IDE_MEMORY_PAGE),
    Bar(Number.BUS_MASTER, IDE_MEMORY_BUS_MASTER, IDE_MEMORY_PAGE),
)
# The starts that a channel's command register offers: channel n >> 1, to memory if n & 1.
POSTS = (
    Post(IDE_MEMORY_BUS_MASTER, 0x11),
    Post(IDE_MEMORY_BUS_MASTER, 0x19),
    Post(IDE_MEMORY_BUS_MASTER + 8, 0x11),
    Post(IDE_MEMORY_BUS_MASTER + 8, 0x19),
)


def in_memory(config: Config) -> bool:
    """Whether control blocks and bus master are."""
    return config.ide_in_memory != 0


IDE = Place(
    "ide",
    "piix3-ide",
    pci=Pci(
        IDE_SLOT,
        bars=(*NATIVE_BARS, BUS_MASTER_BAR, *MEMORY_BARS),
        access=Access.TAKEN,
        on_pc=Function(1, 1),
    ),
    routed=(Routed("channels", CHANNELS, (*COMPATIBILITY_INTERRUPT, PIN_PCI_INTA)),),
    configured=True,
    wide=True,
    strings=True,
    quiet=True,
    queued=True,
    disks=Bus.IDE,
    requests=Requests("channels", CHANNELS, first=0),
    posts=POSTS,
    posting=in_memory,
    shows=True,
)
