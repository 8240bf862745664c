"""Load options: what follows the application's name where it is started. UEFI 2.10, 9.1."""

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.handles import protocol_of
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.uefi import LoadedImage
from vestige.lang.intrinsics import check, load16
from vestige.lang.types import u16, u32, u64

SPACE, NUL = 0x20, 0
PATTERN = b"nvme=##:##.#"  # a # is a hexadecimal digit
BOOT = b"boot="
DIGIT, NO_DIGIT = 0x23, 16
LONGEST = 1024  # characters looked at


def read_options(shell: Shell, handle: u64) -> bool:
    """Find the controller that is wanted, and what to boot; False: something else is.

    The first word may be an option, or the application's name, or what a firmware has there for
    itself: a shell and iPXE give a name, GRUB and efibootmgr none.
    """
    shell.wanted, shell.file = NOWHERE, 0
    shell.image = protocol_of(shell, handle, uefi.LOADED_IMAGE[0], uefi.LOADED_IMAGE[1])
    check(shell.image != 0)  # every image has it
    image = LoadedImage.at(shell.image)
    end = min(image.options_size // 2, LONGEST)
    place: u32 = 0
    while place < end:
        while place < end and character(image.options, place) == SPACE:
            place += 1
        if place >= end or character(image.options, place) == NUL:
            return True
        if is_file(image.options, place, end):
            shell.file = u64(image.options + 2 * (place + len(BOOT)))
            shell.file_size = u32(2 * (end - place - len(BOOT)))
            return True
        after = word_end(image.options, place, end)
        if not is_controller(shell, image.options, place, u32(after - place)):
            if place > 0 or is_option(image.options, end):
                return False
        place = after
    return True


def character(text: u64, place: u32) -> u16:
    """Of a string of CHAR16."""
    return load16(u64(text + 2 * place))


def word_end(text: u64, place: u32, end: u32) -> u32:
    """Where the word at `place` ends."""
    while place < end and character(text, place) not in (SPACE, NUL):
        place += 1
    return place


def is_option(text: u64, end: u32) -> bool:
    """Whether the first word begins as one of ours: with its name and an equals sign."""
    if end < len(BOOT):
        return False
    boots, controls = True, True
    for number in range(len(BOOT)):
        letter = character(text, number)
        if letter != BOOT[number]:
            boots = False
        if letter != PATTERN[number]:
            controls = False
    return boots or controls


def is_file(text: u64, place: u32, end: u32) -> bool:
    """Whether boot= and a name begin there: all behind it is for what is booted."""
    if place + len(BOOT) >= end:
        return False
    for number in range(len(BOOT)):
        if character(text, u32(place + number)) != BOOT[number]:
            return False
    return character(text, u32(place + len(BOOT))) not in (SPACE, NUL)


def is_controller(shell: Shell, text: u64, place: u32, length: u32) -> bool:
    """Whether a word is nvme=BUS:DEVICE.FUNCTION, and it is noted; of DEVICE 1f is the last."""
    if length != len(PATTERN):
        return False
    value: u32 = 0
    for number in range(len(PATTERN)):
        letter = character(text, u32(place + number))
        wanted = PATTERN[number]
        if wanted == DIGIT:
            digit = digit_of(letter)
            if digit == NO_DIGIT:
                return False
            value = value << 4 & 0xFFFF_FFFF | digit
        elif letter != wanted:
            return False
    bus, device, function = value >> 12, value >> 4 & 0xFF, value & 0xF
    if device > 31 or function > 7:
        return False
    shell.wanted = bus << 8 | device << 3 | function
    return True


def digit_of(letter: u16) -> u32:
    """A hexadecimal digit's value; NO_DIGIT: it is none."""
    if 0x30 <= letter <= 0x39:
        return letter - 0x30
    if 0x61 <= letter <= 0x66:
        return letter - 0x61 + 10
    if 0x41 <= letter <= 0x46:
        return letter - 0x41 + 10
    return NO_DIGIT
