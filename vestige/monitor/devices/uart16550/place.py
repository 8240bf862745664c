"""Where the serial port is: COM1 of a PC."""

from vestige.abi import PORT_UART, Config
from vestige.place import Place, Ports


def has_console(config: Config) -> bool:
    """Whether the guest's console is this port."""
    return config.console.present != 0


UART = Place("uart", "uart16550", ports=(Ports(PORT_UART, 8),), present=has_console)
