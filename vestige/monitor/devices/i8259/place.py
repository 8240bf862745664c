"""Where the interrupt controllers are: where every PC has them."""

from vestige.abi import Board
from vestige.monitor.devices.i8259.spec import ELCR_PORT, MASTER_PORT, SLAVE_PORT, Register
from vestige.place import Node, Place, Ports

PIC = Place(
    "pic",
    "i8259",
    ports=(
        Ports(MASTER_PORT, 2, Register.MASTER_COMMAND),
        Ports(SLAVE_PORT, 2, Register.SLAVE_COMMAND),
        Ports(ELCR_PORT, 2, Register.MASTER_ELCR),
    ),
    board=Board.PC,
    node=Node("PIC0", "PNP0000"),
    configured=True,
    queued=True,
    injects=True,
)
