"""Where fw_cfg is: QEMU's ports, docs/specs/fw_cfg.rst. It is a PC's, whose firmware needs it."""

from vestige.abi import PORT_FW_CFG, PORT_FW_CFG_DMA, Board
from vestige.place import Node, Place, Ports

FIRMWARE_CONFIGURATION = Place(
    "fw_cfg",
    "fw_cfg",
    ports=(Ports(PORT_FW_CFG, 2), Ports(PORT_FW_CFG_DMA, 8)),
    board=Board.PC,
    node=Node("FWCF", "QEMU0002"),
    configured=True,
    wide=True,
)
