"""Frames between a program and the agent in its software host.

Both directions of the virtio-serial port AGENT_PORT carry frames: a header of kind (one byte),
command number and payload length (32 bits each, little-endian), then the payload. Command
numbers are chosen by the caller; 0 stands for the software host itself.

Each stream of each command may have WINDOW bytes on the way; CREDIT returns them as the far
side consumes them, so that one stalled reader stalls nobody else.
"""

import struct

# Ports of the serial bus inside, whose number 0 could only be a console's.
AGENT_PORT = 1
FIRST_STREAM_PORT = 2

# A caller that runs says PING this often, in seconds. One that is silent for SILENCE has been
# stopped, as by SIGSTOP, and its commands stand still until it speaks again.
PING_INTERVAL = 1.0
SILENCE = 3.0

WINDOW = 256 * 1024
CHUNK = 32 * 1024
MAXIMUM_PAYLOAD = 8 * 1024 * 1024

# To the agent.
START = 1  # payload: encode_start
INPUT = 2  # standard input; an empty payload is its end
SIGNAL = 3  # u32 number, for the command's process group
RESIZE = 4  # u32 rows, u32 columns of the command's terminal
PING = 5
STOP = 6

# From the agent.
READY = 16
OUTPUT = 17
ERRORS = 18
EXIT = 19  # u32: exit status, or 128 + the number of the signal that ended the command
PONG = 20
STOPPED = 21  # every file is written back

# Both ways: u32 bytes consumed of the stream whose kind (INPUT, OUTPUT, ERRORS) is the u32 before.
CREDIT = 32

_HEADER = struct.Struct("<BII")
_PAIR = struct.Struct("<II")
_WORD = struct.Struct("<I")


def port_path(number: int) -> str:
    """The character device inside of a port: the serial bus is the first virtio device."""
    return f"/dev/vport0p{number}"


class Frame:
    """One frame: its kind, its command's number and its payload."""

    __slots__ = ("command", "kind", "payload")

    def __init__(self, kind: int, command: int, payload: bytes) -> None:
        self.kind = kind
        self.command = command
        self.payload = payload


class FrameError(Exception):
    """The far side sent something that is not a frame."""


def encode(kind: int, command: int = 0, payload: bytes = b"") -> bytes:
    """One frame, ready to be written."""
    return _HEADER.pack(kind, command, len(payload)) + payload


def encode_pair(kind: int, command: int, first: int, second: int) -> bytes:
    """A CREDIT (stream kind, bytes) or RESIZE (rows, columns) frame."""
    return encode(kind, command, _PAIR.pack(first, second))


def encode_word(kind: int, command: int, value: int) -> bytes:
    """A SIGNAL or EXIT frame."""
    return encode(kind, command, _WORD.pack(value))


def decode_pair(payload: bytes) -> tuple[int, int]:
    """The two numbers of a CREDIT or RESIZE payload."""
    try:
        first, second = _PAIR.unpack(payload)
    except struct.error as error:
        raise FrameError(f"two 32-bit numbers expected: {error}") from None
    return first, second


def decode_word(payload: bytes) -> int:
    """The number of a SIGNAL or EXIT payload."""
    try:
        return int(_WORD.unpack(payload)[0])
    except struct.error as error:
        raise FrameError(f"one 32-bit number expected: {error}") from None


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order.

        Raises FrameError for a length no frame has: the stream is out of step.
        """
        self._pending += data
        frames = []
        position = 0
        while len(self._pending) - position >= _HEADER.size:
            kind, command, length = _HEADER.unpack_from(self._pending, position)
            if length > MAXIMUM_PAYLOAD:
                raise FrameError(f"a frame of {length} bytes (at most {MAXIMUM_PAYLOAD})")
            start = position + _HEADER.size
            if len(self._pending) < start + length:
                break
            frames.append(Frame(kind, command, bytes(self._pending[start : start + length])))
            position = start + length
        del self._pending[:position]
        return frames


class Start:
    """What to run: the payload of a START frame.

    `terminal` is (rows, columns) where the command gets a terminal of its own, else (0, 0). One
    that is `raw` is for input and output alone, and passes every byte on as it is.
    """

    __slots__ = ("argv", "cwd", "environment", "groups", "raw", "terminal", "umask")

    def __init__(
        self,
        argv: list[bytes],
        cwd: bytes,
        environment: dict[bytes, bytes],
        groups: tuple[int, int, list[int]],
        umask: int,
        terminal: tuple[int, int],
        raw: bool = False,
    ) -> None:
        self.argv = argv
        self.cwd = cwd
        self.environment = environment
        self.groups = groups  # user, group, supplementary groups
        self.umask = umask
        self.terminal = terminal
        self.raw = raw


def encode_start(start: Start) -> bytes:
    """Numbers, then NUL-terminated strings: cwd, arguments, name=value."""
    user, group, supplementary = start.groups
    terminal = [*start.terminal, int(start.raw)]
    numbers = [user, group, start.umask, *terminal, len(start.argv), *supplementary]
    strings = [start.cwd, *start.argv]
    strings += [name + b"=" + value for name, value in start.environment.items()]
    head = " ".join(str(number) for number in numbers).encode()
    return b"\0".join([head, *strings])


def decode_start(payload: bytes) -> Start:
    """The inverse of `encode_start`. Raises FrameError if `payload` is not one."""
    head, *strings = payload.split(b"\0")
    try:
        user, group, umask, rows, columns, raw, count, *supplementary = map(int, head.split())
    except ValueError as error:
        raise FrameError(f"START: {error}") from None
    if not 1 <= count < len(strings):
        raise FrameError(f"START: {count} arguments among {len(strings)} strings")
    pairs = [entry.partition(b"=") for entry in strings[1 + count :]]
    return Start(
        argv=strings[1 : 1 + count],
        cwd=strings[0],
        environment={name: value for name, _, value in pairs},
        groups=(user, group, supplementary),
        umask=umask,
        terminal=(rows, columns),
        raw=bool(raw),
    )
