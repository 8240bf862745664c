"""The messages between a run's own process and the machine's: a pair of sockets, a kind in each.

Threat: what comes from the machine's process is believed no more than the monitor is. A message is
bounded by MOST; the run's process bounds how many of a kind it takes, and escapes text.
"""

import _socket
import os
from _collections_abc import Iterator, Sequence
from errno import EMFILE

from vestige.lang.enumeration import IntEnum

# Bytes of a message. What a control's client may ask has 16 KiB as JSON, and as marshal two and a
# half times that: a number takes two bytes in a list of the one, and five of the other.
MOST = 48 << 10
LONGEST, MOST_DESCRIPTORS = 256 << 10, 253  # bytes of orders, and what unix(7) lets come along
AT_ONCE = 64  # messages that are taken before anything else is looked at again
# The descriptor of the machine's end, behind the standard ones. Before, it is a pipe's of signals,
# which is opened before any file of a run, or the caller's own: not any that a machine needs.
PLACE = 3
DESCRIPTOR = 4  # bytes of one, as sendmsg(2) has it


class Kind(IntEnum):
    """The first byte of a message. Those from ORDERS on come from the run's process."""

    STARTS = 1  # all is built: it waits for GO, and then the guest runs
    LINES = 2  # text for standard error
    LOG = 3  # of the monitor's
    FAILURES = 4  # of disks: three bytes each, of a disk, an operation and an errno
    COUNTERS = 5  # a piece of the text for --stats
    FAILED = 6  # the last one: a line that says how guest or monitor failed
    REFUSED = 7  # the last one: a line that says what was wrong with what the user asked for
    OVER = 8  # the last one: the guest powered off (0) or reset itself (1), and by which fault
    LISTENER = 9  # with a descriptor: the calls that the jail refuses are told there
    ANSWER = 10  # a piece of the answer to ASK: control/answers.py
    EVENTS = 11  # the viewer's: records of abi/events.py
    RUNS = 12  # the guest does, that was to wait for something

    ORDERS = 31  # what the machine is to be: orders.py; with descriptors
    # The guest is to run: how long that took, eight bytes, in µs; where a socket comes along, once
    # something comes there.
    GO = 32
    STOP = 33  # it is to end
    SIZE = 34  # the terminal's columns and rows, two bytes each
    ASK = 35  # a command of the control's, once the one before is answered, and maybe a descriptor
    MEMORY = 36  # to the viewer, with a descriptor: the next of what it sees, viewer/memory.py
    CLIENT = 37  # to the viewer, with a descriptor: one that looks on


class Link:
    """One end. Any thread may send."""

    def __init__(self, end: _socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """For poll(2): readable when a message has come, or the other side has gone."""
        return self._end.fileno()

    def send(self, kind: Kind, data: bytes = b"") -> bool:
        """Send one message: the machine's process once there is room, the run's if there is now.

        To nobody, where the other side has gone. Whether it was sent.
        """
        try:
            self._end.send(bytes((kind,)) + data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_text(self, kind: Kind, text: str) -> None:
        """Send text of any length, in pieces."""
        data = text.encode("utf-8", "backslashreplace")
        for start in range(0, len(data), MOST - 1):
            self.send(kind, data[start : start + MOST - 1])

    def send_descriptor(self, kind: Kind, descriptor: int) -> None:
        """Send a descriptor, unix(7)."""
        rights = descriptor.to_bytes(DESCRIPTOR, "little")
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]
        self._end.sendmsg([bytes((kind,))], ancillary)

    def send_along(self, kind: Kind, data: bytes, descriptor: int) -> bool:
        """As `send`, and a descriptor."""
        rights = descriptor.to_bytes(DESCRIPTOR, "little")
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]
        try:
            self._end.sendmsg([bytes((kind,)), data], ancillary)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_orders(self, data: bytes, descriptors: Sequence[int]) -> None:
        """Send these to the machine's process. Raises OSError."""
        rights = b"".join(each.to_bytes(DESCRIPTOR, "little") for each in descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)]
        self._end.sendmsg([bytes((Kind.ORDERS,)), data], ancillary)

    def receive_orders(self) -> tuple[bytes, Sequence[int]] | None:
        """Wait for them; None: the other side, which is believed, has gone.

        Raises OSError where this process may not have so many files open as come along.
        """
        room = _socket.CMSG_LEN(DESCRIPTOR * MOST_DESCRIPTORS)
        data, ancillary, flags, _ = self._end.recvmsg(LONGEST, room, _socket.MSG_CMSG_CLOEXEC)
        if not data:
            return None
        rights = b"".join(rights for _, _, rights in ancillary)
        numbers = [rights[at : at + DESCRIPTOR] for at in range(0, len(rights), DESCRIPTOR)]
        descriptors = [int.from_bytes(each, "little") for each in numbers]
        if flags & _socket.MSG_CTRUNC:  # these are not all
            for descriptor in descriptors:
                os.close(descriptor)
            raise OSError(EMFILE, os.strerror(EMFILE))
        return data[1:], descriptors

    def receive(self, flags: int = 0) -> tuple[int, bytes, int] | None:
        """The next message: its kind, its data, a descriptor or -1; None: the other side has gone,
        or has sent none of a message.

        Raises BlockingIOError where `flags` say not to wait, and there is none.
        """
        room = _socket.CMSG_LEN(DESCRIPTOR)  # for one: the kernel closes what else there is
        flags |= _socket.MSG_CMSG_CLOEXEC
        try:
            data, ancillary, _, _ = self._end.recvmsg(MOST, room, flags)
        except ConnectionResetError:
            # The other side went without reading all, which is told once. What it sent is here.
            data, ancillary, _, _ = self._end.recvmsg(MOST, room, flags)
        passed = -1
        for _, _, rights in ancillary:
            passed = int.from_bytes(rights[:DESCRIPTOR], "little")
        return (data[0], data[1:], passed) if data else None

    def waiting(self) -> Iterator[tuple[int, bytes, int] | None]:
        """Messages that have come, AT_ONCE at most; at last None where the other side has gone."""
        for _ in range(AT_ONCE):
            try:
                message = self.receive(_socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield message
            if message is None:
                return

    def take_place(self) -> None:
        """Have the descriptor that the jail knows, PLACE, whatever it was before."""
        os.dup2(self._end.fileno(), PLACE, inheritable=False)
        self._end.close()
        self._end = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, PLACE)

    def close(self) -> None:
        """Close this end; the other side will know."""
        self._end.close()


def link_of(descriptor: int) -> Link:
    """An end that another process has made, by its descriptor."""
    return Link(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, descriptor))


def pair() -> tuple[Link, Link]:
    """Two ends, of the run's process, and of the machine's. Raises OSError."""
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    near.setblocking(False)  # it waits for nobody who may not read
    return Link(near), Link(far)
