"""A run's control, and clients of every kind, which are this user's, and may be broken."""

import errno
import json
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.abi import EVENT_SIZE
from vestige.errors import GuestError, UsageError
from vestige.host.backends.events import AHEAD, MOST_WAITING, Events
from vestige.host.control.answers import DEEPEST, error_line
from vestige.host.control.client import Run, SilentError, everyone, find
from vestige.host.control.commands import BETWEEN, HELD, STARTING
from vestige.host.control.folder import Folder, open_folder
from vestige.host.control.server import (
    LONGEST_LINE,
    MOST_CLIENTS,
    Control,
    about,
    open_control,
)
from vestige.host.keys import Typist
from vestige.host.options import RunOptions, parse_cdrom

ABOUT = {"name": "one", "pid": 1, "machine": "pc", "tablet": False, "accel": "kvm"}
STATUS = b'{"do": "status"}\n'
AWAIT = b'{"do": "await"}\n'
TYPING = b'{"do": "typing"}\n'
DROP = b'{"do": "drop", "id": "x"}\n'


class Machine:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.error: str | None = None

    def ask(self, command: str, request: Any, _line: bytes) -> None:
        if self.error is not None:
            raise GuestError(self.error)
        self.asked.append((command, request))


class Served:
    """A control that listens, and its clients."""

    def __init__(self, folder: Folder, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.ended = 0
        self.control = stack.enter_context(closing(Control(ABOUT, self.end)))
        listening = open_folder(make=True)
        assert listening is not None
        self.control.listen(listening, "one")

    def end(self) -> None:
        self.ended += 1

    def types(self, events: Events) -> None:
        """The guest runs, and has a keyboard."""
        self.control.events = events
        self.control.runs(Machine())

    def client(self) -> socket.socket:
        end = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        end.setblocking(False)
        end.connect(self.folder.address("one"))
        return end

    def serve(self) -> None:
        """Until nothing is to be done."""
        for _ in range(1000):
            poll = select.poll()
            for descriptor, events in self.control.waits_for().items():
                poll.register(descriptor, events)
            if not (ready := dict(poll.poll(0))):
                return
            self.control.serve(ready)
        raise AssertionError("it is never done")

    def asks(self, data: bytes) -> list[Any]:
        """What a client of its own gets for `data`."""
        end = self.client()
        end.send(data)
        self.serve()
        return answers_to(end)


def answers_to(end: socket.socket) -> list[Any]:
    told = b""
    try:
        while data := end.recv(1 << 20):
            told += data
    except (BlockingIOError, ConnectionResetError):
        pass
    return [json.loads(line) for line in told.splitlines()]


def is_closed(end: socket.socket) -> bool:
    try:
        return end.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def served() -> Iterator[Served]:
    with ExitStack() as stack:
        folder = open_folder(make=True)
        assert folder is not None
        stack.callback(folder.close)
        yield Served(folder, stack)


def test_the_status_is_what_the_run_is(served: Served) -> None:
    (told,) = served.asks(STATUS)
    assert told["answer"].items() >= {"name": "one", "state": "starting"}.items()
    served.control.runs(Machine())
    (told,) = served.asks(STATUS)
    assert told["answer"]["state"] == "running"
    assert 0 <= told["answer"]["seconds"] < 60


def test_a_run_is_as_old_as_its_first_start(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    served.control.runs(Machine())
    served.control.runs(None)
    monkeypatch.setattr(time, "monotonic", lambda: now + 1000)
    served.control.runs(Machine())
    (told,) = served.asks(STATUS)
    assert told["answer"]["state"] == "running"
    assert 990 < told["answer"]["seconds"] <= 1000


def test_restarts_are_counted(served: Served) -> None:
    for restarts in (0, 0, 1, 2):
        (told,) = served.asks(STATUS)
        assert told["answer"]["restarts"] == restarts
        served.control.runs(None)
        served.control.runs(Machine())


def test_what_is_typed_is_answered_when_it_has_gone(served: Served) -> None:
    lines = json.dumps({"do": "type", "lines": ["a"] * 1000}).encode() + b"\n"
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        served.types(events)
        end = served.client()
        end.send(lines)
        served.serve()
        assert answers_to(end) == []
        assert served.asks(STATUS), "others are answered meanwhile"
        ring.setblocking(False)
        taken = 0
        while taken < (2 * 1000 + 1) * EVENT_SIZE:  # and the mark behind them
            try:
                taken += len(ring.recv(1000))
            except BlockingIOError:
                events.serve({})
        events.serve({})
        assert answers_to(end) == [{"answer": {}}]


def test_who_types_is_told_how_much_waits(served: Served) -> None:
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        served.types(events)
        end = served.client()
        end.send(b'{"do": "type", "lines": ["text aaa"]}\n')
        served.serve()
        (told,) = served.asks(TYPING)
        assert told["answer"].items() >= {"waits": 6, "of": 6}.items()
        assert 0 <= told["answer"]["seconds"] < 60
        ring.recv(1000)
        events.serve({})
        ring.recv(1000)
        assert served.asks(TYPING) == [{"answer": {"waits": 0, "of": 0, "seconds": 0.0}}]


def test_what_is_typed_ends_where_nobody_waits_for_it(served: Served) -> None:
    """What it holds is let go, and nothing is the answer of another that has its descriptor."""
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        ring.setblocking(False)
        served.types(events)
        first = served.client()
        first.send(json.dumps({"do": "type", "lines": ["a"] * 1000}).encode() + b"\n")
        served.serve()
        ring.recv(EVENT_SIZE)  # the key goes down
        first.close()
        served.serve()
        second = served.client()
        served.serve()
        assert all_of(ring, events) == Typist().records("release a")
        assert not events.waits_for()
        served.serve()
        assert answers_to(second) == []
        assert served.asks(STATUS)


def test_what_is_typed_can_be_dropped(served: Served) -> None:
    """Of it the machine has taken 20 events, and may not have given the last 16 to the guest."""
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        ring.setblocking(False)
        served.types(events)
        end = served.client()
        end.send(b'{"do": "type", "id": "x", "lines": ["text %s"]}\n' % (b"a" * 50))
        served.serve()
        ring.recv(20 * EVENT_SIZE)
        assert served.asks(b'{"do": "drop", "id": "y"}\n') == [
            {"error": "no type of that id waits"}
        ]
        assert served.asks(DROP) == [{"answer": {"dropped": 80, "of": 100, "held": AHEAD}}]
        assert answers_to(end) == [{"error": "dropped", "passing": True}]
        assert served.asks(DROP) == [{"error": "no type of that id waits"}]
        assert all_of(ring, events) == b""


def test_a_machine_in_a_software_host_may_have_all_that_has_gone(served: Served) -> None:
    served.control.about = {**ABOUT, "accel": "soft"}
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        served.types(events)
        served.client().send(b'{"do": "type", "id": "x", "lines": ["text %s"]}\n' % (b"a" * 50))
        served.serve()
        ring.recv(20 * EVENT_SIZE)
        assert served.asks(DROP) == [{"answer": {"dropped": 80, "of": 100, "held": 20}}]


@pytest.mark.parametrize("id_", ["null", "7", "[]", '""'])
def test_what_was_typed_without_an_id_is_not_dropped(served: Served, id_: str) -> None:
    with closing(Events()) as events:
        served.types(events)
        served.client().send(b'{"do": "type", "lines": ["a"]}\n')
        (told,) = served.asks(b'{"do": "drop", "id": %s}\n' % id_.encode())
        assert "no type of that id" in told["error"]


def test_nothing_is_typed_while_the_guest_does_not_run(served: Served) -> None:
    """Nobody could tell what becomes of it."""
    passing = {"error": STARTING, "passing": True}
    request = b'{"do": "type", "lines": ["a"]}\n'
    assert served.asks(request) == served.asks(TYPING) == [passing]
    with closing(Events()) as events:
        served.control.events = events
        assert served.asks(request) == [passing]
        served.control.runs(Machine())
        assert served.asks(request) == []
        served.control.runs(None)
        assert served.asks(request) == [{"error": BETWEEN, "passing": True}]
    served.control.about = {**ABOUT, "machine": "modern"}
    (told,) = served.asks(request)
    assert told["error"].startswith("no keyboard and no tablet: vestige run --machine pc has")


def test_clients_that_go_leave_nothing_waiting(served: Served) -> None:
    """However many they are, and whatever they ask for, the guest taking nothing."""
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        ring.setblocking(False)
        served.types(events)
        long = json.dumps({"do": "type", "lines": ["text " + "A" * 15000]}).encode() + b"\n"
        size = 4 * 15000 * EVENT_SIZE
        for _ in range(2 * MOST_WAITING // size + 2):
            end = served.client()
            end.send(long)
            served.serve()
            end.close()
            served.serve()
        assert served.asks(b'{"do": "type", "lines": []}\n') == [{"answer": {}}]
        assert served.asks(b'{"do": "type", "lines": ["b"]}\n') == []
        assert len(all_of(ring, events)) < size


def all_of(ring: socket.socket, events: Events) -> bytes:
    """What can be taken of `events` until nothing comes."""
    taken = b""
    try:
        while True:
            taken += ring.recv(1 << 20)
            events.serve({})
    except BlockingIOError:
        return taken


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('"a"', "a list of lines"),
        ("[1]", "a list of lines"),
        ("null", "a list of lines"),
        ('["a", "entre"]', "'entre' is no key: is it enter"),
        ('["text \u00e9"]', "'é' is on no key"),
    ],
)
def test_what_can_not_be_typed_is_told_and_nothing_is_done(
    served: Served, lines: str, words: str
) -> None:
    with closing(Events()) as events, socket.socket(fileno=os.dup(events.output)) as ring:
        served.types(events)
        (told,) = served.asks(b'{"do": "type", "lines": ' + lines.encode() + b"}\n")
        assert words in told["error"]
        ring.setblocking(False)
        with pytest.raises(BlockingIOError):
            ring.recv(1)


def test_stop_ends_the_run(served: Served) -> None:
    assert served.asks(b'{"do": "stop"}\n') == [{"answer": {}}]
    assert served.ended == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\n", "not JSON"),
        (b"status\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b'{"do": "status"\n', "not JSON"),
        (b"[" * 8000 + b"]" * 8000 + b"\n", "a request of more than 16 lists"),
        (b"1" * 10_000 + b"\n", "not JSON"),
        (b"[]\n", "a request is an object"),
        (b"null\n", "a request is an object"),
        (b"{}\n", "a request is an object"),
        (b'{"do": ["status"]}\n', "a request is an object"),
        (b'{"do": "frob"}\n', "'frob' is not a command; there are status, await, stop, "),
        (b'{"do": "__class__"}\n', "is not a command"),
    ],
)
def test_what_is_no_request_gets_a_line_that_says_so(
    served: Served, line: bytes, words: str
) -> None:
    told, after = served.asks(line + STATUS)
    assert words in told["error"]
    assert after["answer"]["name"] == "one"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=50) | st.sampled_from([STATUS, b"\n", b'{"do":'])))
