"""A program waits in a guest that is frozen, and renews what goes on of it."""

import base64
import select
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.agent.peers import PATIENCE, Peer, debians, error, line
from vestige.agent import operations, renewing, waiting
from vestige.agent.blocking import Agent, drive
from vestige.agent.operations import LONGEST_PAUSE
from vestige.agent.protocol import RefusedError
from vestige.agent.renewing import PERL, RANDOM, Waits
from vestige.agent.talk import Steps, Talk
from vestige.agent.wire import Wire
from vestige.errors import GuestError, UsageError

WAITS = Waits(1000, 1001, 7)
TOLD, NOTHING_YET = {"count": 1, "buf-b64": "MQ==", "eof": False}, {"count": 0, "eof": True}
ENDED, RUNS = {"exited": True, "exitcode": 0}, {"exited": False}


class Guest:
    """What its agent says of a program that is at its FIFO after so many `opens`, tells in its file
    after so many `reads`, and `ends` as that says.
    """

    def __init__(
        self, opens: int = 0, reads: int = 0, ends: Mapping[str, object] = RUNS, perl: str = ""
    ) -> None:
        self.opens, self.reads, self.ends, self.perl = opens, reads, ends, perl
        self.heard: list[str] = []
        self.files = iter((WAITS.given, WAITS.told))

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        self.heard.append(name)
        match name:
            case "guest-exec":
                return error(self.perl) if self.perl else line({"pid": WAITS.process})
            case "guest-exec-status":
                return line(self.ends)
            case "guest-file-open":
                self.opens -= 1
                return line(next(self.files)) if self.opens < 0 else error("No such file")
            case "guest-file-write":
                return line({"count": len(base64.b64decode(arguments["buf-b64"])), "eof": False})
            case "guest-file-read":
                self.reads -= 1
                return line(TOLD if self.reads < 0 else NOTHING_YET)
            case "guest-file-flush" | "guest-file-close":
                return line({})
        return b""


def status(path: Path | str | None, state: str = "running") -> dict[str, Any]:
    """What a run tells of itself."""
    return {"agent": None if path is None else str(path), "state": state}


def test_it_waits_once_it_has_told_so() -> None:
    guest = Guest(opens=3, reads=2)
    peer = Peer(guest)
    assert peer.have(waiting.begin(Talk(1, 1, 1), "ab")) == WAITS
    assert guest.heard.count("guest-file-open") == 3 + 2
    assert guest.heard.count("guest-file-read") == 2 + 1
    assert peer.now == pytest.approx((3 + 2) * waiting.PAUSE)


@pytest.mark.parametrize(
    "guest",
    [
        Guest(opens=1 << 30),
        Guest(opens=1 << 30, ends={"exited": True, "exitcode": 2}),
        Guest(reads=1 << 30),
        Guest(perl="No such file or directory"),
    ],
)
def test_one_that_never_waits_is_not_waited_for_without_end(guest: Guest) -> None:
    peer = Peer(guest)
    with pytest.raises(RefusedError):
        peer.have(waiting.begin(Talk(1, 1, 1), "ab"))
    assert peer.now < waiting.ANSWERING + 1


@pytest.mark.parametrize("told", [status(None), status("/nowhere"), status("/nowhere", "paused")])
@pytest.mark.parametrize("stays", [False, True])
def test_without_an_agent_that_answers_the_manifest_says_nothing(
    told: Mapping[str, Any], stays: bool
) -> None:
    with waiting.waiting(told, stays=stays) as more:
        assert more == {}


def test_a_copy_is_renewed_by_what_is_not_logged() -> None:
    """What is logged takes longer than the program does."""
    guest = Guest(reads=3)
    done = Peer(guest).have(renewing.conversation(Talk(1, 1), bytes(RANDOM), None, WAITS))
    assert done.status == 0
    quiet = {
        f"guest-{name}" for name in ("sync-delimited", "file-write", "file-flush", "file-read")
    }
    assert set(guest.heard) == quiet


def test_one_that_is_slow_is_waited_for() -> None:
    """It ends only once it is left."""
    peer = Peer(guest := Guest(reads=100))
    done = peer.have(renewing.conversation(Talk(1, 1), bytes(RANDOM), None, WAITS))
    assert done.status == 0
    assert "guest-exec" not in guest.heard
    assert 1 < peer.now < 100 * LONGEST_PAUSE


class Gone(Guest):
    """Nobody waits; what its agent has of a program that did is `known`."""

    known: Mapping[str, object] | None = None

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        if name == "guest-exec-status" and arguments["pid"] == WAITS.process:
            self.heard.append(name)
            return error("PID 7 does not exist") if self.known is None else line(self.known)
        if name == "guest-exec":
            self.heard.append(name)
            return line({"pid": 8})
        return super().__call__(name, arguments)


class Killed(Gone):
    """By its alarm, say."""

    known: Mapping[str, object] | None = {"exited": True, "signal": 9}


