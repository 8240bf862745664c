"""Lines on the firmware's console."""

from ctypes import sizeof

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.constants import Check
from vestige.efiemu.shell.state import LONGEST, Shell
from vestige.efiemu.shell.texts import LETTERS, STARTS, Text
from vestige.lang.intrinsics import address_of, load8, load16
from vestige.lang.types import u8, u16, u32, u64

COLON, DOT, SPACE, UNKNOWN = 0x3A, 0x2E, 0x20, 0x3F
LAST = 0x7E  # of ASCII that is seen
DIGITS = b"0123456789abcdef"


def begin_line(shell: Shell, text: u32) -> None:
    """A new line, which begins with the application's name and a Text."""
    shell.length = 0
    put_text(shell, Text.NAME)
    put_text(shell, text)


def put(shell: Shell, letter: u8) -> None:
    """A letter of the line. What is longer than a line is left out."""
    if shell.length < LONGEST:
        shell.line[shell.length] = letter
        shell.length += 1


def put_text(shell: Shell, text: u32) -> None:
    """A Text."""
    for place in range(STARTS[text], STARTS[text + 1]):
        put(shell, LETTERS[place])


def put_hexadecimal(shell: Shell, value: u64, digits: u8) -> None:
    """The low `digits` digits of a number."""
    for number in range(digits):
        put(shell, DIGITS[(value >> (4 * (digits - 1 - number)) % 64) & 0xF])


def put_location(shell: Shell, function: u32) -> None:
    """Where a PCI function is, as lspci writes it: bus, device and function."""
    put_hexadecimal(shell, function >> 8, 2)
    put(shell, COLON)
    put_hexadecimal(shell, function >> 3 & 31, 2)
    put(shell, DOT)
    put_hexadecimal(shell, function & 7, 1)


def put_check(shell: Shell, table: u64, check: u32) -> None:
    """What a check was, by a table of checks: FILE:LINE: REASON."""
    row = Check.at(u64(table + sizeof(Check) * check))
    put_line(shell, u64(table + row.file), row.line)
    put(shell, COLON)
    put(shell, SPACE)
    put_string(shell, u64(table + row.reason))


def put_line(shell: Shell, file: u64, line: u16) -> None:
    """FILE:LINE."""
    put_string(shell, file)
    put(shell, COLON)
    put_decimal(shell, line)


def put_string(shell: Shell, place: u64) -> None:
    """One that is behind its length."""
    for number in range(load8(place)):
        put(shell, load8(u64(place + 1 + number)))


def put_wide(shell: Shell, text: u64, length: u32) -> None:
    """Characters that somebody has given, of UTF-16. What may move a cursor is a question mark."""
    for number in range(length):
        put_letter(shell, load16(u64(text + 2 * number)))


def put_letter(shell: Shell, letter: u16) -> None:
    """One of them."""
    put(shell, u8(letter) if SPACE <= letter <= LAST else UNKNOWN)


def put_decimal(shell: Shell, value: u16) -> None:
    """A number as people write it."""
    begun = False
    for power in (10_000, 1000, 100, 10, 1):
        digit = value // power % 10
        if digit or power == 1:
            begun = True
        if begun:
            put(shell, DIGITS[digit])


def end_line(shell: Shell) -> None:
    """Show the line. UEFI 2.10, 12.4.3."""
    for letter in (0x0D, 0x0A, 0):
        shell.line[shell.length] = letter
        shell.length += 1
    shell.length = 0
    uefi.call(shell.output, uefi.OUTPUT_STRING, shell.output, address_of(shell.line))


def tell(shell: Shell, text: u32) -> None:
    """A whole line."""
    begin_line(shell, text)
    end_line(shell)