def test_whatever_is_sent_each_line_gets_one_answer(data: list[bytes]) -> None:
    near, far = socket.socketpair()
    with near, closing(Control(ABOUT, lambda: None, (far.detach(),))) as control:
        sent = b"".join(data)
        near.send(sent + b"\n")
        near.setblocking(False)
        told: list[Any] = []
        lines = sent.count(b"\n") + 1
        while len(told) < lines:
            control.serve(dict.fromkeys(control.waits_for(), select.POLLIN | select.POLLOUT))
            told += answers_to(near)
        assert all(each.keys() in ({"answer"}, {"error"}) for each in told)


def test_a_line_without_an_end_is_refused_and_its_client_let_go(served: Served) -> None:
    end = served.client()
    sent = 0
    try:
        while sent < 100 * LONGEST_LINE:
            sent += end.send(b"A" * LONGEST_LINE)
            served.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert sent < 20 * LONGEST_LINE
    assert served.asks(STATUS)


@pytest.mark.parametrize("size", [LONGEST_LINE - 20, LONGEST_LINE + 1, 2 * LONGEST_LINE])
def test_the_longest_line_is_the_longest(served: Served, size: int) -> None:
    line = json.dumps({"do": "status", "more": "A" * (size - 32)}).encode().rjust(size) + b"\n"
    assert len(line) == size + 1
    told = served.asks(line)
    assert [True for each in told if "answer" in each] == [True] * (size <= LONGEST_LINE)


