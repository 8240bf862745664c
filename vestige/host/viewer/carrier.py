"""Those who look on at a machine in the software host: all of them through one stream of bytes.

Out here they connect; in there the viewer's process has a socket for each. Between the two go
pieces of what they say: a number, which is a client's for good, how many bytes follow, and these.
A piece of no bytes is a client's first from out here, and then the last of either side. The first
of all, of client 0, is the password.

Threat: what is in there is believed no more out here than a viewer's process is. It can send to
those who are connected, and end them; how much waits for one that takes nothing is bounded.
"""

import _socket
import os
import select
import struct
from _collections_abc import Callable

from vestige.errors import UsageError

HEADER = struct.Struct("<II")
PIECE = 16 << 10  # bytes of one
ENOUGH = 64 << 10  # bytes that wait for the stream, before more is taken from clients
MOST_WAITING = 64 << 20  # and for a client: more than a picture has
MOST_CLIENTS = 32  # more than a viewer's process takes
PASSWORD = 0
GONE = select.POLLHUP | select.POLLERR
FLAGS = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Client:
    """One, by the socket of its that is here. `waits`: what it has not taken yet; `ends`: and then
    no more.
    """

    __slots__ = ("ends", "socket", "waits")

    def __init__(self, descriptor: int) -> None:
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        self.waits = bytearray()
        self.ends = False


class Carrier:
    """One side. `opened` is told of each client that the other side says has come; None: that says
    none.
    """

    def __init__(self, stream: int, opened: "Callable[[int, bytes], object] | None" = None) -> None:
        """`stream`: a descriptor, closed here."""
        os.set_blocking(stream, False)
        self._stream = stream
        self._opened = opened
        self._clients: dict[int, Client] = {}
        self._coming, self._going = bytearray(), bytearray()
        self._latest = 0
        self._is_over = False

    def add(self, descriptor: int, number: int = 0) -> None:
        """Carry what a socket's other end says. `number`: as the other side has it, or 0.

        Of too many the last is let go.
        """
        if len(self._clients) >= MOST_CLIENTS:
            os.close(descriptor)
            return
        if not number:
            self._latest += 1
            number = self._latest
            self.send(number, b"")
        self._clients[number] = Client(descriptor)

    def send(self, number: int, data: bytes) -> None:
        """A piece."""
        self._going += HEADER.pack(number, len(data)) + data

    def waits_for(self) -> dict[int, int]:
        """Descriptors to be watched, each with its poll events."""
        if self._is_over:
            return {}
        reads = select.POLLIN if len(self._going) < ENOUGH else 0
        events = {
            each.socket.fileno(): reads | (select.POLLOUT if each.waits else 0)
            for each in self._clients.values()
        }
        events[self._stream] = select.POLLIN | (select.POLLOUT if self._going else 0)
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved."""
        if self._is_over:
            return
        for number, client in list(self._clients.items()):
            events = ready.get(client.socket.fileno(), 0)
            if events & select.POLLIN:
                self._read_client(number, client)
            elif events & GONE:
                self._end(number, tells=True)
            if events & select.POLLOUT and number in self._clients:
                self._write_client(number, client)
        came = ready.get(self._stream, 0)
        if came & select.POLLIN:
            self._read_stream()
        elif came & GONE:
            self._is_over = True
        if self._going and not self._is_over:
            self._write_stream()

    def _read_client(self, number: int, client: Client) -> None:
        try:
            data = client.socket.recv(PIECE, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.send(number, data)
        else:
            self._end(number, tells=True)

    def _write_client(self, number: int, client: Client) -> None:
        try:
            del client.waits[: client.socket.send(client.waits[:ENOUGH], FLAGS)]
        except BlockingIOError:
            return
        except OSError:
            self._end(number, tells=not client.ends)
            return
        if client.ends and not client.waits:
            self._end(number, tells=False)

    def _end(self, number: int, *, tells: bool) -> None:
        self._clients.pop(number).socket.close()
        if tells:
            self.send(number, b"")

    def _read_stream(self) -> None:
        try:
            data = os.read(self._stream, ENOUGH)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._is_over = not data
        self._coming += data
        while len(self._coming) >= HEADER.size:
            number, size = HEADER.unpack_from(self._coming)
            if size > PIECE:
                self._is_over = True
                return
            if len(self._coming) < HEADER.size + size:
                return
            piece = bytes(self._coming[HEADER.size : HEADER.size + size])
            del self._coming[: HEADER.size + size]
            self._take(number, piece)

    def _take(self, number: int, piece: bytes) -> None:
        client = self._clients.get(number)
        if client is None:
            is_new = number > self._latest and not piece
            if self._opened is not None and (is_new or number == PASSWORD):
                self._latest = max(self._latest, number)
                self._opened(number, piece)
            return
        if client.ends:
            return
        client.waits += piece
        client.ends = not piece
        if client.ends and not client.waits:
            self._end(number, tells=False)
        elif len(client.waits) > MOST_WAITING:
            self._end(number, tells=True)

    def _write_stream(self) -> None:
        try:
            del self._going[: os.write(self._stream, self._going[:ENOUGH])]
        except BlockingIOError:
            return
        except OSError:
            self._is_over = True

    def close(self) -> None:
        """Let all go; a second time does nothing."""
        for number in list(self._clients):
            self._end(number, tells=False)
        stream, self._stream = self._stream, -1
        self._is_over = True
        if stream >= 0:
            os.close(stream)


class Outside:
    """Where viewers connect, out here. `output`: the descriptor that the software host has."""

    def __init__(self, password: bytes | None) -> None:
        near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._far = far
        self.output = far.fileno()
        self.carrier = Carrier(near.detach())
        self.carrier.send(PASSWORD, password or b"")

    def take(self, descriptor: int) -> None:
        """One that connects; the descriptor stays the caller's."""
        self.carrier.add(os.dup(descriptor))

    def close(self) -> None:
        """Let all go."""
        self.carrier.close()
        self._far.close()


class Inside:
    """The display of the run in there. `password`: known once `wait` has returned."""

    def __init__(self, stream: int, filter_: bytes | None) -> None:
        """`stream`: a device, closed here."""
        self.password: bytes | None = None
        self.filter = filter_
        self._knows = False
        self._taker: Callable[[int], object] | None = None
        self._early: list[_socket.socket] = []  # of those that came before there was a taker
        self.carrier = Carrier(stream, self._opened)

    def _opened(self, number: int, piece: bytes) -> None:
        if number == PASSWORD:
            self.password, self._knows = piece or None, True
            return
        own, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        its.setblocking(False)
        self.carrier.add(own.detach(), number)
        self._early.append(its)
        self._give()

    def _give(self) -> None:
        if self._taker is None:
            return
        for each in self._early:
            self._taker(each.fileno())
            each.close()
        self._early.clear()

    def wait(self) -> None:
        """Until the password has come, which has been sent before all else. Raises UsageError."""
        poll = select.poll()
        while not self._knows:
            waits = self.carrier.waits_for()
            if not waits:
                raise UsageError("--display: the other side of the software host's has gone")
            for descriptor, events in waits.items():
                poll.register(descriptor, events)
            self.carrier.serve(dict(poll.poll()))

    def begin(self, taker: Callable[[int], object]) -> None:
        """Have `taker` take those that have come and those that will."""
        self._taker = taker
        self._give()

    def close(self) -> None:
        """Let all go."""
        self.carrier.close()
        for each in self._early:
            each.close()
        self._early.clear()
