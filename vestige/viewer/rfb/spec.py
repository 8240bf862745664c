"""The Remote Framebuffer Protocol: its numbers. RFC 6143; those marked "registry" as in
github.com/rfbproto/rfbproto, which describes what IANA has assigned.
"""

from enum import IntEnum

VERSION_SIZE = 12  # bytes of "RFB 003.008\n"
VERSION = b"RFB 003.008\n"
VERSIONS = {b"RFB 003.003\n": 3, b"RFB 003.007\n": 7, VERSION: 8}  # minor, by what a client says
OLDEST = 3  # of a client that says another one, as section 7.1.1 has it
CHALLENGE_SIZE = 16
MOST_ENCODINGS = 1024  # in one message: clients name some thirty
PASSWORD_SIZE = 8  # characters of a password: 7.2.2, the key of DES


class Security(IntEnum):
    """7.2."""

    INVALID = 0
    NONE = 1
    VNC = 2


class FromClient(IntEnum):
    """7.5: the first byte of a message."""

    SET_PIXEL_FORMAT = 0
    SET_ENCODINGS = 2
    UPDATE_REQUEST = 3
    KEY = 4
    POINTER = 5
    CUT_TEXT = 6
    QEMU = 255  # registry


class ToClient(IntEnum):
    """7.6."""

    UPDATE = 0
    COLOUR_MAP = 1


class Encoding(IntEnum):
    """7.7, 7.8."""

    RAW = 0
    ZLIB = 6  # registry
    ZRLE = 16
    DESKTOP_SIZE = -223
    POINTER_MOTION = -257  # registry: QEMU's Pointer Motion Change
    EXTENDED_KEY = -258  # registry: QEMU's Extended Key Event


class Button(IntEnum):
    """7.5.5: bits of a pointer message's mask. The registry has the sides and back and forward."""

    LEFT = 1 << 0
    MIDDLE = 1 << 1
    RIGHT = 1 << 2
    WHEEL_UP = 1 << 3
    WHEEL_DOWN = 1 << 4


# Bytes of a client's messages, as far as they say how many follow.
SIZES = {
    FromClient.SET_PIXEL_FORMAT: 20,
    FromClient.SET_ENCODINGS: 4,
    FromClient.UPDATE_REQUEST: 10,
    FromClient.KEY: 8,
    FromClient.POINTER: 6,
    FromClient.CUT_TEXT: 8,
    FromClient.QEMU: 12,
}
QEMU_KEY = 0  # the second byte of a QEMU message: an extended key event
RELATIVE_ORIGIN = 0x7FFF  # of x and y in a pointer message once the pointer is relative
