"""What the viewer's process does: show the screen to those who look on, and say what they type.

It is a fork of the run's process, of which it has what is imported, but no descriptor. It has the
screen's memory, to be read; a socket to the run's process; and the sockets of those who look on.

Threats: those send anything, and may be subverted as may the monitor, which says anything of the
screen. Each is bounded, and let go where it stalls. Who takes over this process has what it has.
"""

import _socket
import os
import select
import time
from _collections_abc import Callable

from vestige.errors import UsageError
from vestige.host.jail import layers
from vestige.host.jail.user import Ids
from vestige.host.process.link import Kind, Link
from vestige.host.viewer.look import Look
from vestige.host.viewer.memory import PARTS, Seen
from vestige.viewer.frame import Frame
from vestige.viewer.rfb.session import Session, Terms

MOST_CLIENTS = 16
FLAGS = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
MOST_STRANGERS = 4  # of these, whose handshake is not done yet
PIECE = 64 << 10  # bytes taken from one of them at once
HANDSHAKE = 60.0  # seconds for all of it, in which a person has typed the password
STALL = 30.0  # seconds in which a client takes something of what is sent
PENALTY = 1.0  # seconds after a wrong password in which no other is looked at
MOST_AT_ONCE = 1 << 20  # bytes sent to one before others are served
# Seconds between two looks at the screen: while it changes, and while it does not.
LIVELY, QUIET = 1 / 60, 1 / 30
LIVELY_FOR = 0.5  # seconds after a change, a key or a movement
SHARE = 0.028  # of a processor that is taken at most while nothing changes
LIVELY_SHARE = 0.5
NEVER = float("inf")
MOST_MEMORY = 512 << 20  # bytes of data of this process


class Client:
    """One that looks on, by its socket, and the session with it. `until`: a time at which it is
    let go.
    """

    __slots__ = ("session", "socket", "until", "waits_until")

    def __init__(self, socket: _socket.socket, session: Session, now: float) -> None:
        self.socket, self.session = socket, session
        self.until = now + HANDSHAKE
        self.waits_until = now  # nothing that it sends is looked at before

    def events(self, now: float) -> int:
        """What poll(2) is to tell of it."""
        reads = select.POLLIN if now >= self.waits_until else 0
        return reads | (select.POLLOUT if self.session.going else 0)


class Sight:
    """The screen of the machine that there is. `look`: None before there is one."""

    def __init__(self) -> None:
        self._files: list[int] = []
        self._seen: Seen | None = None
        self.look: Look | None = None

    def take(self, file: int) -> None:
        """The next file of a machine's memory; once all are there, the screen is that machine's."""
        self._files.append(file)
        if len(self._files) < len(PARTS):
            return
        files, self._files = self._files, []
        self.look = None
        if self._seen is not None:
            self._seen.close()
        try:
            self._seen = Seen(files)
            self.look = Look(self._seen)
        finally:
            for each in files:
                os.close(each)


class Pace:
    """When to look at the screen: from `due` on. Times are of time.monotonic."""

    def __init__(self, lively_share: float) -> None:
        """`lively_share`: of a processor that looks take at most while it changes."""
        self._lively_share = lively_share
        self._lively_until = 0.0
        self._spent = 0.0  # seconds of this process when it last looked
        self.due = 0.0

    def enliven(self, now: float) -> None:
        """It has changed, or is about to."""
        self._lively_until = now + LIVELY_FOR

    def looked(self, began: float) -> None:
        """A look has been taken, from then to now.

        What has been done around it counts, too, up to as much again: who has just been sent all
        of a large screen is not to wait for that.
        """
        took = time.monotonic() - began
        spent = time.process_time()
        took = max(took, min(spent - self._spent, 2 * took))
        self._spent = spent
        lively = began < self._lively_until
        least, share = (LIVELY, self._lively_share) if lively else (QUIET, SHARE)
        self.due = began + max(least, took / share)


