"""Where the keyboard controller is: IBM's ports, and the one for a fast A20 and reset."""

from vestige.abi import Board
from vestige.place import Node, Place, Ports, Wire

PORT_DATA = 0x60
PORT_COMMAND = 0x64
PORT_SYSTEM_CONTROL = 0x92  # System Control Port A

KEYBOARD_CONTROLLER = Place(
    "keyboard_controller",
    "i8042",
    ports=(Ports(PORT_DATA, 1), Ports(PORT_COMMAND, 1), Ports(PORT_SYSTEM_CONTROL, 1)),
    wires=(Wire("keyboard_line", 1), Wire("mouse_line", 12)),
    timed=True,
    quiet=True,
    board=Board.PC,
    node=Node("PS2K", "PNP0303", ("keyboard_line",)),
    other_node=Node("PS2M", "PNP0F13", ("mouse_line",), has_registers=False),
    ends=True,
    resets_processors=True,
    configured=True,
    takes_events=True,
    gates=True,
)
