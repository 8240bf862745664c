"""Where the sleep, reset and PM1 registers are: three groups of ports, as the FADT says.

A PC has its chipset's instead: piix4_pm.
"""

from vestige.abi import PORT_PM1_END, PORT_PM1_EVENT, PORT_RESET, PORT_SLEEP_CONTROL, Board
from vestige.place import Place, Ports

ACPI_REGISTERS = Place(
    "acpi",
    "acpi-registers",
    ports=(
        Ports(PORT_SLEEP_CONTROL, 2),
        Ports(PORT_RESET, 1),
        Ports(PORT_PM1_EVENT, PORT_PM1_END - PORT_PM1_EVENT),
    ),
    board=Board.MODERN,
    ends=True,
)