class Viewer:
    """All that look on. `link`: to the run's process."""

    def __init__(self, link: Link, terms: Terms) -> None:
        self._link, self._terms = link, terms
        self._clients: dict[int, Client] = {}
        self._sight = Sight()
        self.frame = Frame()
        self._pace = Pace(LIVELY_SHARE)
        self._penalty_until = 0.0

    def serve(self) -> None:
        """Until the run's process has gone."""
        while self.turn(NEVER):
            pass

    def turn(self, most: float) -> bool:
        """Wait for what comes next, so many seconds at most, and do it; False: it has gone."""
        now = time.monotonic()
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        for number, client in self._clients.items():
            poll.register(number, client.events(now))
        wait = min(self._patience(now), most)
        ready = dict(poll.poll(None if wait == NEVER else 1000 * max(wait, 0.0)))
        if self._link.fileno() in ready and not self._hear():
            return False
        now = time.monotonic()
        for number, client in list(self._clients.items()):
            self._attend(client, ready.get(number, 0), now)
        self._show(now)
        return True

    @property
    def waits(self) -> int:
        """Bytes that wait to be sent, to all."""
        return sum(len(each.session.going) for each in self._clients.values())

    @property
    def patience(self) -> float:
        """Seconds until something is due by itself."""
        return self._patience(time.monotonic())

    def _patience(self, now: float) -> float:
        times = [client.until for client in self._clients.values()]
        times += [each.waits_until for each in self._clients.values() if each.waits_until > now]
        if self._sight.look is not None and any(
            each.session.wants for each in self._clients.values()
        ):
            times.append(self._pace.due)
        return min(times, default=NEVER) - now

    # ---- the run's process ----------------------------------------------------------------

    def _hear(self) -> bool:
        """Take what the run's process says; False: it has gone."""
        for message in self._link.waiting():
            if message is None:
                return False
            kind, _, descriptor = message
            if kind == Kind.CLIENT and descriptor >= 0:
                self._take_client(descriptor)
            elif kind == Kind.MEMORY and descriptor >= 0:
                self._sight.take(descriptor)
        return True

    def _take_client(self, descriptor: int) -> None:
        strangers = [each for each in self._clients.values() if not each.session.is_open]
        if len(self._clients) >= MOST_CLIENTS or len(strangers) >= MOST_STRANGERS:
            if not strangers:
                os.close(descriptor)
                return
            self._let_go(strangers[0])
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        session = Session(self._terms, self.frame, self._say)
        client = self._clients[descriptor] = Client(socket, session, time.monotonic())
        client.waits_until = self._penalty_until

    def _say(self, records: bytes) -> None:
        """What is typed; where the run's process takes nothing, it is lost."""
        self._pace.enliven(time.monotonic())
        self._link.send(Kind.EVENTS, records)

    # ---- clients --------------------------------------------------------------------------

    def _attend(self, client: Client, events: int, now: float) -> None:
        session = client.session
        try:
            if events & select.POLLIN:
                was_open = session.is_open
                if not was_open:  # it is about to be told how large the picture is
                    self._look_again(now)
                data = client.socket.recv(PIECE, _socket.MSG_DONTWAIT)
                if not data:
                    self._let_go(client)
                    return
                session.feed(data)
                self._judge(client, now, was_open=was_open)
            elif events & (select.POLLHUP | select.POLLERR):
                self._let_go(client)
                return
            self._send(client, now)
        except OSError:
            self._let_go(client)
            return
        if now >= client.until or (session.is_over and not session.going):
            self._let_go(client)

    def _judge(self, client: Client, now: float, *, was_open: bool) -> None:
        """Have all whose handshake is not done wait after a wrong password."""
        session = client.session
        if session.has_failed:
            self._penalty_until = now + PENALTY
            for other in self._clients.values():
                if not other.session.is_open:
                    other.waits_until = self._penalty_until
        elif session.is_open and not was_open:
            client.until = NEVER

    def _send(self, client: Client, now: float) -> None:
        session, left = client.session, MOST_AT_ONCE
        while session.going and left > 0:
            try:
                sent = client.socket.send(session.going, FLAGS)
            except BlockingIOError:
                break
            left -= sent
            del session.going[:sent]
            session.fill()
        if session.is_open and left < MOST_AT_ONCE:  # it has taken something
            client.until = NEVER
        if session.going and client.until == NEVER:
            client.until = now + STALL

    def _let_go(self, client: Client) -> None:
        del self._clients[client.socket.fileno()]
        client.session.leave()
        client.socket.close()

    # ---- the screen -------------------------------------------------------------------------

    def _show(self, now: float) -> None:
        """Look at the screen, if it is time and anybody waits for it, and give them what is new."""
        waiting = [each for each in self._clients.values() if each.session.wants]
        if not waiting:
            return
        self._look_again(now)
        for client in waiting:
            client.session.fill()
            try:
                self._send(client, now)
            except OSError:
                self._let_go(client)

    def _look_again(self, now: float) -> None:
        """If it is time."""
        look = self._sight.look
        if look is not None and now >= self._pace.due:
            self._take_look(look, now)

    def _take_look(self, look: Look, now: float) -> None:
        before = self.frame.mode
        tiles = self.frame.show(*look.take())
        if tiles:
            self._pace.enliven(now)
            resized = self.frame.mode != before
            for client in self._clients.values():
                client.session.is_new(tiles, resized=resized)
        self._pace.looked(now)


class Locked:
    """How the process is to be locked in: whether at all, whether each layer is required, as
    which user, with which filter.
    """

    __slots__ = ("filter", "is_on", "is_required", "user")

    def __init__(
        self, filter_: bytes | None, *, is_on: bool, is_required: bool, user: Ids | None
    ) -> None:
        self.filter, self.is_on, self.is_required = filter_, is_on, is_required
        self.user = user


def live(link: Link, locked: Locked, problem: str | None, body: Callable[[Link], object]) -> None:
    """Give up all that is not needed, and do it. `problem`: why there are no namespaces.

    Raises UsageError where a layer is off that is required.
    """
    import resource  # noqa: PLC0415 - the run's process needs none of it

    os.set_blocking(link.fileno(), False)  # who types does not wait for the run's process
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    if locked.is_on:
        put_on = layers.Layers(problem)
        put_on.leave_everything(locked.user)
        listener = put_on.confine(locked.filter)
        if listener >= 0:
            link.send_descriptor(Kind.LISTENER, listener)
            os.close(listener)
        if put_on.problems and locked.is_required:
            raise UsageError(
                f"--jail require: the viewer is without {layers.words(put_on.problems)}"
            )
    link.send(Kind.STARTS)
    body(link)
