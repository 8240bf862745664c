"""Events of a file, a FIFO, a socket and whoever types, on their way into the ring's socket."""

import io
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.abi import EVENT_SIZE, EventKind
from vestige.errors import GuestError, UsageError
from vestige.host.backends import events
from vestige.host.backends.events import (
    AHEAD,
    MARK,
    MOST_WAITING,
    Dropped,
    Events,
    Lines,
    Source,
    open_events,
)
from vestige.host.keys import Typist

PATIENCE = 10.0
A = Typist().records("a")
B = Typist().records("b")
ENTER = Typist().records("enter")


class Ring:
    """The ring's side of events, which are served meanwhile."""

    def __init__(self, events: Events, stack: ExitStack) -> None:
        self.events = stack.enter_context(closing(events))
        self.end = stack.enter_context(socket.socket(fileno=os.dup(events.output)))

    def serve(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline
            poll = select.poll()
            for descriptor, wanted in self.events.waits_for().items():
                poll.register(descriptor, wanted)
            self.events.serve(dict(poll.poll(50)))

    def takes(self, size: int) -> bytes:
        """So many bytes that have come."""
        data = bytearray()

        def take() -> bool:
            if select.select([self.end], [], [], 0)[0]:
                data.extend(self.end.recv(size - len(data)))
            return len(data) == size

        self.serve(take)
        return bytes(data)

    def has_nothing(self) -> bool:
        return not select.select([self.end], [], [], 0)[0]


@pytest.fixture
def ring() -> Iterator[Callable[[Events], Ring]]:
    with ExitStack() as stack:
        yield lambda events: Ring(events, stack)


def pointer(buttons: int) -> bytes:
    return bytes([EventKind.POINTER, buttons]).ljust(EVENT_SIZE, b"\0")


Opener = Callable[[Events], Ring]


def test_a_files_lines_are_there_from_the_beginning(ring: Opener, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# a line of words\na\n\r\n  \ntext a\\n\r\nenter")
    opened = ring(open_events(str(tmp_path / "keys")))
    assert opened.takes(4 * len(A)) == A + A + ENTER + ENTER


def test_a_byte_order_mark_is_passed_over(ring: Opener, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a\n# a comment\n", encoding="utf-8-sig")
    assert ring(open_events(str(tmp_path / "keys"))).takes(len(A)) == A
    (tmp_path / "keys").write_text("# a comment\na\n", encoding="utf-8-sig")
    assert ring(open_events(str(tmp_path / "keys"))).takes(len(A)) == A


def test_a_file_with_a_line_that_means_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a\nentre\n")
    with pytest.raises(UsageError, match=r"--keys .*keys, line 2: 'entre' is no key: is it enter"):
        open_events(str(tmp_path / "keys"))


@pytest.mark.parametrize("name", ["nothing", "\0"])
def test_what_can_not_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--keys .*; give a file of keys, or unix:PATH"):
        open_events(f"{tmp_path}/{name}")


@pytest.mark.parametrize("path", ["/", "/dev/zero", "/dev/null", "/dev/urandom"])
def test_what_is_no_file_fifo_or_terminal_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=rf"--keys {path}: neither a file, a FIFO nor a terminal"):
        open_events(path)


def test_a_file_that_would_be_waited_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As /proc/kmsg, a regular file, where the kernel has nothing to say."""

    class Waits(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return None  # type: ignore[return-value] # as io has it

    def opened(descriptor: int, _mode: str) -> Waits:
        os.close(descriptor)
        return Waits()

    (tmp_path / "keys").write_text("a\n")
    monkeypatch.setattr(events, "open", opened, raising=False)
    with pytest.raises(UsageError, match=r"--keys .*: a file that has nothing to be read now; "):
        open_events(str(tmp_path / "keys"))


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """Before any of it is looked at, as keys take far more memory than their words."""
    (tmp_path / "keys").write_bytes(b"frob\n" + b"#" * (64 << 10))
    with pytest.raises(UsageError, match=r"keys: more than 65536 bytes; give it by a FIFO"):
        open_events(str(tmp_path / "keys"))


def test_a_file_of_the_most_bytes_is_taken(ring: Opener, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"#".ljust((64 << 10) - 2) + b"\na")
    assert ring(open_events(str(tmp_path / "keys"))).takes(len(A)) == A


def test_a_fifos_lines_come_as_they_are_written(
    ring: Opener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any number of writers; a line that means nothing is told, and passed over."""
    os.mkfifo(tmp_path / "keys")
    opened = ring(open_events(str(tmp_path / "keys")))
    for text in ("a\n", "frob\nenter\nen", "ter\n"):
        (tmp_path / "keys").write_text(text)
        if text != "frob\nenter\nen":
            continue
        assert opened.takes(len(A + ENTER)) == A + ENTER
    assert opened.takes(len(ENTER)) == ENTER
    assert "'frob' is no key" in capsys.readouterr().err


def test_lines_that_mean_nothing_are_told_a_few_times(
    ring: Opener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "keys")
    opened = ring(open_events(str(tmp_path / "keys")))
    (tmp_path / "keys").write_text("frob\n" * 100 + "A" * 5000 + "\n" + "a\n")
    assert opened.takes(len(A)) == A
    assert 0 < capsys.readouterr().err.count("\n") <= 16


def test_all_of_a_line_that_is_too_long_is_passed_over(
    ring: Opener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However its end comes: what follows 4096 bytes is no line of its own."""
    os.mkfifo(tmp_path / "keys")
    opened = ring(open_events(str(tmp_path / "keys")))
    with (tmp_path / "keys").open("wb", buffering=0) as file:
        file.write(b"a\n" + b"#" * 4100)
        assert opened.takes(len(A)) == A
        opened.serve(lambda: "more than 4096" in capsys.readouterr().err)
        file.write(b"b\nenter\n" + b"#" * 4097 + b"\n")
        assert opened.takes(len(ENTER)) == ENTER
        opened.serve(lambda: "more than 4096" in capsys.readouterr().err)
        file.write(b"a\n")
        assert opened.takes(len(A)) == A
    assert opened.has_nothing()
    assert capsys.readouterr().err == ""


def test_a_terminals_last_line_needs_no_end(ring: Opener) -> None:
    near, far = socket.socketpair()
    with near:
        opened = ring(Events(Lines(far.detach(), "--keys tty")))
        near.send(b"a\nente")
        assert opened.takes(len(A)) == A
        near.send(b"r")
        near.shutdown(socket.SHUT_WR)
        assert opened.takes(len(ENTER)) == ENTER
        opened.serve(lambda: not opened.events.waits_for())


@pytest.mark.parametrize("half", [b"ent", b"#" * 5000])
def test_a_line_that_a_client_leaves_unfinished_is_told_and_passed_over(
    ring: Opener, tmp_path: Path, capsys: pytest.CaptureFixture[str], half: bytes
) -> None:
    """It is not joined to the next client's."""
    opened = ring(open_events(f"unix:{tmp_path}/keys"))
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(tmp_path / "keys"))
        first.send(b"a\n" + half)
        assert opened.takes(len(A)) == A
    with socket.socket(socket.AF_UNIX) as second:
        second.connect(str(tmp_path / "keys"))
        second.send(b"enter\na\n")
        assert opened.takes(len(ENTER + A)) == ENTER + A
    assert opened.has_nothing()
    told = capsys.readouterr().err
    assert "midst of a line" in told or "more than 4096" in told
    assert told.count("\n") == 1


def test_a_sockets_lines_come_from_one_client_after_the_other(
    ring: Opener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = ring(open_events(f"unix:{tmp_path}/keys"))
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "keys"))
            client.send(b"a\nenter\n")
            assert opened.takes(len(A + ENTER)) == A + ENTER
    opened.events.close()
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "keys").exists()


