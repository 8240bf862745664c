"""Where power management is: function 3 of the PIIX's device, its ports where PMBA says."""

from vestige.abi import PIN_SCI, Board
from vestige.place import Function, Pci, Place, Wire

POWER_MANAGEMENT = Place(
    "power_management",
    "piix4-pm",
    pci=Pci(slot=1, on_pc=Function(1, 3), moves_ports=True),
    wires=(Wire("line", PIN_SCI),),
    timed=True,
    board=Board.PC,
    ends=True,
    configured=True,
)
