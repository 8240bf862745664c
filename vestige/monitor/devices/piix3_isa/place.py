"""Where the bridge to ISA is: function 0 of the PIIX3, whose function 1 is the IDE; its reset."""

from vestige.abi import Board
from vestige.monitor.devices.piix3_isa.spec import PORT_RESET_CONTROL
from vestige.place import Pci, Place, Ports

ISA_BRIDGE = Place(
    "isa_bridge",
    "piix3-isa",
    ports=(Ports(PORT_RESET_CONTROL, 1),),
    pci=Pci(slot=1),
    board=Board.PC,
    ends=True,
    resets_processors=True,
    configured=True,
    steers=True,
)
