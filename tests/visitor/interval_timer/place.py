"""Where the interval timer is: ports, memory and a pin that nobody else has."""

from tests.visitor.interval_timer.spec import MEMORY_SIZE, REGISTERS
from vestige.place import Access, MemoryRange, Node, Option, Place, Ports, Wire

PORT, MEMORY, PIN = 0x300, 0xFEB0_0000, 5

INTERVAL_TIMER = Place(
    "interval_timer",
    "interval_timer",
    ports=(Ports(PORT, REGISTERS, offset=0),),
    memory=MemoryRange(MEMORY, MEMORY_SIZE, Access.WHOLE),
    wires=(Wire("line", PIN),),
    timed=True,
    option=Option("--interval-timer", help="give the guest an interval timer"),
    node=Node("ITMR", "TEST0001"),
)
