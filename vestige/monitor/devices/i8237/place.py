"""Where the DMA controllers are: an AT's ports, and those of its page registers."""

from vestige.abi import Board
from vestige.monitor.devices.i8237.spec import (
    FIRST_PORTS,
    PAGES,
    PORT_FIRST,
    PORT_PAGES,
    PORT_SECOND,
    SECOND_PORTS,
)
from vestige.place import Place, Ports

DMA = Place(
    "dma",
    "i8237",
    ports=(
        Ports(PORT_FIRST, FIRST_PORTS),
        Ports(PORT_PAGES, PAGES),
        Ports(PORT_SECOND, SECOND_PORTS),
    ),
    board=Board.PC,
    configured=True,
    carries=True,
)
