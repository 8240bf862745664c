"""Commands and files: what a liar answers, and what can't be asked at all."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.agent.peers import Peer, error, line
from vestige.agent import operations
from vestige.agent.operations import Done, EndedError, TimedOutError
from vestige.agent.protocol import RefusedError
from vestige.agent.talk import Came, Connect, Exchange, Talk
from vestige.errors import GuestError, UsageError

PIECE = operations.PIECE


class Guest:
    """Answers that an agent could give, but for those that are `wrong`.

    `ends`: after how many looks a command has ended; `dies`: whether it can be killed.
    """

    def __init__(
        self, ends: int = 0, wrong: Mapping[str, bytes] | None = None, *, dies: bool = True
    ) -> None:
        self.ends, self.wrong, self.dies = ends, wrong or {}, dies
        self.looks = 0
        self.killed: list[str] = []
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.file = b""

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        self.asked.append((name, arguments))
        if name in self.wrong:
            return self.wrong[name]
        match name:
            case "guest-exec":
                if arguments["path"] == "/bin/sh" and arguments["arg"][1] == operations.KILL:
                    self.killed.append(arguments["arg"][2])
                    return line({"pid": 2})
                return line({"pid": 1})
            case "guest-exec-status":
                return line(self._status(arguments["pid"]))
            case "guest-file-open":
                return line(9)
            case "guest-file-read":
                piece, self.file = self.file[:PIECE], self.file[PIECE:]
                told = {"count": len(piece), "buf-b64": text(piece), "eof": len(piece) < PIECE}
                return line(told)
            case "guest-file-write":
                data = base64.b64decode(arguments["buf-b64"])
                self.file += data
                return line({"count": len(data), "eof": False})
            case "guest-ping" | "guest-file-flush" | "guest-file-close":
                return line({})
        return b""

    def _status(self, process: int) -> dict[str, Any]:
        if process == 2:
            return {"exited": True, "exitcode": 0}
        self.looks += 1
        if self.killed and self.dies:
            return {"exited": True, "signal": 9, "out-data": text(b"so far\n")}
        if self.killed or self.looks <= self.ends:
            return {"exited": False}
        return {"exited": True, "exitcode": 3, "out-data": text(b"out"), "err-data": text(b"err")}

    @property
    def names(self) -> list[str]:
        """What has been asked, without how conversations begin."""
        return [name for name, _ in self.asked if name != "guest-sync-delimited"]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def talk() -> Talk:
    return Talk(20.0, 1)


# ---- commands -------------------------------------------------------------------------------


def test_a_command_s_end_is_looked_for_less_and_less_often_and_others_get_their_turn() -> None:
    guest = Guest(ends=20)
    peer = Peer(guest)
    done = peer.have(operations.run(talk(), ["true"]))
    assert done == Done(3, b"out", b"err")
    assert guest.looks == 21
    # 1, 2, 4, 8, 16, 32 ms on one connection, then 50 ms on one each
    assert peer.now == pytest.approx(0.063 + 14 * 0.05)
    assert peer.connections == 1 + 14


def test_an_agent_that_takes_long_is_not_asked_all_the_time() -> None:
    class Slow(Peer):
        """Answers each line after 40 ms."""

        def do(self, step: Connect | Exchange) -> Came:
            if isinstance(step, Exchange) and step.data:
                self.now += 0.04
            return super().do(step)

    guest = Guest(ends=3)
    peer = Slow(guest)
    peer.have(operations.run(talk(), ["true"]))
    assert peer.now == pytest.approx(6 * 0.04 + 3 * 0.04)  # six questions, three pauses


def test_a_signal_and_cut_streams_are_told() -> None:
    status = {"exited": True, "signal": 11, "out-data": "", "out-truncated": True}
    guest = Guest(wrong={"guest-exec-status": line(status)})
    done = Peer(guest).have(operations.run(talk(), ["true"]))
    assert done == Done(139, b"", b"", 11, stdout_truncated=True)


def test_what_is_asked_for_a_command() -> None:
    guest = Guest()
    steps = operations.run(talk(), ["cat", "-", "ä"], b"\0\xff", None, {"A": "b=c", "D": ""})
    Peer(guest).have(steps)
    (asked,) = [arguments for name, arguments in guest.asked if name == "guest-exec"]
    assert asked == {
        "path": "cat",
        "arg": ["-", "ä"],
        "env": ["A=b=c", "D="],
        "input-data": "AP8=",
        "capture-output": True,
    }


def test_a_command_that_takes_too_long_is_killed_and_what_it_printed_is_told() -> None:
    guest = Guest(ends=10**6)
    peer = Peer(guest)
    with pytest.raises(TimedOutError) as told:
        peer.have(operations.run(talk(), ["sleep", "inf"], timeout=1.5))
    assert str(told.value) == "the command has not ended within 1.5 s; killed in the guest"
    assert told.value.done == Done(137, b"so far\n", b"", 9)
    assert guest.killed == ["1"]
    assert 1.5 <= peer.now < 2


def test_a_command_that_can_not_be_killed_is_told() -> None:
    peer = Peer(Guest(ends=10**6, dies=False))
    with pytest.raises(TimedOutError) as told:
        peer.have(operations.run(talk(), ["sleep", "inf"], timeout=1))
    assert str(told.value) == (
        "the command has not ended within 1 s; it could not be killed, and may go on there"
    )
    assert told.value.done is None
    assert peer.now < 1 + operations.KILL_PATIENCE + 1


class Leaving(Guest):
    """Answers no more once it has been looked for the command's end ten times, as while paused."""

    def __init__(self) -> None:
        super().__init__(ends=10**6)
        self.is_silent = False

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        self.is_silent = self.is_silent or (name == "guest-sync-delimited" and self.looks >= 10)
        return b"\n" if self.is_silent else super().__call__(name, arguments)


