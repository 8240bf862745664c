"""Lines on COM1, once the firmware's console is the guest's. Source: 16550 data sheet, 8.4."""

from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import port_in8, port_out8
from vestige.lang.types import u8

DATA, LINE_STATUS, EMPTY = 0x3F8, 0x3FD, 0x20
TRIES = 100_000


def write_line(shell: Shell) -> None:
    """Write the line there is, whether anybody reads it or not."""
    for place in range(shell.length):
        write(u8(shell.line[place] & 0xFF))
    write(0x0D)
    write(0x0A)


def write(letter: u8) -> None:
    """One letter, once there is room; not for ever."""
    for _ in range(TRIES):
        if port_in8(LINE_STATUS) & EMPTY:
            break
    port_out8(DATA, letter)
