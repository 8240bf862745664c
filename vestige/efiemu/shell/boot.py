"""What is booted from the new disk: a file that the load options name, or its default one.

Source: UEFI 2.10, 3.5.1.1 (the default file), 7.4 (images), 10.3 (device paths).
"""

from vestige.efiemu.mark import MARK, MARK_AT
from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.console import (
    COLON,
    begin_line,
    end_line,
    put,
    put_hexadecimal,
    put_letter,
)
from vestige.efiemu.shell.handles import locate, protocol_of
from vestige.efiemu.shell.options import NUL, SPACE, character
from vestige.efiemu.shell.state import PATH_SIZE, Shell
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.uefi import LoadedImage
from vestige.lang.intrinsics import address_of, copy, load8, load16, load64, store8, store16
from vestige.lang.types import u8, u16, u32, u64

DEFAULT = b"\\EFI\\BOOT\\BOOTX64.EFI"
LONGEST_NAME = 200  # characters
END, END_ALL, MEDIA, FILE_PATH = 0x7F, 0xFF, 4, 4  # types of nodes, and their subtypes
HEADER = 4  # bytes of a node before what it says
SLASH, BACKSLASH = 0x2F, 0x5C


def boot(shell: Shell, own_handle: u64) -> None:
    """Boot, from the first file system that has the file, or say in one line why there is none.

    It comes back where what was booted has. Handles of file systems are the firmware's to order.
    """
    shell.met = Text.NO_FILE_SYSTEM
    if locate(shell, uefi.FILE_SYSTEM[0], uefi.FILE_SYSTEM[1]):
        count, table = shell.answer[0], shell.answer[1]
        for number in range(count):
            if shell.met != Text.NOTHING:
                boot_from(shell, own_handle, load64(u64(table + 8 * number)))
        uefi.call(shell.boot, uefi.FREE_POOL, table)
    if shell.met != Text.NOTHING:
        tell_met(shell)


def boot_from(shell: Shell, own_handle: u64, handle: u64) -> None:
    """Boot from this file system, if it is behind the IDE and has the file: see Shell.met."""
    path = path_of(shell, handle)
    if path == 0 or not is_behind(path, path_of(shell, shell.handle)):
        return
    if shell.met == Text.NO_FILE_SYSTEM:
        shell.met = Text.NOT_FOUND
    length = length_of(path)
    if length == 0 or not write_path(shell, path, length):
        return
    shell.answer[0] = 0
    status = uefi.call(
        shell.boot, uefi.LOAD_IMAGE, 0, own_handle, address_of(shell.path), 0, 0,
        address_of(shell.answer),
    )  # fmt: skip
    image = shell.answer[0]
    if status != uefi.SUCCESS:
        if status != uefi.NOT_FOUND:
            shell.met, shell.status = reason_of(status), status
        if status == uefi.SECURITY_VIOLATION:
            uefi.call(shell.boot, uefi.UNLOAD_IMAGE, image)  # it is loaded all the same
    elif is_efiemu(shell, image):
        shell.met = Text.ITSELF
        uefi.call(shell.boot, uefi.UNLOAD_IMAGE, image)
    else:
        shell.met = Text.NOTHING
        give_options(shell, image)
        uefi.call(shell.boot, uefi.START_IMAGE, image)


def reason_of(status: u64) -> u32:
    """Why the firmware has not loaded a file that is there. 7.4, LoadImage."""
    match status:
        case uefi.UNSUPPORTED | uefi.LOAD_ERROR:
            return Text.NO_APPLICATION
        case uefi.ACCESS_DENIED | uefi.SECURITY_VIOLATION:
            return Text.NOT_PERMITTED
        case _:
            return Text.NOT_LOADED


def is_efiemu(shell: Shell, image: u64) -> bool:
    """Whether what was loaded is this application, of whatever day."""
    place = protocol_of(shell, image, uefi.LOADED_IMAGE[0], uefi.LOADED_IMAGE[1])
    if place == 0:
        return False
    begin = u64(LoadedImage.at(place).base + MARK_AT)
    same = True
    for number in range(len(MARK)):
        same = same and load8(u64(begin + number)) == MARK[number]
    return same


def tell_met(shell: Shell) -> None:
    """The line."""
    begin_line(shell, shell.met)
    if shell.met == Text.NOT_LOADED:
        put_hexadecimal(shell, shell.status, 16)
        put(shell, COLON)
        put(shell, SPACE)
    if shell.met != Text.NO_FILE_SYSTEM:
        for number in range(name_length(shell)):
            put_letter(shell, letter_of(shell, number))
    end_line(shell)


def path_of(shell: Shell, handle: u64) -> u64:
    """Where the device path of a handle is; 0: it has none."""
    if handle == 0:
        return 0
    return protocol_of(shell, handle, uefi.DEVICE_PATH[0], uefi.DEVICE_PATH[1])


def length_of(path: u64) -> u32:
    """Bytes of its nodes, without the last one; 0: it is longer than PATH_SIZE."""
    length: u32 = 0
    while length < PATH_SIZE:
        if load8(u64(path + length)) == END:
            return length
        size = load16(u64(path + length + 2))
        if size < HEADER:
            return 0
        length = u32(length + size)
    return 0


def is_behind(path: u64, bridge: u64) -> bool:
    """Whether a path begins with all nodes of another one, which is not 0."""
    if bridge == 0:
        return False
    length = length_of(bridge)
    for offset in range(length):
        if load8(u64(path + offset)) != load8(u64(bridge + offset)):
            return False
    return length > 0


def write_path(shell: Shell, path: u64, length: u32) -> bool:
    """Make Shell.path of the file's, on the file system of `path`; False: it is too long."""
    name = name_length(shell)
    size = HEADER + 2 * (name + 1)
    if length > PATH_SIZE - HEADER or size > PATH_SIZE - HEADER - length:
        return False
    place = address_of(shell.path)
    copy(place, path, length)
    node = u64(place + length)
    store8(node, MEDIA)
    store8(u64(node + 1), FILE_PATH)
    store16(u64(node + 2), size)
    for number in range(name):
        store16(u64(node + HEADER + 2 * number), letter_of(shell, number))
    store16(u64(node + HEADER + 2 * name), NUL)
    end = u64(node + size)
    store8(end, END)
    store8(u64(end + 1), END_ALL)
    store16(u64(end + 2), HEADER)
    return True


def name_length(shell: Shell) -> u8:
    """Characters of the file's name, as far as they fit."""
    if shell.file == 0:
        return len(DEFAULT)
    length: u8 = 0
    while length < LONGEST_NAME and 2 * length < shell.file_size:
        if character(shell.file, length) in (SPACE, NUL):
            return length
        length += 1
    return length


def letter_of(shell: Shell, number: u32) -> u16:
    """One of them. A slash is as good as what UEFI has."""
    if shell.file == 0:
        return DEFAULT[min(number, len(DEFAULT) - 1)]
    letter = character(shell.file, number)
    return BACKSLASH if letter == SLASH else letter


def give_options(shell: Shell, image: u64) -> None:
    """Its load options: its name and what follows, as a shell would give them."""
    if shell.file == 0:
        return
    place = protocol_of(shell, image, uefi.LOADED_IMAGE[0], uefi.LOADED_IMAGE[1])
    if place == 0:
        return
    loaded = LoadedImage.at(place)
    loaded.options, loaded.options_size = shell.file, shell.file_size
