"""Where the 8254 is: on the board of an old PC, with a port that the speaker's switch shares."""

from vestige.abi import PIN_TIMER, Board
from vestige.monitor.devices.i8254.spec import Register
from vestige.place import Node, Place, Ports, Wire

TIMER = Place(
    "pit",
    "i8254",
    ports=(Ports(0x40, 4), Ports(0x61, 1, offset=Register.NMI_STATUS)),
    wires=(Wire("line", PIN_TIMER),),
    timed=True,
    board=Board.PC,
    node=Node("TMR0", "PNP0100"),
)