def test_half_a_line_holds_up_nobody(served: Served) -> None:
    half = served.client()
    half.send(STATUS[:5])
    served.serve()
    assert served.asks(STATUS)
    half.send(STATUS[5:])
    served.serve()
    assert len(answers_to(half)) == 1


def test_who_ends_its_input_is_answered_first(served: Served) -> None:
    """As nc -N does."""
    end = served.client()
    end.send(2 * STATUS)
    end.shutdown(socket.SHUT_WR)
    served.serve()
    assert len(answers_to(end)) == 2
    assert is_closed(end)


def test_a_thousand_clients_get_their_turn(served: Served) -> None:
    """However many come and say nothing: the last is answered, and few are kept."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    clients = []
    for _ in range(1000):
        clients.append(served.client())
        served.serve()
    assert served.asks(STATUS)
    assert sum(not is_closed(each) for each in clients) < MOST_CLIENTS
    assert len(os.listdir("/proc/self/fd")) - before <= 1000 + 2 * MOST_CLIENTS  # noqa: PTH208


def test_who_reads_nothing_holds_up_nobody(served: Served) -> None:
    deaf = [served.client() for _ in range(3)]
    for end in deaf:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        for _ in range(3000):
            try:
                end.send(STATUS)
            except BlockingIOError:
                served.serve()
                break
    assert served.asks(STATUS)


def test_a_client_gets_one_answer_at_a_time(served: Served) -> None:
    """So a thousand lines of one don't come before one line of another."""
    greedy, other = served.client(), served.client()
    greedy.send(100 * STATUS)
    other.send(STATUS)
    while not (told := answers_to(other)):
        served.control.serve(dict.fromkeys(served.control.waits_for(), 1 | 4))
    assert len(told) == 1
    assert len(answers_to(greedy)) < 10
    rest = 0
    while rest < 90:
        served.serve()
        rest += len(answers_to(greedy))


