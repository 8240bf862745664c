"""What is said to a guest's agent and what it answers, without a socket and without a clock.

A `Steps` is a conversation, or a part of one: a generator that yields what is to be done next,
gets what came of it, and returns its outcome. Those who drive it have the socket: blocking.py,
asynchronous.py.

There may be others who ask the same agent, each with a connection of their own, one after the
other: an agent has one line. What it answers those that have gone comes to whoever is next. So each
connection begins with guest-sync-delimited, and all that comes before its answer is dropped.

Threat: the agent is the guest's. It may say nothing, too much, or something else; what is held of
it here is bounded, and so is the time that it takes.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from vestige.agent import protocol
from vestige.agent.protocol import MARK
from vestige.errors import GuestError, UsageError
from vestige.host.options import AGENT_PORT

LEAST_RATE = 16 << 10  # bytes a second; who is slower has stalled
LONGEST_SYNC = 256  # bytes of an answer to guest-sync-delimited
MOST_IDENTITY = (1 << 31) - 1


class AbsentError(UsageError):
    """No agent answers in the guest."""


class UnreachedError(UsageError):
    """There is no way to the agent."""


class GoneError(GuestError):
    """The way to the agent has ended."""


class Connect(NamedTuple):
    """Let the connection go, if there is one, and have another."""


class Exchange(NamedTuple):
    """Send what goes of `data`, and receive, whichever can be done first, within `seconds`."""

    data: memoryview
    seconds: float


class Came(NamedTuple):
    """Of a step: the time, in seconds of a clock that goes on; bytes that were `sent`; bytes that
    were `received`, None: the other side has closed the connection.
    """

    now: float
    sent: int = 0
    received: bytes | None = b""


T = TypeVar("T")
Steps = Generator[Connect | Exchange, Came, T]
NOTHING = memoryview(b"")


class Talk:
    """One conversation. `patience`: seconds in which the agent answers at all; `answering`: in
    which it then answers each request.

    `holds`: something in the guest is to be put in order before the conversation ends, so who ends
    it says so by `stop` and goes on driving. `process`: a command's, while it runs there.
    """

    def __init__(self, patience: float, identity: int, answering: float | None = None) -> None:
        """`identity`: a random number; it and those behind it mark what is this conversation's.
        `answering`: as `patience` unless it is given.
        """
        self.patience = patience
        self.answering = patience if answering is None else answering
        self.holds = False
        self.process: int | None = None
        self.is_stopped = False
        self._identity = identity & MOST_IDENTITY
        self._now = 0.0
        self._coming = bytearray()
        self._is_synchronised = False

    @property
    def now(self) -> float:
        """The time of the last step."""
        return self._now

    @property
    def is_answered(self) -> bool:
        """Whether the agent has answered to this conversation, on the connection that there is."""
        return self._is_synchronised

    def stop(self) -> None:
        """Whoever waits for the outcome wants it no more."""
        self.is_stopped = True

    def connect(self) -> Steps[None]:
        """A connection on which the agent answers. Raises AbsentError where none does."""
        yield from self.open()
        yield from self.synchronise()

    def open(self) -> Steps[None]:
        """A new connection; others may have the agent's ear before."""
        self._is_synchronised = False
        self._coming.clear()
        self._now = (yield Connect()).now

    def wait(self, seconds: float) -> Steps[None]:
        """Let the time pass, on the connection, or until `stop`."""
        end = self._now + seconds
        while self._now < end and not self.is_stopped:
            came = yield from self._exchange(NOTHING, end)
            if self._is_synchronised and came.received:
                raise protocol.nonsense("an answer to no question")

    def synchronise(self, behind: bytes = b"") -> Steps[memoryview]:
        """Have the agent answer to this conversation. Raises AbsentError.

        `behind` is sent without waiting for that answer; what of it has not gone yet is returned.
        """
        self._identity = (self._identity + 1) & MOST_IDENTITY
        asked = protocol.request("guest-sync-delimited", {"id": self._identity})
        going = memoryview(bytes((MARK,)) + asked + behind)
        end = self._now + self.patience
        while not self._is_answered():
            if self._now >= end:
                raise AbsentError(
                    f"no guest agent has answered within {self.patience:g} s: the guest starts"
                    " yet, is paused, or has none; in a Debian guest: apt install qemu-guest-agent"
                    f" (it listens on /dev/virtio-ports/{AGENT_PORT})"
                )
            came = yield from self._exchange(going, end)
            going = going[came.sent :]
            self._coming += came.received or b""
        self._is_synchronised = True
        return going

    def _is_answered(self) -> bool:
        """Whether what has come has the answer of `synchronise`; all up to that is dropped."""
        while (mark := self._coming.find(MARK)) >= 0:
            del self._coming[:mark]
            end = self._coming.find(b"\n", 1, LONGEST_SYNC)
            if end < 0 and len(self._coming) < LONGEST_SYNC:
                return False
            line = bytes(self._coming[1 : max(end, 1)])
            if MARK not in line:
                told = protocol.value_of(line)
                identity = told.get("return") if isinstance(told, dict) else None
                if type(identity) is int and identity == self._identity:
                    del self._coming[: end + 1]
                    return True
            del self._coming[:1]  # another mark may be behind it
        self._coming.clear()
        return False

    def ask(
        self, command: str, arguments: Mapping[str, Any], most: int = protocol.ANSWER
    ) -> Steps[Any]:
        """What the agent returns, in a line of `most` bytes. Raises RefusedError for its error.

        Where the agent has not answered to this conversation yet, it is asked for both at once:
        what it is asked it does even where that is after `patience`.
        """
        (line,) = yield from self._answers([(command, arguments)], most)
        return protocol.returned(line)

    def ask_together(self, *requests: tuple[str, Mapping[str, Any]]) -> Steps[list[Any]]:
        """The same of several, of which the agent is told at once and each of which it does.

        Raises RefusedError for the first error.
        """
        lines = yield from self._answers(requests, protocol.ANSWER)
        return [protocol.returned(line) for line in lines]

    def _answers(
        self, requests: Sequence[tuple[str, Mapping[str, Any]]], most: int
    ) -> Steps[list[bytes]]:
        """A line to each."""
        going = memoryview(b"".join(protocol.request(*each) for each in requests))
        if not self._is_synchronised:
            going = yield from self.synchronise(bytes(going))
        end = self._now + self.answering
        lines: list[bytes] = []
        for command, _ in requests:
            looked = 0
            while (place := self._coming.find(b"\n", looked)) < 0:
                looked = len(self._coming)
                if looked > most:
                    raise protocol.nonsense(f"an answer of more than {most} bytes")
                if self._now >= end:
                    raise GuestError(
                        f"the guest agent has not answered {command} in time"
                        f" ({self.answering:g} s and more for much data); it has ended, or its"
                        " guest stands still"
                    )
                came = yield from self._exchange(going, end)
                going = going[came.sent :]
                self._coming += came.received or b""
                end += (came.sent + len(came.received or b"")) / LEAST_RATE
            lines.append(bytes(self._coming[:place]))
            del self._coming[: place + 1]
        if going or self._coming:
            raise protocol.nonsense("an answer to no question")
        if any(len(line) > most for line in lines):
            raise protocol.nonsense(f"an answer of more than {most} bytes")
        return lines

    def _exchange(self, going: memoryview, end: float) -> Steps[Came]:
        came = yield Exchange(going, max(end - self._now, 0.0))
        self._now = came.now
        if came.received is None:
            raise GoneError("the way to the guest's agent has ended, as its run has")
        return came
