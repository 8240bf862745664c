"""Where the bridge to ISA is: function 0 of the PIIX3, whose function 1 is the IDE."""

from vestige.abi import Board
from vestige.place import Pci, Place

ISA_BRIDGE = Place("isa_bridge", "piix3-isa", pci=Pci(slot=1), board=Board.PC)
