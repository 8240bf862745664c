"""Where pvpanic is: QEMU's port, docs/specs/pvpanic.rst."""

from vestige.abi import PORT_PVPANIC
from vestige.place import Node, Place, Ports

PVPANIC = Place(
    "pvpanic",
    "pvpanic",
    ports=(Ports(PORT_PVPANIC, 1),),
    ends=True,
    notice=b"the guest's kernel panicked, and its crash kernel takes over",
    node=Node("PEVT", "QEMU0001"),
)
