"""How a conversation begins, whatever an earlier one has left, and agents that say anything."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.agent.peers import Answer, Peer, error, line
from vestige.agent import operations, protocol
from vestige.agent.protocol import RefusedError
from vestige.agent.talk import AbsentError, Came, Exchange, Steps, Talk
from vestige.errors import GuestError

PATIENCE = 20.0
IDENTITY = 4711
PING = line({})


def talk() -> Talk:
    return Talk(PATIENCE, IDENTITY)


def always(said: bytes) -> Answer:
    """Says that to anything but to guest-sync-delimited."""
    return lambda name, _: b"" if name == "guest-sync-delimited" else said


def sync(said: bytes) -> Answer:
    """Says that to guest-sync-delimited."""
    return lambda name, _: said if name == "guest-sync-delimited" else PING


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b'{"return": {}}\n',
        b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n',
        b"half an answ",
        b'\xff{"return": 5}\n',
        b'\xff{"return": 5}\n\xff{"return": 6}\n{"return": {"exited": false}}\n',
        b'\xff{"return": ',
        b"\xff",
        b"\xff" * 100_000,
        b"\xff" + b"x" * 100_000,
        b"x" * 1_000_000 + b"\n",
        b'\xff{"return": 1e999}\n\xff{"return": true}\n\xff[]\n',
    ],
)
@pytest.mark.parametrize("piece", [1 << 16, 7])
def test_what_an_earlier_conversation_has_left_is_dropped(before: bytes, piece: int) -> None:
    peer = Peer(always(PING), before, piece)
    peer.have(operations.ping(talk()))
    assert peer.says.heard == ["guest-sync-delimited", "guest-ping"]
    assert peer.now == 0


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b'{"return": 4712}\n',
        b'\xff{"return": 4711}\n',
        b'\xff{"return": "4712"}\n',
        b'\xff{"return": 4712.0}\n',
        b'\xff{"return": 4712' + b" " * 300 + b"}\n",
        b'\xff{"error": {"class": "CommandNotFound", "desc": "no such command"}}\n',
    ],
)
def test_who_does_not_answer_by_the_number_is_no_agent(said: bytes) -> None:
    peer = Peer(sync(said))
    with pytest.raises(AbsentError) as told:
        peer.have(operations.ping(talk()))
    assert str(told.value) == (
        "no guest agent has answered within 20 s: the guest starts yet, is paused, or has none; in"
        " a Debian guest: apt install qemu-guest-agent (it listens on"
        " /dev/virtio-ports/org.qemu.guest_agent.0)"
    )
    assert peer.now == PATIENCE


def test_each_conversation_and_each_part_of_one_has_a_number_of_its_own() -> None:
    numbers = []

    def answer(name: str, arguments: Mapping[str, Any]) -> bytes:
        if name != "guest-sync-delimited":
            return PING
        numbers.append(arguments["id"])
        return b""

    ours = talk()
    for _ in range(2):
        Peer(answer).have(operations.ping(ours))
    assert numbers == [IDENTITY + 1, IDENTITY + 2]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (PING + PING, "an answer to no question"),
        (PING[:-1] + b" " * protocol.ANSWER + b"\n", "an answer of more than 65536 bytes"),
        (b"x" * 10_000_000, "an answer of more than 65536 bytes"),
        (b'\xff{"return": {}}\n', "an answer that returns nothing"),
    ],
)
def test_an_answer_is_one_line(said: bytes, words: str) -> None:
    with pytest.raises(GuestError, match=words):
        Peer(always(said)).have(operations.ping(talk()))


def test_an_answer_without_an_end_is_waited_for_as_long_as_one_without_a_beginning() -> None:
    for said in (b"", PING[:-1]):
        peer = Peer(always(said))
        with pytest.raises(
            GuestError, match=r"^the guest agent has not answered guest-ping in tim"
        ):
            peer.have(operations.ping(talk()))
        assert PATIENCE <= peer.now < PATIENCE + 1


def test_an_agent_that_has_closed_is_told() -> None:
    peer = Peer(always(b""))
    peer.is_gone = True
    with pytest.raises(GuestError, match=r"^the way to the guest's agent has ended, as its run"):
        peer.have(operations.ping(talk()))


def test_an_error_of_the_agents_is_its_words() -> None:
    with pytest.raises(protocol.RefusedError, match=r"^the guest agent: has been disabled$"):
        Peer(always(error("has been disabled"))).have(operations.ping(talk()))


def together(answer: Answer, piece: int = 1 << 16) -> tuple[Peer, Talk, Steps[list[Any]]]:
    """Two questions at once."""
    conversation = talk()
    steps = conversation.ask_together(("guest-ping", {"of": 1}), ("guest-ping", {"of": 2}))
    return Peer(answer, piece=piece), conversation, steps


@pytest.mark.parametrize("piece", [1 << 16, 7])
def test_what_is_asked_together_is_answered_one_after_the_other(piece: int) -> None:
    def answer(name: str, arguments: Mapping[str, Any]) -> bytes:
        return line(arguments["of"]) if name == "guest-ping" else b""

    peer, _, steps = together(answer, piece)
    assert peer.have(steps) == [1, 2]
    assert peer.says.heard == ["guest-sync-delimited", "guest-ping", "guest-ping"]


def test_an_error_of_one_of_them_leaves_no_answer_behind() -> None:
    def answer(name: str, arguments: Mapping[str, Any]) -> bytes:
        if name == "guest-sync-delimited":
            return b""
        return error("no file") if arguments["of"] == 1 else line(arguments["of"])

    peer, conversation, steps = together(answer)
    with pytest.raises(RefusedError, match="no file"):
        peer.have(steps)
    assert peer.have(conversation.ask("guest-ping", {"of": 3})) == 3


def test_an_answer_more_than_they_are_is_no_agents() -> None:
    peer, _, steps = together(always(line(1) + line(2)))
    with pytest.raises(GuestError, match="an answer to no question"):
        peer.have(steps)


def test_who_says_something_unasked_while_a_command_runs_is_no_agent() -> None:
    def answer(name: str, _arguments: Mapping[str, Any]) -> bytes:
        told = {"guest-exec": {"pid": 1}, "guest-exec-status": {"exited": False}}.get(name)
        return b"" if told is None else line(told)

    class Chatterer(Peer):
        def do(self, step: Any) -> Any:
            if not getattr(step, "data", b"x") and not self.going:
                self.going += b"and another thing\n"
            return super().do(step)

    with pytest.raises(GuestError, match="an answer to no question"):
        Chatterer(answer).have(operations.run(talk(), ["true"]))


def test_what_is_asked_is_a_line_behind_a_mark() -> None:
    """As QEMU's documentation has it: an 0xFF ends what the agent has of a request before."""
    steps = talk().connect()
    next(steps)
    step = steps.send(Came(0.0))
    assert isinstance(step, Exchange)
    asked = bytes(step.data)
    assert asked[:1] == b"\xff"
    assert json.loads(asked[1:]) == {
        "execute": "guest-sync-delimited",
        "arguments": {"id": IDENTITY + 1},
    }
    assert asked.endswith(b"\n")
