"""Where the real-time clock is: the ports of an AT. Its line is ISA's IRQ 8."""

from vestige.abi import Board
from vestige.place import Node, Place, Ports, Wire

PORT_INDEX = 0x70

RTC = Place(
    "rtc",
    "mc146818",
    ports=(Ports(PORT_INDEX, 2),),
    wires=(Wire("line", 8),),
    timed=True,
    quiet=True,
    board=Board.PC,
    node=Node("RTC0", "PNP0B00"),
    configured=True,
    resumes=True,
)
