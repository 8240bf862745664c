"""Load options: what follows the application's name where it is started. UEFI 2.10, 9.1."""

from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.controller import NOWHERE
from vestige.efiemu.shell.handles import protocol_of
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.uefi import LoadedImage
from vestige.lang.intrinsics import check, load16
from vestige.lang.types import u16, u32, u64

SPACE, NUL = 0x20, 0
PATTERN = b"nvme=0000:##:##.#"  # a # is a hexadecimal digit
SEGMENT_SIZE = 5  # the segment, which may be left out: lspci does so, unless by -D
OPTIONS, OPTION_SIZE = b"nvme=boot=", 5  # one behind the other
NVME, BOOT = 0, 5  # where each is there
DIGIT, NO_DIGIT = 0x23, 16
LONGEST = 1024  # characters looked at


def read_options(shell: Shell, handle: u64) -> u32:
    """Find the controller that is wanted, and what to boot: what is wrong, or Text.NOTHING.

    The first word is the application's name, or what a firmware has there for itself, unless it
    is an option: GRUB and the firmware's own boot entries put nothing before those. A word that
    is wrong is Shell.word.
    """
    shell.wanted, shell.file = NOWHERE, 0
    shell.image = protocol_of(shell, handle, uefi.LOADED_IMAGE[0], uefi.LOADED_IMAGE[1])
    check(shell.image != 0)  # every image has it
    image = LoadedImage.at(shell.image)
    text, end = image.options, min(image.options_size // 2, LONGEST)
    place: u32 = 0
    if not begins(text, 0, end, NVME) and not begins(text, 0, end, BOOT):
        place = word_end(text, 0, end)
    while place < end:
        while place < end and character(text, place) == SPACE:
            place += 1
        if place >= end or character(text, place) == NUL:
            return Text.NOTHING
        after = word_end(text, place, end)
        shell.word, shell.word_size = u64(text + 2 * place), u32(after - place)
        if begins(text, place, end, BOOT):
            shell.file = u64(text + 2 * (place + OPTION_SIZE))
            shell.file_size = u32(2 * (end - place - OPTION_SIZE))
            return Text.NO_FILE if shell.word_size == OPTION_SIZE else Text.NOTHING
        if not begins(text, place, end, NVME):
            return Text.UNKNOWN_OPTION
        if shell.wanted != NOWHERE:
            return Text.TWICE
        if not is_controller(shell, text, place, shell.word_size):
            return Text.BAD_PLACE
        place = after
    return Text.NOTHING


def character(text: u64, place: u32) -> u16:
    """Of a string of CHAR16."""
    return load16(u64(text + 2 * place))


def word_end(text: u64, place: u32, end: u32) -> u32:
    """Where the word at `place` ends."""
    while place < end and character(text, place) not in (SPACE, NUL):
        place += 1
    return place


def begins(text: u64, place: u32, end: u32, option: u32) -> bool:
    """Whether the word at `place` begins with NVME or BOOT."""
    if place + OPTION_SIZE > end:
        return False
    for number in range(OPTION_SIZE):
        if character(text, u32(place + number)) != OPTIONS[option + number]:
            return False
    return True


def is_controller(shell: Shell, text: u64, place: u32, length: u32) -> bool:
    """Whether a word is nvme=BUS:DEVICE.FUNCTION, and it is noted; of DEVICE 1f is the last."""
    if length not in (len(PATTERN), len(PATTERN) - SEGMENT_SIZE):
        return False
    left_out = len(PATTERN) - length
    value: u32 = 0
    for number in range(length):
        letter = character(text, u32(place + number))
        wanted = PATTERN[number if number < OPTION_SIZE else number + left_out]
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
