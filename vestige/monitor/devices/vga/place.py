"""Where the VGA is: 00:02.0 of a PC, at IBM's ports and at those of DISPI."""

from vestige.abi import VGA_MEMORY, WINDOW, WINDOW_SIZE, Board, Config
from vestige.monitor.devices.vga.ports_spec import (
    PORT_DISPI,
    PORT_FIRST,
    REGION,
    VIDEO_MEMORY,
    WINDOW_OFFSET,
    Register,
)
from vestige.place import Access, Bar, MemoryRange, Pci, Place, Ports


def is_wanted(config: Config) -> bool:
    """Whether the user wants a screen."""
    return config.vga != 0


def ports(first: Register, count: int) -> Ports:
    """So many registers, one behind the other."""
    return Ports(PORT_FIRST + first, count, offset=first)


VGA = Place(
    "vga",
    "vga",
    ports=(
        ports(Register.CRTC_INDEX_MONO, 2),
        ports(Register.STATUS_1_MONO, 1),
        ports(Register.ATTRIBUTE, 3),
        ports(Register.SEQUENCER_INDEX, 7),
        ports(Register.MISCELLANEOUS_READ, 1),
        ports(Register.GRAPHICS_INDEX, 2),
        ports(Register.CRTC_INDEX, 2),
        ports(Register.STATUS_1, 1),
        Ports(PORT_DISPI, 3, offset=Register.DISPI_INDEX),
    ),
    memory=MemoryRange(WINDOW, WINDOW_SIZE, Access.WHOLE, offset=WINDOW_OFFSET),
    pci=Pci(slot=2, bars=(Bar(0, VGA_MEMORY, VIDEO_MEMORY, region=REGION),)),
    board=Board.PC,
    present=is_wanted,
    configured=True,
    wide=True,
    displays=True,
    timed=True,
    queued=True,
)