LEFT = (
    "the command's end is not known: the guest agent has not answered for 20 s, as the guest is"
    " paused or its agent has ended; it could not be killed, and may go on there"
)


def test_an_agent_that_answers_no_more_while_a_command_runs_is_no_bad_input() -> None:
    with pytest.raises(EndedError) as told:
        Peer(Leaving()).have(operations.run(talk(), ["sleep", "inf"]))
    assert str(told.value) == LEFT
    assert told.value.done is None
    assert not isinstance(told.value, UsageError)


def test_a_torn_conversation_tells_of_an_agent_that_answers_no_more() -> None:
    guest, torn = Leaving(), talk()
    torn.process = 1
    guest.looks = 10
    with pytest.raises(EndedError) as told:
        Peer(guest).have(operations.end(torn))
    assert str(told.value) == LEFT


def test_a_guest_without_a_shell_can_not_kill() -> None:
    class Bare(Guest):
        def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
            said = super().__call__(name, arguments)
            return error("Failed to execute child process") if self.killed and said else said

    guest = Bare(ends=10**6)
    with pytest.raises(TimedOutError, match=r"it could not be killed, and may go on there$"):
        Peer(guest).have(operations.run(talk(), ["sleep", "inf"], timeout=1))


def test_who_waits_no_more_has_the_command_killed() -> None:
    ours, guest = talk(), Guest(ends=10**6)

    class Impatient(Peer):
        def do(self, step: Any) -> Any:
            if isinstance(step, Exchange) and not step.data and guest.looks == 3:
                ours.stop()
            return super().do(step)

    with pytest.raises(EndedError, match=r"^the command's end was not waited for; killed in"):
        Impatient(guest).have(operations.run(ours, ["sleep", "inf"]))
    assert guest.killed == ["1"]


def test_something_is_held_from_the_command_s_start_on() -> None:
    ours = talk()
    held = []

    class Noting(Peer):
        def do(self, step: Any) -> Any:
            if isinstance(step, Exchange) and step.data:
                held.append((json.loads(bytes(step.data).lstrip(b"\xff"))["execute"], ours.holds))
            return super().do(step)

    Noting(Guest()).have(operations.run(ours, ["true"]))
    assert held == [
        ("guest-sync-delimited", False),
        ("guest-exec", True),
        ("guest-exec-status", True),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guest-exec", {}),
        ("guest-exec", {"pid": "1"}),
        ("guest-exec", {"pid": -1}),
        ("guest-exec", [1]),
        ("guest-exec", None),
        ("guest-exec-status", {}),
        ("guest-exec-status", []),
        ("guest-exec-status", {"exited": 1}),
        ("guest-exec-status", {"exited": True}),
        ("guest-exec-status", {"exited": True, "exitcode": "0"}),
        ("guest-exec-status", {"exited": True, "exitcode": True}),
        ("guest-exec-status", {"exited": True, "exitcode": -1}),
        ("guest-exec-status", {"exited": True, "exitcode": 1 << 40}),
        ("guest-exec-status", {"exited": True, "signal": 1000}),
        ("guest-exec-status", {"exited": True, "exitcode": 0, "out-data": 7}),
        ("guest-exec-status", {"exited": True, "exitcode": 0, "err-data": "!"}),
        ("guest-exec-status", {"exited": True, "exitcode": 0, "out-truncated": "yes"}),
    ],
)
def test_an_answer_of_a_wrong_kind_is_told_in_a_line(name: str, value: object) -> None:
    with pytest.raises(GuestError, match=r"^the guest agent gave an answer .*no working agent$"):
        Peer(Guest(wrong={name: line(value)})).have(operations.run(talk(), ["true"]))