class Closed(Gone):
    """Nor does the agent know the FIFO: it is another one."""

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        if name.startswith("guest-file"):
            self.heard.append(name)
            return error("handle '1000' has not been found")
        return super().__call__(name, arguments)


@pytest.mark.parametrize("kind", [Gone, Killed, Closed])
def test_where_it_has_gone_another_program_is_started(kind: type[Gone]) -> None:
    guest = kind(reads=1 << 30, ends=ENDED)
    done = Peer(guest).have(renewing.conversation(Talk(1, 1), bytes(RANDOM), None, WAITS))
    assert done.status == 0
    assert guest.heard[-2:] == ["guest-exec", "guest-exec-status"]


def test_a_run_that_ends_meanwhile_is_told_as_such() -> None:
    peer = Peer(lambda *_: b"")
    peer.is_gone = True
    with pytest.raises(GuestError, match="as its run has"):
        peer.have(waiting.begin(Talk(1, 1, 1), "ab"))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program that waits keeps what it gets: a kernel's numbers are root's to give."""
    file = tmp_path / "kept"
    keeps = f'open(my $kept, ">", "{file}"); print $kept $random; close $kept;'
    monkeypatch.setattr(waiting, "_WAITS", waiting._WAITS.replace(PERL, keeps))
    monkeypatch.setattr(waiting, "_WAITS", waiting._WAITS.replace("(1 .. 50)", "(1 .. 1)"))
    monkeypatch.setattr(waiting, "PLACE", f"{tmp_path}/waits-")
    return file


def names(folder: Path) -> list[str]:
    """Of what waits there."""
    return [each.name for each in folder.glob("waits-*")]


def asked_of(path: Path, process: int) -> Any:
    """What its agent says of a process; None: it has told of the end before."""
    wire, talk = Wire(str(path)), Talk(PATIENCE, 1)

    def asked() -> Any:
        yield from talk.connect()
        return (yield from talk.ask("guest-exec-status", {"pid": process}))

    try:
        return drive(wire, talk, asked())
    except RefusedError:
        return None


def wait_while(condition: Callable[[], object]) -> None:
    """For as long as anything may take."""
    deadline = time.monotonic() + PATIENCE
    while condition():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.1)


needs_perl = pytest.mark.skipif(
    not (shutil.which("perl") and shutil.which("mkfifo")), reason="needs perl and mkfifo"
)


@needs_perl
def test_what_waits_by_debians_agent_renews_a_copy_and_ends(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with debians(tmp_path) as path:
        with waiting.waiting(status(path), stays=True) as told:
            waits = Waits(**told["renewing"])
        assert not names(tmp_path)
        assert asked_of(path, waits.process) == RUNS  # it waits for the copies
        wire = Wire(str(path))
        wire.connect()
        renewing.renew(wire, None, waits)
        assert len(kept.read_bytes()) == RANDOM
        assert asked_of(path, waits.process) is None
        Agent(path).ping()
    assert capsys.readouterr().err == ""


@needs_perl
def test_nothing_waits_in_a_guest_that_goes_on(tmp_path: Path, kept: Path) -> None:
    with debians(tmp_path) as path:
        with waiting.waiting(status(path), stays=False) as told:
            waits = Waits(**told["renewing"])
        assert asked_of(path, waits.process) is None
    assert not kept.exists()


@needs_perl
def test_nothing_waits_where_a_freeze_fails(tmp_path: Path, kept: Path) -> None:
    begun: list[int] = []

    def fail(path: Path) -> None:
        with waiting.waiting(status(path), stays=True) as told:
            begun.append(told["renewing"]["process"])
            raise UsageError("no space")

    with debians(tmp_path) as path:
        with pytest.raises(UsageError, match="no space"):
            fail(path)
        assert asked_of(path, begun[0]) is None
    assert not kept.exists()


@needs_perl
def test_it_ends_by_itself_where_nobody_comes(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within_reach = waiting._WAITS.replace(f"alarm {waiting.LONGEST};", "alarm 1;")
    monkeypatch.setattr(waiting, "_WAITS", within_reach)
    with debians(tmp_path) as path:
        with waiting.waiting(status(path), stays=True) as told:
            process = told["renewing"]["process"]
        wait_while(lambda: asked_of(path, process) == RUNS)
    assert not kept.exists()


@needs_perl
def test_it_ends_by_itself_where_its_agent_does_not_open_what_it_should(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within_reach = waiting._WAITS.replace(f"alarm {waiting.UNOPENED};", "alarm 1;")
    monkeypatch.setattr(waiting, "_WAITS", within_reach)

    def fails(*_: object) -> Steps[None]:
        raise GuestError("the guest agent has not answered")

    monkeypatch.setattr(operations, "write", fails)
    with debians(tmp_path) as path:
        with waiting.waiting(status(path), stays=True) as told:
            assert told == {}
        wait_while(lambda: names(tmp_path))
    assert not kept.exists()


def test_its_place_is_roots() -> None:
    assert waiting.PLACE.startswith("/run/")
