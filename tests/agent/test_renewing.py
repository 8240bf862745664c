"""A guest that goes on from a snapshot is renewed before anybody else asks its agent."""

import base64
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.agent.peers import Peer, at_a_socket, error, line, saying
from vestige.agent import renewing
from vestige.agent.blocking import Agent
from vestige.agent.talk import Talk
from vestige.agent.wire import Wire
from vestige.errors import UsageError

RANDOM = bytes(range(64))
MAC = bytes.fromhex("525400abcdef")
LONG = 40  # questions until it has ended: more than others would wait behind
STDERR = base64.b64encode(b"there is neither\n").decode()


class Guest:
    """What its agent says: that the command has ended at the last of so many questions."""

    def __init__(self, questions: int, **ended: object) -> None:
        self.questions, self.ended = questions, {"exited": True, "exitcode": 0, **ended}
        self.asked: dict[str, Any] = {}

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        if name == "guest-exec":
            self.asked = dict(arguments)
            return line({"pid": 7})
        if name == "guest-exec-status":
            self.questions -= 1
            return line(self.ended if self.questions <= 0 else {"exited": False})
        return b""


def test_it_has_the_agents_ear_until_it_is_done() -> None:
    guest = Guest(LONG)
    peer = Peer(guest)
    assert peer.have(renewing.conversation(Talk(1, 1), RANDOM, None)).status == 0
    assert peer.connections == 0  # but for the one that it began with
    assert base64.b64decode(guest.asked["input-data"]) == RANDOM


def test_others_wait_behind_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From before it begins."""
    heard: list[str] = []

    def answer(name: str, arguments: Mapping[str, Any]) -> bytes:
        heard.append(name)
        return guest(name, arguments) or (line({}) if name == "guest-ping" else b"")

    guest = Guest(3)
    with at_a_socket(tmp_path / "agent", saying(answer)) as path:
        begin = renewing.first_at(str(path), None)
        asker = threading.Thread(target=Agent(path).ping)
        asker.start()
        begin()
        asker.join()
    assert heard.index("guest-ping") > heard.index("guest-exec")
    assert guest.questions == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Guest(1, exitcode=1, **{"err-data": STDERR}), ": there is neither\n"),
        (Guest(1, exitcode=5), ": status 5\n"),
        (lambda name, _: error("no shell") if name == "guest-exec" else b"", "no shell"),
        (  # the agent was killed, and is another now
            lambda name, _: {
                "guest-exec": line({"pid": 7}),
                "guest-exec-status": error("PID 7 does not exist"),
            }.get(name, b""),
            "PID 7 does not exist",
        ),
    ],
)
def test_what_can_t_be_renewed_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Any, problem: str
) -> None:
    with at_a_socket(tmp_path / "agent", saying(answer)) as path:
        wire = Wire(str(path))
        wire.connect()
        renewing.renew(wire, None)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert problem in told


def test_an_agent_that_is_silent_is_told_once_and_asked_when_it_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = threading.Event()
    guest = Guest(1)
    answers = saying(guest)

    def silent_at_first(client: socket.socket) -> None:
        told.wait(60)
        answers(client)

    with at_a_socket(tmp_path / "agent", silent_at_first) as path:
        wire = Wire(str(path))
        wire.connect()
        asker = threading.Thread(target=renewing.renew, args=(wire, MAC), kwargs={"silence": 0.01})
        asker.start()
        said = ""
        while "\n" not in said:
            said += capsys.readouterr().err
            asker.join(0.01)
        told.set()
        asker.join()
    assert "yet: no guest agent has answered within 0.01 s" in said
    assert guest.asked["arg"][-1] == "52:54:00:ab:cd:ef"
    assert (said + capsys.readouterr().err).count("\n") == 1


class Both(Guest):
    """Has no random numbers, nor an address."""

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        if name == "guest-exec":
            said = b"no random numbers\n" if arguments["path"] == "perl" else b"no address\n"
            self.ended = {
                "exited": True,
                "exitcode": 3,
                "err-data": base64.b64encode(said).decode(),
            }
        return super().__call__(name, arguments)


@pytest.mark.parametrize(
    ("mac", "told"), [(None, b"no random numbers\n"), (MAC, b"no random numbers\nno address\n")]
)
def test_the_mac_is_seen_to_whatever_became_of_the_random_numbers(
    mac: bytes | None, told: bytes
) -> None:
    done = Peer(Both(1)).have(renewing.conversation(Talk(1, 1), RANDOM, mac))
    assert (done.status, done.stderr) == (3, told)


def test_a_run_that_ends_may_close_what_its_threads_have_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a steward: behind the request, and before its answer is taken."""
    wire = Wire(str(tmp_path / "agent"))

    def end(client: socket.socket) -> None:
        client.recv(1)
        os.close(wire.fileno())

    with at_a_socket(tmp_path / "agent", end):
        wire.connect()
        renewing.renew(wire, None)
    assert capsys.readouterr().err == ""


def test_a_run_that_ends_meanwhile_tells_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(client: socket.socket) -> None:
        client.recv(1)

    with at_a_socket(tmp_path / "agent", ends) as path:
        wire = Wire(str(path))
        wire.connect()
        renewing.renew(wire, None)
    assert capsys.readouterr().err == ""


def test_a_place_where_there_is_no_agent_s_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        renewing.first_at(str(tmp_path / "nothing"), None)


class Lacking(Guest):
    """One whose agent finds no program of these names."""

    def __init__(self, *names: str) -> None:
        super().__init__(1)
        self.names = names

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        if name == "guest-exec" and arguments["path"] in self.names:
            return error(f"Failed to execute child process {arguments['path']}")
        return super().__call__(name, arguments)


def words(*lacking: str) -> list[str]:
    """Those of the command that a guest runs that lacks these."""
    guest = Lacking(*lacking)
    Peer(guest).have(renewing.conversation(Talk(1, 1), RANDOM, None))
    assert base64.b64decode(guest.asked["input-data"]) == RANDOM
    return [guest.asked["path"], *guest.asked["arg"]]


def test_it_is_told_to_begin_before_the_agent_has_answered() -> None:
    peer = Peer(Guest(1))
    peer.have(renewing.conversation(Talk(1, 1), RANDOM, None))
    assert peer.says.heard == ["guest-sync-delimited", "guest-exec", "guest-exec-status"]
    assert peer.steps == 2


def test_python_does_it_where_there_is_no_perl() -> None:
    assert words()[0] == "perl"
    assert words("perl")[0] == "python3"


def test_without_either_that_is_said() -> None:
    done = subprocess.run(words("perl", "python3"), input=RANDOM, capture_output=True, check=False)
    if done.returncode == 0:
        pytest.skip("this machine's own kernel has the driver vmgenid")
    assert b"neither perl nor python3" in done.stderr


@pytest.mark.skipif(not shutil.which("perl"), reason="needs perl")
def test_its_perl_is_perl() -> None:
    done = subprocess.run(["perl", "-ce", words()[-1]], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_python_is_python() -> None:
    compile(words("perl")[-1], "renewing", "exec")
