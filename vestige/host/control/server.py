"""The control of a run, in the run's own process: clients, their lines, and who answers them.

Threats: a client is a process of the same user. It may send half lines or endless ones, nothing or
too much, read nothing, and come a thousand times: what each holds here is bounded, and so is what
is done for it before others are served. The guest's process does not wait for any of them. What the
machine's process answers is one line of bounded length, and no more is believed of it.
"""

import _socket
import errno
import os
import select
import time
from _collections_abc import Callable, Mapping

from vestige.errors import GuestError, UsageError
from vestige.host.control.answers import (
    DEEPEST,
    answer_line,
    error_line,
    is_answer,
    is_deep,
    json_of,
)
from vestige.host.control.commands import (
    BETWEEN,
    FREEZE,
    HELD,
    OF_MACHINE,
    OF_RUN,
    PAUSE,
    RESUME,
    STARTING,
    Later,
)
from vestige.host.control.folder import AGENT, Folder, Identity, NameTakenError, open_folder
from vestige.host.messages import tell
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Protocol

    from vestige.host.backends.drive import Drive
    from vestige.host.backends.events import Dropped, Events
    from vestige.host.control.commands import Answer
    from vestige.host.freeze.writing import Writer
    from vestige.host.options import RunOptions

    class Machine(Protocol):
        """Who answers the commands of the machine, one after the other."""

        def ask(self, command: str, request: Mapping[str, Any], line: bytes) -> None:
            """Have it answer by Control.answered. Raises GuestError where it can't be asked now,
            UsageError where it can't at all.
            """


MOST_CLIENTS = 16
LONGEST_LINE = 16 << 10  # bytes of a request
HANGUP = select.POLLHUP | select.POLLERR
STARTED = b"started"  # no answer to anybody


