"""Where the serial port is: COM1 of a PC, and its IRQ."""

from vestige.abi import PIN_UART, PORT_UART, Config
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
    present=has_console,
    node=Node("COM1", "PNP0501"),
    link="console",
)
