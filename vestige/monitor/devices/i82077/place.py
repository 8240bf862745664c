"""Where the floppy disk controller is: an AT's ports but for the IDE's among them, IRQ 6, DMA 2."""

from vestige.abi import Board, Bus, Config
from vestige.monitor.block import FLOPPY_REQUEST
from vestige.place import Node, Place, Ports, Requests, Wire

PORT_FLOPPY = 0x3F0


def has_drives(config: Config) -> bool:
    """Whether the user asked for one."""
    return config.floppies[0] != 0


FLOPPY = Place(
    "floppy",
    "i82077",
    ports=(Ports(PORT_FLOPPY, 6), Ports(PORT_FLOPPY + 7, 1)),
    wires=(Wire("line", 6),),
    board=Board.PC,
    present=has_drives,
    node=Node("FDC0", "PNP0700"),
    configured=True,
    disks=Bus.FLOPPY,
    requests=Requests("controllers", 1, first=FLOPPY_REQUEST),
    dma=2,
)