@pytest.mark.parametrize(
    ("words", "options", "problem"),
    [
        ([], {}, r"^\[\]: a command is a list of words"),
        ("true", {}, r"^'true': a command is a list of words"),
        ([""], {}, r"^a command without a name"),
        (["a\0"], {}, r"a word of a command is Unicode without a NUL"),
        (["a", "\ud800"], {}, r"a word of a command is Unicode without a NUL"),
        ([b"a"], {}, r"^b'a': a word of a command is text, not bytes"),
        (["a", 5], {}, r"^5: a word of a command is text, not int"),
        (["a"], {"data": "text"}, r"^a command's input is bytes, not str"),
        (["a"], {"data": bytes((32 << 20) + 1)}, r"bytes of input; the guest agent takes 32 MiB"),
        (["a"], {"timeout": 0}, r"^a timeout of 0 s; give one above 0"),
        (["a"], {"timeout": float("nan")}, r"^a timeout of nan s"),
        (["a"], {"environment": {"": "x"}}, r"^'': no name of a variable"),
        (["a"], {"environment": {"A=": "x"}}, r"^'A=': no name of a variable"),
        (["a"], {"environment": {"A": "\0"}}, r"a variable is Unicode without a NUL"),
        (["a" * (48 << 20)], {}, r"^a request of \d+ bytes"),
    ],
)
def test_what_can_not_be_asked_is_refused_and_nothing_is_started(
    words: Any, options: dict[str, Any], problem: str
) -> None:
    guest = Guest()
    with pytest.raises(UsageError, match=problem):
        Peer(guest).have(operations.run(talk(), words, **options))
    assert guest.names == []


# ---- files ----------------------------------------------------------------------------------


@pytest.fixture(params=[0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def data(request: pytest.FixtureRequest) -> bytes:
    size: int = request.param
    return bytes(each * 7 & 0xFF for each in range(size))


def test_a_file_is_written_and_read_in_pieces_with_others_in_between(data: bytes) -> None:
    guest = Guest()
    peer = Peer(guest)
    peer.have(operations.write_file(talk(), "/f", data))
    assert guest.file == data
    pieces = -(-len(data) // PIECE)
    assert peer.connections == max(pieces, 1)
    assert guest.names[-2:] == ["guest-file-flush", "guest-file-close"]
    peer = Peer(guest)
    assert peer.have(operations.read_file(talk(), "/f")) == data
    assert peer.connections == len(data) // PIECE + 1
    assert guest.names[-1] == "guest-file-close"


def test_a_file_that_is_too_long_is_closed() -> None:
    guest = Guest()
    guest.file = bytes(1001)
    with pytest.raises(RefusedError, match=r"^/f: more than 1000 bytes; give a larger limit$"):
        Peer(guest).have(operations.read_file(talk(), "/f", 1000))
    assert guest.names == ["guest-file-open", "guest-file-read", "guest-file-close"]


@pytest.mark.parametrize("name", ["guest-file-write", "guest-file-flush"])
def test_a_file_that_the_agent_can_not_write_is_closed(name: str) -> None:
    guest = Guest(wrong={name: error("No space left on device")})
    with pytest.raises(RefusedError, match=r"^the guest agent: No space left on device$"):
        Peer(guest).have(operations.write_file(talk(), "/f", b"data"))
    assert guest.names[-1] == "guest-file-close"


def test_a_short_write_is_told() -> None:
    guest = Guest(wrong={"guest-file-write": line({"count": 3, "eof": False})})
    with pytest.raises(RefusedError, match=r"^/f: 3 of 4 bytes were written there$"):
        Peer(guest).have(operations.write_file(talk(), "/f", b"data"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guest-file-open", "9"),
        ("guest-file-open", True),
        ("guest-file-open", -1),
        ("guest-file-read", {"count": 1, "buf-b64": "AA=="}),
        ("guest-file-read", {"count": 1, "buf-b64": "AA==", "eof": False}),
        ("guest-file-read", {"count": 0, "buf-b64": "", "eof": False}),
        ("guest-file-read", {"count": 9, "buf-b64": text(bytes(PIECE + 1)), "eof": True}),
    ],
)
def test_what_no_agent_says_of_a_file_is_told_in_a_line(name: str, value: object) -> None:
    with pytest.raises(GuestError, match=r"^the guest agent gave .*no working agent$"):
        Peer(Guest(wrong={name: line(value)})).have(operations.read_file(talk(), "/f"))


@pytest.mark.parametrize("path", ["", "a\0", b"a", 5])
def test_a_path_that_can_be_none_is_refused(path: Any) -> None:
    guest = Guest()
    with pytest.raises(UsageError):
        Peer(guest).have(operations.read_file(talk(), path))
    assert guest.asked == []


def test_what_is_written_is_bytes() -> None:
    text_: Any = "text"
    with pytest.raises(UsageError, match=r"^what is written is bytes, not str; encode it$"):
        Peer(Guest()).have(operations.write_file(talk(), "/f", text_))