@pytest.mark.parametrize("sent", [b"", STATUS, STATUS[:4], b'{"do": "exits"}\n'])
def test_who_leaves_is_let_go(served: Served, sent: bytes) -> None:
    served.control.runs(Machine())
    served.serve()
    before = len(served.control.waits_for())
    end = served.client()
    end.send(sent)
    end.close()
    served.serve()
    assert len(served.control.waits_for()) == before


def test_without_descriptors_clients_wait(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One can be had at any time, by the descriptor that is kept for it."""

    def refuse(_descriptor: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "dup", refuse)
    first, second = served.client(), served.client()
    for end in (first, second):
        end.send(STATUS)
    served.serve()
    assert len(answers_to(first)) == 1
    assert answers_to(second) == []
    monkeypatch.undo()
    first.close()
    served.serve()
    assert len(answers_to(second)) == 1


# ---- the machine ------------------------------------------------------------------------------

EXITS = b'{"do": "exits", "of": "all"}\n'


def test_the_machine_answers_what_is_its(served: Served) -> None:
    machine = Machine()
    served.control.runs(machine)
    end = served.client()
    end.send(EXITS)
    served.serve()
    assert machine.asked == [("exits", {"do": "exits", "of": "all"})]
    assert answers_to(end) == []
    served.control.answered(b'{"answer": [1, 2]}')
    served.serve()
    assert answers_to(end) == [{"answer": [1, 2]}]


def test_a_run_tells_that_its_guest_is_paused(served: Served) -> None:
    """Once it is, until it goes on or starts anew; nothing is typed meanwhile."""

    def state() -> str:
        (told,) = served.asks(STATUS)
        return str(told["answer"]["state"])

    def asks(command: bytes, answer: bytes) -> None:
        end = served.client()
        end.send(b'{"do": "' + command + b'"}\n')
        served.serve()
        assert answers_to(end) == []
        served.control.answered(answer)
        served.serve()

    done = b'{"answer": {}}'
    served.types(served.stack.enter_context(closing(Events())))
    asks(b"pause", error_line("it does not stop"))
    assert state() == "running"
    asks(b"pause", done)
    assert state() == "paused"
    since = served.control.paused_since
    asks(b"pause", done)
    asks(b"exits", done)
    asks(b"resume", error_line("no"))
    assert (state(), served.control.paused_since) == ("paused", since)
    (told,) = served.asks(b'{"do": "type", "lines": ["a"]}\n')
    assert told == {"error": "the guest is paused; vestige resume one first", "passing": True}
    asks(b"resume", done)
    assert state() == "running"
    asks(b"pause", done)
    served.control.runs(Machine())
    assert state() == "running"


def test_of_who_has_gone_the_machine_is_asked_nothing(served: Served) -> None:
    """A pause that nobody waits for any more is none; who can't send but reads still waits."""
    machine = Machine()
    served.control.runs(machine)
    with served.client() as gone:
        gone.send(b'{"do": "pause"}\n')
    served.serve()
    assert machine.asked == []
    half = served.client()
    half.send(b'{"do": "pause"}\n')
    half.shutdown(socket.SHUT_WR)
    served.serve()
    assert [command for command, _ in machine.asked] == ["pause"]


@pytest.mark.parametrize("depth", [DEEPEST, 300, 2001, 8000])
@pytest.mark.parametrize("of", ["[]", "{}"])
def test_what_nests_too_deep_is_asked_nobody(served: Served, depth: int, of: str) -> None:
    """Python 3.11 reads the first two of these, 3.13 all, of which marshal writes no more."""
    machine = Machine()
    served.control.runs(machine)
    opened, closed = {"[]": ("[", "]"), "{}": ('{"":', "}")}[of]
    depth = min(depth, LONGEST_LINE // 6)
    line = '{"do": "exits", "x": ' + opened * depth + "1" + closed * depth + "}\n"
    (told,) = served.asks(line.encode())
    assert told == {"error": "a request of more than 16 lists and objects within each other"}
    assert machine.asked == []
    assert "answer" in served.asks(STATUS)[0]


def test_what_nests_as_deep_as_may_be_is_asked(served: Served) -> None:
    machine = Machine()
    served.control.runs(machine)
    deep = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    served.asks(f'{{"do": "exits", "x": {deep}}}\n'.encode())
    assert machine.asked == [("exits", {"do": "exits", "x": json.loads(deep)})]


def test_the_machine_is_asked_one_thing_at_a_time(served: Served) -> None:
    machine = Machine()
    served.control.runs(machine)
    ends = [served.client() for _ in range(3)]
    for end in ends:
        end.send(EXITS)
    served.serve()
    for number, end in enumerate(ends):
        assert len(machine.asked) == number + 1
        served.control.answered(json.dumps({"answer": number}).encode())
        served.serve()
        assert answers_to(end) == [{"answer": number}]


def test_a_machine_that_never_answers_holds_up_no_status(served: Served) -> None:
    served.control.runs(Machine())
    for _ in range(MOST_CLIENTS + 5):
        served.client().send(EXITS)
        served.serve()
    assert "answer" in served.asks(STATUS)[0]
    assert "answer" in served.asks(b'{"do": "stop"}\n')[0]


def test_nobody_gets_anothers_answer(served: Served) -> None:
    """Who asked has left; the answer is nobody's."""
    machine = Machine()
    served.control.runs(machine)
    first = served.client()
    first.send(EXITS)
    served.serve()
    first.close()
    served.serve()
    second = served.client()
    second.send(EXITS)
    served.serve()
    assert len(machine.asked) == 1
    served.control.answered(b'{"answer": "the first"}')
    served.control.answered(b'{"answer": "the second"}')
    served.serve()
    assert answers_to(second) == [{"answer": "the second"}]


def test_an_answer_that_nobody_asked_for_is_dropped(served: Served) -> None:
    end = served.client()
    served.serve()
    served.control.answered(b'{"answer": 1}')
    served.serve()
    assert answers_to(end) == []


def test_who_awaits_a_guest_is_answered_once_it_runs(served: Served) -> None:
    first, second = served.client(), served.client()
    for each in (first, second):
        each.send(AWAIT)
    served.serve()
    assert answers_to(first) == []
    second.close()
    served.serve()
    served.control.runs(Machine())
    served.serve()
    assert answers_to(first) == [{"answer": {}}]
    assert served.asks(AWAIT) == [{"answer": {}}]


def test_a_guest_that_is_held_says_so_until_it_goes_on(served: Served) -> None:
    served.control.is_held = True
    (told,) = served.asks(STATUS)
    assert told["answer"]["state"] == "held"
    assert served.asks(EXITS) == [{"error": HELD, "passing": True}]
    served.control.runs(Machine())
    (told,) = served.asks(STATUS)
    assert told["answer"]["state"] == "running"


def test_without_a_guest_there_is_an_error(served: Served) -> None:
    (told,) = served.asks(EXITS)
    assert "does not run now: it starts; try again" in told["error"]
    served.control.runs(Machine())
    served.control.runs(None)
    (told,) = served.asks(EXITS)
    assert "does not run now: it restarts, or has ended; try again" in told["error"]


def test_who_asked_a_guest_that_ends_is_told(served: Served) -> None:
    served.control.runs(Machine())
    ends = [served.client() for _ in range(3)]
    for end in ends:
        end.send(EXITS)
    served.serve()
    served.control.runs(None)
    served.serve()
    assert all("does not run now" in answers_to(end)[0]["error"] for end in ends)


def test_a_machine_that_can_not_be_asked_is_told(served: Served) -> None:
    machine = Machine()
    machine.error = "busy"
    served.control.runs(machine)
    assert served.asks(EXITS) == [{"error": "busy", "passing": True}]


def test_an_answer_is_one_line(served: Served) -> None:
    served.control.runs(Machine())
    end = served.client()
    end.send(EXITS)
    served.serve()
    served.control.answered(b'{"answer":\n1}')
    served.serve()
    assert answers_to(end) == [{"answer": 1}]


# ---- who asks ---------------------------------------------------------------------------------


def test_only_who_asked_for_a_name_needs_its_socket(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As where another kernel shares the folder and took the name meanwhile."""

    def taken(_folder: Folder, _name: str) -> NoReturn:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(Folder, "listen", taken)
    open_control(RunOptions(), lambda: None).close()
    reason = "the socket of run {}: Address already in use"
    unnamed = reason.format(os.getpid())
    told = capfd.readouterr().err
    assert told == f"vestige: {unnamed}: no `vestige ps` or `vestige stop` for this run\n"
    with pytest.raises(UsageError, match=reason.format("web")):
        open_control(RunOptions(name="web"), lambda: None)


def test_a_run_whose_number_is_taken_is_told_from_the_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As by one in another PID namespace, which shares the folder."""
    number = str(os.getpid())
    names = [number, f"{number}-2", f"{number}-3"]
    with ExitStack() as stack:
        controls = [open_control(RunOptions(), lambda: None) for _ in names]
        for control in controls:
            stack.callback(control.close)
        assert [control.about["name"] for control in controls] == names
        found = everyone()
        assert [run.name for run in found] == names
        for run in found:
            run.close()
        controls[1].close()
        with closing(open_control(RunOptions(), lambda: None)) as again:
            assert again.about["name"] == names[1]
    assert everyone() == []
    assert capfd.readouterr().err == ""


def test_a_run_is_found_by_its_name(served: Served) -> None:
    with find("one") as run:
        assert run.pid == os.getpid()
        run.send({"do": "status"})
        served.serve()
        assert run.take()["name"] == "one"
    (found,) = everyone()
    found.close()


@pytest.mark.parametrize("name", ["two", "", "../vestige/one", ".", "a/b", "x" * 300, "\0"])
def test_a_run_that_there_is_not_is_told_with_those_that_there_are(
    served: Served, name: str
) -> None:
    with pytest.raises(UsageError, match=r"no run .*; there are one"):
        find(name)


def test_a_killed_runs_socket_is_none(served: Served) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(served.folder.address("two"))
    for run in everyone():
        run.close()
    assert served.folder.names() == ["one"]


def answered(data: bytes) -> Any:
    """What who asks makes of an answer."""
    folder = open_folder(make=True)
    assert folder is not None
    with closing(folder), ExitStack() as stack:
        listener, _ = folder.listen("two")
        stack.callback(listener.close)
        run = stack.enter_context(Run(folder, "two"))
        end, _ = socket.socket(fileno=os.dup(listener.fileno())).accept()
        run.send({"do": "status"})
        end.recv(1000)
        with end:
            end.sendall(data)
        while (answer := run.take()) is None:
            pass
        return answer


NO_NUMBERS = [
    b'{"answer": {"seconds": %s}}\n' % number
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999")
]


def test_an_error_is_told_with_the_runs_name() -> None:
    with pytest.raises(UsageError, match="two: no such thing"):
        answered(error_line("no such thing") + b"\n")
    with pytest.raises(GuestError, match="two: not now"):
        answered(error_line(GuestError("not now")) + b"\n")


@pytest.mark.parametrize(
    "data", [b"\n", b"[]\n", b"{}\n", b"x\n", b"\xff\n", b"[" * 99999 + b"\n", *NO_NUMBERS]
)
def test_an_answer_that_is_none_is_told(data: bytes) -> None:
    with pytest.raises(Exception, match="two: an answer that is none of a run's"):
        answered(data)


@pytest.mark.parametrize("data", [b"", b'{"answer": 1}', b"A" * 100])
def test_an_end_without_an_answer_is_told(data: bytes) -> None:
    with pytest.raises(SilentError, match="two: ended without an answer"):
        answered(data)


def test_who_may_open_no_more_files_is_told_so_and_overlooks_nobody(served: Served) -> None:
    for name in ("two", "three", "four"):
        listener, _ = served.folder.listen(name)
        served.stack.callback(listener.close)
    next_one = os.dup(0)
    os.close(next_one)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one + 4, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as raised:
            everyone()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert raised.value.errno == errno.EMFILE


def test_too_long_a_request_is_refused_before_it_is_sent(served: Served) -> None:
    with find("one") as run:
        with pytest.raises(UsageError, match=r"one: a request of 300037 bytes; .* takes 16 KiB"):
            run.send({"do": "type", "lines": ["a" * 100_000] * 3})
        fits = {"do": "status", "x": ""}
        fits["x"] = "a" * (LONGEST_LINE - len(json.dumps(fits)))
        run.send(fits)
        served.serve()
        assert run.take()["name"] == "one"


def test_no_answer_is_told_in_time(served: Served) -> None:
    began = time.monotonic()
    with find("one") as run, pytest.raises(SilentError, match="one: no answer within 0 s"):
        run.ask({"do": "status"}, 0.2)
    assert time.monotonic() - began < 5


def test_of_a_run_with_a_drive_it_is_told_which_disc_it_began_with() -> None:
    for text, disc in (("a.iso", "a.iso"), ("none", None)):
        assert about(RunOptions(machine="pc", cdrom=parse_cdrom(text)), 7)["cdrom"] == disc
    assert "cdrom" not in about(RunOptions("kernel"), 7)