class Client:
    """One that is connected, by its descriptor, which is a socket's or a device's.

    `coming` is what it sent and nobody has looked at, `going` what it has not taken yet. `reads`:
    it may send more; `waits`: a request of its is being answered, by `later` where that is so;
    `holds`: the guest is paused as long as it is connected.
    """

    __slots__ = ("coming", "descriptor", "going", "holds", "later", "reads", "waits")

    def __init__(self, descriptor: int) -> None:
        if descriptor >= 0:
            os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.holds = False
        self.coming, self.going = bytearray(), bytearray()
        self.reads, self.waits = True, False
        self.later: Later | None = None

    @property
    def has_line(self) -> bool:
        """Whether a request can be taken: one after the other, each once the last is answered."""
        return not self.waits and not self.going and b"\n" in self.coming

    @property
    def is_idle(self) -> bool:
        """Whether nothing is done for it."""
        return not self.waits and not self.going

    def events(self) -> int:
        """What poll(2) is to tell of it."""
        if self.going or self.has_line:  # a line that waits is taken at once
            return select.POLLOUT
        return select.POLLIN if self.reads and len(self.coming) <= LONGEST_LINE else 0

    def read(self) -> None:
        """Take what it has sent."""
        try:
            data = os.read(self.descriptor, LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.coming += data
        self.reads = bool(data)

    def write(self) -> bool:
        """Give it what it takes; False: it has gone."""
        try:
            del self.going[: os.write(self.descriptor, self.going)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


class Control:
    """All that asks of one run. `machine`: who answers for the guest, None while it does not run.

    `about`: what is told of the run as it was asked for; `since`, `running_since`: of
    time.monotonic, when it began, and when its guest first did, None: it has not yet;
    `paused_since`: when that was paused, None: it is not; `is_held`: it is there, and waits to be
    let go on; `starts`: how often it has been started; `end` ends the run.
    """

    def __init__(
        self, about: "Mapping[str, Any]", end: Callable[[], object], clients: tuple[int, ...] = ()
    ) -> None:
        """`clients`: descriptors of some that are connected already; they are closed here.

        These are told of each start of the guest by a line, STARTED.
        """
        self.about, self.end = about, end
        self.since = time.monotonic()
        self.running_since: float | None = None
        self.paused_since: float | None = None
        self.is_held = False
        self.starts = 0
        self.events: Events | None = None  # of keyboard, mouse and tablet, once its files are open
        self.drive: Drive | None = None  # for discs, if there is one, then too
        # What a snapshot in a folder is to say of the run, as it is then, once there is one.
        self.manifest: Callable[[int], dict[str, Any]] | None = None
        self.writer: Writer | None = None  # of the freeze that is under way
        self.agent: str | None = None  # where the socket of the guest's agent is to be
        self._machine: Machine | None = None
        self._clients = {each: Client(each) for each in clients}  # the last to be served at the end
        self._first = tuple(self._clients.values())
        self._queue: list[tuple[Client, str, Mapping[str, Any], bytes]] = []
        self._awaiting: list[Later] = []  # who is told once the guest runs
        self._asking: Client | None = None  # whose request the machine has
        self._asked = ""  # its command, or that to which it comes
        self._folder: Folder | None = None
        self._listener: _socket.socket | None = None
        self._identity: Identity = None
        self._spare = -1  # the descriptor that the next client will have

    def listen(self, folder: Folder, name: str, *, agent: bool = False) -> None:
        """Take clients at the socket of this name. Raises as its `listen`.

        `agent`: there is to be a socket for the guest's agent, too, which another opens.
        """
        self._listener, self._identity = folder.listen(name)
        self._folder = folder
        place = f"{name}{AGENT}"
        self.about = {
            **self.about,
            "name": name,
            "agent": f"{folder.path}/{place}" if agent else None,
        }
        self.agent = folder.address(place) if agent else None
        self._keep_spare()

    def runs(self, machine: "Machine | None") -> None:
        """The guest runs, and this answers for it; None: it does not run any more."""
        if machine is not None:
            self.started()
        self._machine, self.paused_since = machine, None
        if machine is not None:
            awaiting, self._awaiting = self._awaiting, []
            for later in awaiting:
                later.done()
        if self._asking is not None:
            self.refused(self.not_running())
        self._ask()

    def started(self) -> None:
        """The guest has been started, for the first time or once more."""
        self.starts += 1
        self.is_held = False
        if self.running_since is None:
            self.running_since = time.monotonic()
        for client in self._first:
            if client.descriptor in self._clients:
                client.going += STARTED + b"\n"
                if not client.write():
                    self._let_go(client)

    @property
    def is_running(self) -> bool:
        """Whether the guest does."""
        return self._machine is not None

    def not_running(self) -> GuestError:
        """Why nothing can be asked of the guest while there is none."""
        if self.is_held:
            return GuestError(HELD)
        return GuestError(BETWEEN if self.starts else STARTING)

    def await_guest(self) -> Later:
        """What is done once the guest runs."""
        later = Later()
        if self.is_running:
            later.done()
            return later
        self._awaiting.append(later)

        def give_up() -> None:
            self._awaiting = [each for each in self._awaiting if each is not later]

        later.give_up = give_up
        return later

    # ---- clients --------------------------------------------------------------------------

    def waits_for(self) -> dict[int, int]:
        """Descriptors to be watched, each with its poll events."""
        events = {each.descriptor: each.events() for each in self._clients.values()}
        if self._listener is not None and self._spare >= 0:
            events[self._listener.fileno()] = select.POLLIN
        if self.writer is not None and self.writer.source >= 0:
            events[self.writer.source] = select.POLLIN
        return events

    def serve(self, ready: dict[int, int]) -> None:
        """Do what the poll events in `ready` allow: one request of each client, at most."""
        if self.writer is not None and self.writer.source in ready:
            self.writer.take()
        for client in list(self._clients.values()):
            came = ready.get(client.descriptor, 0)
            if came and self._clients.get(client.descriptor) is client:
                self._serve_client(client, came)
        if self._listener is not None and self._listener.fileno() in ready:
            self._take_client(self._listener)

    def _serve_client(self, client: Client, came: int) -> None:
        if came & HANGUP and not came & select.POLLIN:  # it takes no answer
            self._let_go(client)
            return
        if came & select.POLLIN:
            client.read()
        if client.going and not client.write():
            self._let_go(client)
            return
        line, end, rest = client.coming.partition(b"\n")
        if len(line) > LONGEST_LINE:
            client.coming.clear()
            client.reads = False
            self._send(client, error_line(f"a request of more than {LONGEST_LINE} bytes"))
        elif end and client.is_idle:
            client.coming = rest
            self._clients[client.descriptor] = self._clients.pop(client.descriptor)
            self._take_line(client, bytes(line), is_gone=bool(came & HANGUP))
        if not client.reads and client.is_idle and not client.has_line:
            self._let_go(client)

    def _take_client(self, listener: _socket.socket) -> None:
        """The next client; where there are too many, the one that was idle for longest goes."""
        if len(self._clients) >= MOST_CLIENTS:
            clients = self._clients.values()
            self._let_go(next((each for each in clients if each.is_idle), next(iter(clients))))
        spare, self._spare = self._spare, -1
        os.close(spare)
        try:
            descriptor, _ = listener._accept()  # type: ignore[attr-defined] # socket is slow to import
        except OSError:  # it has gone, or somebody was faster with the descriptor
            descriptor = -1
        if descriptor >= 0:
            self._clients[descriptor] = Client(descriptor)
        self._keep_spare()

    def _keep_spare(self) -> None:
        """Where there is none to be had, the next client waits until one goes."""
        listener = self._listener
        if self._spare < 0 and listener is not None:
            try:
                self._spare = os.dup(listener.fileno())
            except OSError:
                return

    def _let_go(self, client: Client) -> None:
        """What is asked of the machine for it goes on, and its answer is nobody's.

        What is typed for it is given up.
        """
        if self._clients.pop(client.descriptor, None) is None:
            return
        os.close(client.descriptor)
        if client.later is not None:
            client.later.give_up()
        self._queue = [each for each in self._queue if each[0] is not client]
        if client.holds:
            self._let_go_on()
            self._ask()
        self._keep_spare()

    # ---- requests -------------------------------------------------------------------------

    def _take_line(self, client: Client, line: bytes, *, is_gone: bool) -> None:
        """Of one that `is_gone` and takes no answer the machine is asked nothing."""
        try:
            command, request = _read(line)
            if command in OF_RUN:
                self._answer(client, OF_RUN[command](self, request))
            elif not is_gone:
                client.waits = True
                self._queue.append((client, command, request, line))
                self._ask()
        except (GuestError, UsageError) as error:
            self._send(client, error_line(error))

    def give_up(self, id_: object) -> "Dropped | None":
        """Give up what is done for a client by this id; None: there is no such thing, or no more.

        That client is told.
        """
        for client in list(self._clients.values()):
            later = client.later
            if later is not None and isinstance(id_, str) and later.id == id_:
                dropped = later.give_up()
                if dropped is not None:
                    self._send(client, error_line(GuestError("dropped")))
                return dropped
        return None

    def _answer(self, client: Client, answer: "Answer | Later") -> None:
        if isinstance(answer, Later):
            client.waits, client.later = True, answer
            answer.tell(lambda: self._send(client, answer_line("{}")))
        else:
            self._send(client, answer_line(json_of(answer)))

    def _ask(self) -> None:
        """Have the machine answer the next request, unless it has one."""
        while self._asking is None and self._queue:
            self._asking, command, request, line = self._queue.pop(0)
            stays = command == FREEZE and request.get("stays")
            self._asked = PAUSE if stays else command
            if self._machine is None:
                self.refused(self.not_running())
                continue
            try:
                self._machine.ask(command, request, line)
            except (GuestError, UsageError) as error:
                self.refused(error)

    def refused(self, error: GuestError | UsageError) -> None:
        """The machine's answer is none, for this reason."""
        self.answered(error_line(error))

    def answered(self, line: bytes) -> None:
        """The machine's answer, as its client gets it."""
        client, self._asking = self._asking, None
        if is_answer(line):
            self._note(self._asked)
        if client is not None:
            self._send(client, line.replace(b"\n", b" "))
        self._ask()

    def hold(self, *, is_whole: bool) -> None:
        """The guest is paused for who has asked for a freeze, as long as that one is connected.

        It goes on where the snapshot is not `is_whole`, or nobody is there any more.
        """
        client = self._asking
        if client is not None and is_whole and self._clients.get(client.descriptor) is client:
            client.holds = True
        else:
            self._let_go_on()

    def _let_go_on(self) -> None:
        """Have the guest do so, once the machine has answered what it is asked."""
        self._queue.append((Client(-1), RESUME, {}, b""))

    def _note(self, done: str) -> None:
        """What the machine has done is to be told of the run."""
        if done == PAUSE and self.paused_since is None:
            self.paused_since = time.monotonic()
        elif done == RESUME:
            self.paused_since = None

    def _send(self, client: Client, line: bytes) -> None:
        if self._clients.get(client.descriptor) is not client:
            return  # it has gone, and another may have its descriptor
        client.waits, client.later = False, None
        client.going += line + b"\n"
        if not client.write():
            self._let_go(client)

    def close(self) -> None:
        """Let all clients go, and remove the socket; a second time does nothing."""
        for client in list(self._clients.values()):
            self._let_go(client)
        folder, self._folder = self._folder, None
        if folder is not None and self._listener is not None:
            folder.remove(str(self.about["name"]), self._identity)
            self._listener.close()
            folder.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


def _read(line: bytes) -> "tuple[str, dict[str, Any]]":
    """A request: its command, and all of it. Raises UsageError."""
    import json  # noqa: PLC0415 - slow, and few runs are asked anything

    try:
        request = json.loads(line)
        too_deep = is_deep(request)  # for marshal, too, and how deep json reads differs by Python
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from None
    except RecursionError:
        too_deep = True
    if too_deep:
        raise UsageError(f"a request of more than {DEEPEST} lists and objects within each other")
    command = request.get("do") if isinstance(request, dict) else None
    if not isinstance(command, str):
        raise UsageError('a request is an object with a command: {"do": "status"}')
    if command not in OF_RUN and command not in OF_MACHINE:
        known = ", ".join((*OF_RUN, *OF_MACHINE))
        raise UsageError(f"{command!r} is not a command; there are {known}")
    return command, request


def about(asked: "RunOptions", pid: int) -> "dict[str, Any]":
    """What is told of a run, of the process `pid`, by who asks. `cdrom`: the disc in a drive, if
    there is one.
    """
    drive = {} if asked.drive is None else {"cdrom": asked.disks[asked.drive].path or None}
    return {
        "name": name_of(asked, pid),
        "pid": pid,
        "machine": asked.machine,
        "tablet": asked.tablet,
        "accel": "soft" if asked.accel == "soft" else "kvm",
        "cpus": asked.cpus,
        "memory": asked.memory,
        "start": asked.start[1],
        "kernel": asked.kernel,
        "disks": [disk.path for disk in asked.disks if not disk.is_optical],
        "agent": None,  # until its place is known
        **drive,
    }


def name_of(asked: "RunOptions", pid: int) -> str:
    """The run's."""
    return str(pid) if asked.name is None else asked.name


def _listen(control: Control, folder: Folder, asked: "RunOptions", pid: int) -> None:
    """Have it listen by its name, or by its number, with another behind where that is taken.

    A run in another PID namespace may have that number, too. Raises UsageError, OSError.
    """
    name, others = name_of(asked, pid), 1
    while True:
        try:
            control.listen(folder, name, agent=asked.agent)
        except NameTakenError:
            if asked.name is not None:
                raise
            others += 1
            name = f"{name_of(asked, pid)}-{others}"
        else:
            return


def open_control(asked: "RunOptions", end: Callable[[], object], pid: int | None = None) -> Control:
    """The control of a run. Who gave it no name, and wants no agent, gets it without a socket where
    there can be none. `pid`: of the process that is the run to its user, None: this one.

    Raises UsageError.
    """
    pid = pid or os.getpid()
    control = Control(about(asked, pid), end)
    try:
        folder = open_folder(make=True)
        if folder is not None:
            try:
                _listen(control, folder, asked, pid)
            except BaseException:
                folder.close()
                raise
    except (UsageError, OSError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            if error.errno in (errno.EMFILE, errno.ENFILE):  # there will be none for the rest
                raise
            what = error.filename or f"the socket of run {name_of(asked, pid)}"
            reason = f"{what}: {error.strerror}"
        if asked.name is not None or asked.agent:
            raise UsageError(reason) from error
        tell(f"{reason}: no `vestige ps` or `vestige stop` for this run")
    return control