def test_what_the_guest_does_not_take_stays_in_the_file(ring: Opener, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keys")
    opened = ring(open_events(str(tmp_path / "keys")))
    writer = os.open(tmp_path / "keys", os.O_WRONLY | os.O_NONBLOCK)
    written = 0
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:  # until neither moves any more
        try:
            written += os.write(writer, b"a\n" * 100)
            continue
        except BlockingIOError:
            pass
        poll = select.poll()
        for descriptor, wanted in opened.events.waits_for().items():
            poll.register(descriptor, wanted)
        if not (ready := dict(poll.poll(100))):
            break
        opened.events.serve(ready)
    assert written < 1 << 20
    assert opened.takes(written // 2 * len(A)) == A * (written // 2)
    os.close(writer)


def test_records_of_a_device_go_on_as_they_are(ring: Opener) -> None:
    near, far = socket.socketpair()
    with near:
        opened = ring(Events(Source(far.detach())))
        near.send(A[:7])
        assert opened.takes(7) == A[:7]
        near.send(A[7:] + ENTER)
        assert opened.takes(len(A + ENTER) - 7) == A[7:] + ENTER
        near.close()
        opened.serve(lambda: not opened.events.waits_for())


def test_who_types_is_told_when_it_has_gone(ring: Opener) -> None:
    opened = ring(Events())
    told: list[int] = []
    opened.events.type(["a"] * 500, lambda: told.append(1))
    opened.events.type(["enter"], lambda: told.append(2))
    assert told == []
    assert opened.takes(500 * len(A)) == A * 500
    assert told == []
    assert opened.takes(len(MARK)) == MARK
    opened.serve(lambda: told == [1])
    assert opened.takes(len(ENTER + MARK)) == ENTER + MARK
    opened.serve(lambda: told == [1, 2])


def test_a_mark_waits_until_all_before_it_has_been_taken(ring: Opener) -> None:
    """So it is not among the events that the monitor takes ahead, before these are done."""
    opened = ring(Events())
    told: list[int] = []
    opened.events.type(["a"], lambda: told.append(1))
    assert opened.end.recv(1000) == A
    assert told == []
    assert opened.takes(len(MARK)) == MARK
    opened.serve(lambda: told == [1])
    assert opened.events.waits_for() == {}


def test_nothing_is_done_while_the_guest_takes_nothing(ring: Opener) -> None:
    """What waits for it is no event for poll(2)."""
    opened = ring(Events())
    opened.events.type(["a"], lambda: None)
    opened.events.serve(dict.fromkeys(opened.events.waits_for(), 1))
    poll = select.poll()
    for descriptor, wanted in opened.events.waits_for().items():
        poll.register(descriptor, wanted)
    assert opened.events.waits_for()
    assert poll.poll(0) == []


def test_what_waits_is_counted_without_marks(ring: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the monitor may have taken ahead, and from when the last was taken."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    opened = ring(Events())
    assert opened.events.waits() == (0, 0, 0.0)
    opened.events.type(["a"] * 20, lambda: None)
    opened.events.type(["enter"], lambda: None)
    now += 3
    assert opened.events.waits() == (42, 42, 3.0)
    assert len(opened.end.recv(30 * EVENT_SIZE)) == 30 * EVENT_SIZE
    assert opened.events.waits() == (12 + AHEAD, 42, 0.0)
    now += 5
    assert opened.events.waits() == (12 + AHEAD, 42, 5.0)


def test_a_wait_that_is_typed_is_not_the_guests(
    ring: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    opened = ring(Events())
    opened.events.type(["wait 30000", "a"], lambda: None)
    opened.end.recv(1000)
    now += 20
    assert opened.events.waits()[2] == 0.0
    now += 35
    assert opened.events.waits()[2] == 5.0


@pytest.mark.parametrize(("taken", "ends"), [(1, True), (0, False)])
def test_a_guest_that_ends_leaves_keys_to_be_released(taken: int, ends: bool) -> None:
    """As one that powers off at a key: that has been typed."""
    told: list[int] = []
    events = Events()
    with closing(events), socket.socket(fileno=os.dup(events.output)) as end:
        events.type(["a"], lambda: told.append(1))
        if taken:
            end.recv(taken * EVENT_SIZE)
    assert told == [1] * ends


def test_what_the_guest_never_takes_does_not_grow_for_ever(ring: Opener) -> None:
    opened = ring(Events())
    line = "text " + "A" * 1000
    for _ in range(MOST_WAITING // (4 * 1000 * EVENT_SIZE) + 1):
        opened.events.type([line], lambda: None)
    with pytest.raises(GuestError, match=r"the guest takes no keys: .* bytes of them wait"):
        opened.events.type([line], lambda: None)


def test_a_line_that_means_nothing_undoes_those_before_it(ring: Opener) -> None:
    opened = ring(Events())
    with pytest.raises(UsageError):
        opened.events.type(["button left down", "a", "frob"], lambda: None)
    assert opened.has_nothing()
    opened.events.type(["move 1 1"], lambda: None)
    assert opened.takes(EVENT_SIZE)[1] == 0, "no button is down"


def test_nothing_to_type_is_done_at_once(ring: Opener) -> None:
    opened = ring(Events())
    told: list[int] = []
    opened.events.type(["a"] * 500, lambda: told.append(1))
    opened.events.type([], lambda: told.append(2))
    assert told == [2]


def test_what_is_given_up_is_not_done_but_lets_go(ring: Opener) -> None:
    """Of keys that are down, and of the mouse's buttons; what waits behind it comes then."""
    opened = ring(Events())
    told: list[int] = []
    lines = ["press ctrl", "button left down", *["a", "move 1 1"] * 500]
    lines += ["wait 60000", "release ctrl", "button left up", "press shift"]
    give_up = opened.events.type(lines, lambda: told.append(1))
    opened.events.type(["b"], lambda: told.append(2))
    taken = opened.takes(2 * EVENT_SIZE)
    assert taken == Typist().records("press ctrl") + pointer(1)
    assert give_up() == (1502, 1506, 2)
    give_up()
    held = Typist().records("release ctrl")
    data = bytearray()

    def take() -> bool:
        while not opened.has_nothing():
            data.extend(opened.end.recv(1 << 20))
        return not opened.events.waits_for() and opened.has_nothing()

    opened.serve(take)
    assert data == held + pointer(0) + Typist().records("b") + MARK
    assert told == [2]


def test_what_is_given_up_before_it_has_begun_leaves_no_trace(ring: Opener) -> None:
    opened = ring(Events())
    opened.events.type(["a"] * 500, lambda: None)
    give_up = opened.events.type(["button left down", "b"], lambda: None)
    give_up()
    opened.events.type(["move 1 1"], lambda: None)
    data = opened.takes(500 * len(A) + EVENT_SIZE)
    assert data[:-EVENT_SIZE] == A * 500
    assert data[-EVENT_SIZE + 1] == 0, "no button is down"


@pytest.mark.parametrize("taken", range(2 * EVENT_SIZE + 1))
def test_what_is_given_up_leaves_whole_records(ring: Opener, taken: int) -> None:
    """Wherever the machine's last read has ended: the rest of that record comes still."""
    opened = ring(Events())
    give_up = opened.events.type(["a"], lambda: None)
    came = opened.takes(taken) if taken else b""
    whole = -(-taken // EVENT_SIZE)
    dropped = give_up()
    assert dropped is not None
    opened.events.type(["b"], lambda: None)
    came += opened.takes((len(A) - taken if taken else 0) + len(B))
    assert came == (A if whole else b"") + B
    assert dropped == (2 * (not whole), 2, whole)


def test_who_gives_up_takes_nothing_back_of_others(ring: Opener) -> None:
    """As of a file, which waits in the same socket."""
    opened = ring(Events(first=A * 3))
    opened.events.serve({})
    give_up = opened.events.type(["b"] * 500, lambda: None)
    assert opened.takes(EVENT_SIZE) == A[:EVENT_SIZE]
    assert give_up() == (1000, 1000, 0)
    assert opened.takes(len(A) * 3 - EVENT_SIZE) == (A * 3)[EVENT_SIZE:]
    opened.serve(lambda: not opened.events.waits_for())
    assert opened.has_nothing()


def test_what_has_been_done_is_not_given_up(ring: Opener) -> None:
    """Also where nobody has looked since."""
    opened = ring(Events())
    told: list[int] = []
    give_up = opened.events.type(["a"], lambda: told.append(1))
    assert opened.takes(len(A) + len(MARK)) == A + MARK
    assert give_up() is None
    assert told == [1]
    assert opened.events.waits() == (0, 0, 0.0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("type"), st.integers(1, 150)),
        st.tuples(st.just("take"), st.integers(1, 900)),
        st.tuples(st.just("give up"), st.integers(0, 9)),
    ),
    max_size=30,
)


@given(STEPS)
@settings(deadline=None)
def test_what_is_told_to_be_dropped_is_all_that_never_comes(steps: list[tuple[str, int]]) -> None:
    """Whoever gives up, and whenever: records come whole, and no key is left down."""
    requests: list[tuple[Callable[[], Dropped | None], list[int]]] = []
    came, lost, asked = bytearray(), 0, 0
    with ExitStack() as stack:
        opened = Ring(Events(), stack)
        for what, number in steps:
            if what == "type":
                told: list[int] = []
                give_up = opened.events.type([f"text {'a' * number}"], lambda t=told: t.append(1))  # type: ignore[misc]
                requests.append((give_up, told))
                asked += 2 * number
            elif what == "take" and not opened.has_nothing():
                came += opened.end.recv(number)
                opened.events.serve({})
            elif what == "give up" and number < len(requests):
                give_up, told = requests.pop(number)
                dropped = give_up()
                assert (dropped is None) == bool(told)
                lost += dropped[0] if dropped is not None else 0
        while opened.events.waits_for() or not opened.has_nothing():
            came += b"" if opened.has_nothing() else opened.end.recv(1 << 16)
            opened.events.serve({})
        assert all(told for _, told in requests)
    records = [bytes(came[at : at + EVENT_SIZE]) for at in range(0, len(came), EVENT_SIZE)]
    keys = [each for each in records if each != MARK]
    assert keys == [A[:EVENT_SIZE], A[EVENT_SIZE:]] * (len(keys) // 2)
    assert len(keys) == asked - lost
