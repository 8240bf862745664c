"""Where the interrupt controllers are: where every PC has them."""

from vestige.abi import Board
from vestige.monitor.devices.i8259.spec import ELCR_PORT, MASTER_PORT, SLAVE_PORT, Register
from vestige.place import Place, Ports

PIC = Place(
    "pic",
    "i8259",
    ports=(
        Ports(MASTER_PORT, 2, Register.MASTER_COMMAND),
        Ports(SLAVE_PORT, 2, Register.SLAVE_COMMAND),
        Ports(ELCR_PORT, 2, Register.MASTER_ELCR),
    ),
    board=Board.PC,
    injects=True,
)
