"""What a launcher and its template say to each other, a JSON object a datagram.

The launcher sends a START with DESCRIPTORS on the template's socket, the first of which is the
machine's own socket. The machine reads its WORDS, or THAW, there: the template, of which all
machines are copies, never has them. The template answers there twice: with the process (and a
pidfd), or why there is none; and, when it is over, with its exit status. The template's first
message on its own socket is READY, or why it can't be. A machine that is HELD says by the last
socket that came that it STANDS, and takes anything there for the word to go on.

A MOULD is no machine: by the last socket that came it says that it is READY, or UNUSABLE, and is
then asked there for machines as a template is; all of them by its words. With the pidfd comes where
the number of a signal ends such a machine, as its process is not its run's.
"""

import json
import os
import select
import socket
from fcntl import F_DUPFD_CLOEXEC, fcntl
from typing import Any

from vestige.errors import GuestError, UsageError

DESCRIPTORS = 5  # the machine's socket, standard input, output and errors, the working directory
# Where it has a guest's agent, to whom the place is told; where it is held, by whom.
MOST_DESCRIPTORS = DESCRIPTORS + 2
STANDARD_ERROR = 2
LIMIT = 1 << 17  # bytes of one message; Linux takes a bit more by default
READY = "ready"
UNUSABLE = "unusable"  # value: the error's line; a UsageError's
START = "start"
WORDS = "words"  # of `vestige run`
THAW = "thaw"  # value: those of `vestige thaw`
HELD = "held"  # the same, of a guest that waits until it is wanted
STANDS = "stands"
MOULD = "mould"  # value: words as of THAW, of which copies will be asked for
PROCESS = "process"  # value: its number
REFUSED = "refused"  # value: why there is no process
STATUS = "status"
AGENT = "agent"  # value: where the guest's agent is asked


class GoneError(GuestError):
    """Nobody is there who could start a machine."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep messages apart, and tell the end of the other side."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return end_of(_not_standard(one.detach())), end_of(_not_standard(other.detach()))


def end_of(descriptor: int) -> socket.socket:
    """One of them, by its descriptor, which is known to be one: nobody has to ask the kernel."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, descriptor)


def send(end: socket.socket, kind: str, value: object, descriptors: tuple[int, ...] = ()) -> None:
    """One message. Raises OSError where the other side is gone, UsageError if it is too long."""
    data = json.dumps([kind, value], ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(data) > LIMIT:
        raise UsageError(f"options of {len(data)} bytes, at most {LIMIT} expected; shorten them")
    socket.send_fds(end, [data], list(descriptors))


def is_readable(end: int | socket.socket, seconds: float) -> bool:
    """Whether there is something to be taken, or the other side is gone, within so many seconds."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def say(end: socket.socket, kind: str, value: int | str | None, *descriptors: int) -> bool:
    """The same, to who may not want to know: whoever closed the other side. Whether it was sent."""
    try:
        send(end, kind, value, descriptors)
    except OSError:
        return False
    return True


def receive(end: socket.socket) -> tuple[str, Any, list[int]]:
    """The next message: kind, value, descriptors. Raises EOFError where there is none to come.

    Where this process may have no more files open, the last descriptors are not there.
    """
    try:
        data, descriptors = _received(end)
    except ConnectionResetError:  # the other side went without reading all; what it sent is here
        data, descriptors = _received(end)
    if not data:
        raise EOFError
    kind, value = json.loads(data.decode("utf-8", "surrogatepass"))
    return kind, value, [_not_standard(each) for each in descriptors]


def _received(end: socket.socket) -> tuple[bytes, list[int]]:
    data, descriptors, *_ = socket.recv_fds(end, LIMIT, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    return data, descriptors


def _not_standard(descriptor: int) -> int:
    """`descriptor`, or in its place one that is no standard file.

    Where the calling program has closed its own, what is opened next would be one of them, and
    passed to machines as such.
    """
    if descriptor > STANDARD_ERROR:
        return descriptor
    moved = fcntl(descriptor, F_DUPFD_CLOEXEC, STANDARD_ERROR + 1)
    os.close(descriptor)
    return moved
