"""Where each register is, as tables for the core. Whoever imports this has all devices checked.

The monitor does, when it is compiled: a run that finds it compiled needs neither.
"""

from vestige.abi import Board
from vestige.claims import accesses, check, check_types, functions, rows
from vestige.devices import DEVICES, VIRTIO_TYPES

check(DEVICES)
check_types(DEVICES, VIRTIO_TYPES)
PORT_ROWS = rows(DEVICES)  # where each port is
FUNCTION_ROWS = functions(DEVICES, Board.MODERN)  # and each function on PCI bus 0
PC_FUNCTION_ROWS = functions(DEVICES, Board.PC)
ACCESSES = accesses(DEVICES)  # place.Access to the memory of each row
