"""The NVMe controller, in PCI's configuration space. Source: PCI Local Bus 3.0, 3.2.2.3 and 6.

It is read by ports 0xCF8 and 0xCFC, which every machine has that this is for.
"""

from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.lang.intrinsics import port_in32, port_out32
from vestige.lang.types import u8, u32

CONFIG_ADDRESS, CONFIG_DATA, ENABLED = 0xCF8, 0xCFC, 1 << 31
IDENTITY, STATUS, CLASS, HEADER, CAPABILITIES = 0x00, 0x04, 0x08, 0x0C, 0x34
NOBODY = 0xFFFF
NVME = 0x010802
SEVERAL_FUNCTIONS = 1 << 23  # of the word at HEADER
HAS_CAPABILITIES = 1 << 20  # of the word at STATUS
MSIX = 0x11
MOST_CAPABILITIES = 48  # in 192 bytes
DEVICES, FUNCTIONS = 256 * 32, 8
NOWHERE = 0xFFFF_FFFF


def read_config(function: u32, offset: u8) -> u32:
    """A word of a function's configuration space; `function` is bus, device and function."""
    port_out32(CONFIG_ADDRESS, ENABLED | (function & 0xFFFF) << 8 | offset & 0xFC)
    return port_in32(CONFIG_DATA)


def find_controller(shell: Shell) -> u32:
    """Find the one to take: why there is none, or Text.NOTHING."""
    shell.controllers, shell.controller = 0, NOWHERE
    for device in range(DEVICES):
        look_at_device(shell, u32(device * FUNCTIONS))
    if shell.controllers == 0:
        return Text.NO_NVME
    if shell.wanted != NOWHERE:
        shell.controller = shell.wanted
        if read_config(shell.wanted, CLASS) >> 8 != NVME:
            return Text.NOT_THERE
    elif shell.controllers > 1:
        return Text.SEVERAL
    shell.identity = read_config(shell.controller, IDENTITY)
    return Text.NOTHING if has_msix(shell.controller) else Text.NO_MSIX


def look_at_device(shell: Shell, first: u32) -> None:
    """Count the NVMe controllers of a device, by its first function."""
    if read_config(first, IDENTITY) & 0xFFFF == NOBODY:
        return
    count = FUNCTIONS if read_config(first, HEADER) & SEVERAL_FUNCTIONS else 1
    for number in range(count):
        function = u32(first + number)
        if read_config(function, CLASS) >> 8 == NVME:
            shell.controllers += 1
            shell.controller = function


def has_msix(function: u32) -> bool:
    """Whether it has the capability. PCI Local Bus 3.0, 6.7 and 6.8.2."""
    if not read_config(function, STATUS) & HAS_CAPABILITIES:
        return False
    offset = u8(read_config(function, CAPABILITIES) & 0xFC)
    for _ in range(MOST_CAPABILITIES):
        if offset == 0:
            return False
        word = read_config(function, offset)
        if word & 0xFF == MSIX:
            return True
        offset = u8(word >> 8 & 0xFC)
    return False
