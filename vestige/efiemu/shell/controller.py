"""The NVMe controller, in PCI's configuration space. Source: PCI Local Bus 3.0, 3.2.2.3 and 6.

It is read by ports 0xCF8 and 0xCFC, which every machine has that this is for.
"""

from vestige.abi import PORT_PCI_ADDRESS, PORT_PCI_DATA
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.lang.intrinsics import port_in32, port_out32
from vestige.lang.types import u8, u32
from vestige.monitor.devices.pci.spec import (
    CAPABILITY_MSIX,
    STATUS_CAPABILITIES,
    Address,
    Register,
)

NOBODY = 0xFFFF
NVME = 0x010802
SEVERAL_FUNCTIONS = 1 << 23  # of the word with HEADER_TYPE
MOST_CAPABILITIES = 48  # in 192 bytes
DEVICES, FUNCTIONS = 256 * 32, 8
NOWHERE = 0xFFFF_FFFF


def read_config(function: u32, offset: u8) -> u32:
    """The word of 32 bits that a register is in; `function` is bus, device and function."""
    port_out32(PORT_PCI_ADDRESS, Address.ENABLE | (function & 0xFFFF) << 8 | offset & 0xFC)
    return port_in32(PORT_PCI_DATA)


def find_controller(shell: Shell) -> u32:
    """Find the one to take: why there is none, or Text.NOTHING."""
    shell.controllers, shell.controller = 0, NOWHERE
    for device in range(DEVICES):
        look_at_device(shell, u32(device * FUNCTIONS))
    if shell.controllers == 0:
        return Text.NO_NVME
    if shell.wanted != NOWHERE:
        shell.controller = shell.wanted
        if read_config(shell.wanted, Register.REVISION) >> 8 != NVME:
            return Text.NOT_THERE
    elif shell.controllers > 1:
        return Text.SEVERAL
    shell.identity = read_config(shell.controller, Register.VENDOR)
    return Text.NOTHING if has_msix(shell.controller) else Text.NO_MSIX


def look_at_device(shell: Shell, first: u32) -> None:
    """Count the NVMe controllers of a device, by its first function."""
    if read_config(first, Register.VENDOR) & 0xFFFF == NOBODY:
        return
    count = FUNCTIONS if read_config(first, Register.HEADER_TYPE) & SEVERAL_FUNCTIONS else 1
    for number in range(count):
        function = u32(first + number)
        if read_config(function, Register.REVISION) >> 8 == NVME:
            shell.controllers += 1
            shell.controller = function


def has_msix(function: u32) -> bool:
    """Whether it has the capability. PCI Local Bus 3.0, 6.7 and 6.8.2."""
    if not read_config(function, Register.STATUS) >> 16 & STATUS_CAPABILITIES:
        return False
    offset = u8(read_config(function, Register.CAPABILITIES) & 0xFC)
    for _ in range(MOST_CAPABILITIES):
        if offset == 0:
            return False
        word = read_config(function, offset)
        if word & 0xFF == CAPABILITY_MSIX:
            return True
        offset = u8(word >> 8 & 0xFC)
    return False
