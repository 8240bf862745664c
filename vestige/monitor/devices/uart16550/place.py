"""Where the serial ports are: COM1 of a PC, and its IRQ; and COM2, which only a PC has."""

from vestige.abi import PIN_UART, PORT_UART, Board, Config
from vestige.place import Node, Place, Ports, Wire


def has_console(config: Config) -> bool:
    """Whether the guest's console is this port."""
    return config.console.present != 0


UART = Place(
    "uart",
    "uart16550",
    ports=(Ports(PORT_UART, 8),),
    wires=(Wire("line", PIN_UART),),
    timed=True,
    quiet=True,
    present=has_console,
    node=Node("COM1", "PNP0501"),
    link="console",
)
SECOND_UART = Place(
    "second_uart",
    "com2",
    ports=(Ports(0x2F8, 8),),
    wires=(Wire("line", 3),),
    timed=True,
    board=Board.PC,
    node=Node("COM2", "PNP0501"),
    configured=True,
)
