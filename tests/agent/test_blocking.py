"""Debian's own agent, asked by a program that waits; and what is there in the place of one."""

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.peers import LOOK, at_a_socket, debians, saying
from tests.agent.peers import PATIENCE as LONG
from vestige.agent import AbsentError, Agent, Done, RefusedError, TimedOutError, operations
from vestige.agent.blocking import drive
from vestige.agent.talk import Exchange, Steps, Talk
from vestige.agent.wire import Wire
from vestige.errors import GuestError, UsageError

ENDLESS = "echo begun; echo $$ > {0}/pid; sleep 1000 & sleep 1000; echo no"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with debians(tmp_path_factory.mktemp("agent")) as path:
        yield Agent(path)


def over(folder: Path) -> None:
    """Wait until the process whose number is in `folder` is no more."""
    process = int((folder / "pid").read_text())
    deadline = time.monotonic() + LONG
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline
        select.select([], [], [], LOOK)


def await_file(path: Path) -> None:
    """Wait until something is in it."""
    deadline = time.monotonic() + LONG
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        select.select([], [], [], LOOK)


def test_a_command_has_a_status_and_two_streams(agent: Agent) -> None:
    agent.ping()
    done = agent.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert done == Done(3, b"out\n", b"err\n")


def test_input_of_any_bytes_arrives(agent: Agent) -> None:
    data = random.Random(1).randbytes(1 << 20)
    assert agent.run(["cat"], input=data) == Done(0, data, b"")


def test_a_given_environment_is_all_that_there_is(agent: Agent) -> None:
    done = agent.run(["/usr/bin/env"], environment={"A": "ä", "B": ""})
    assert done.stdout == "A=ä\nB=\n".encode()
    assert b"PATH=" in agent.run(["/usr/bin/env"]).stdout


def test_a_signal_is_told(agent: Agent) -> None:
    assert agent.run(["sh", "-c", "kill -9 $$"]) == Done(137, b"", b"", 9)


def test_a_command_that_is_not_there_is_told(agent: Agent) -> None:
    with pytest.raises(RefusedError, match=r"^the guest agent: .*/bin/nothing.*No such file"):
        agent.run(["/bin/nothing"])


def test_of_output_without_end_16_mib_are_kept_and_the_cut_is_told(agent: Agent) -> None:
    done = agent.run(["sh", "-c", "head -c 20000000 /dev/zero; echo end >&2"])
    assert (done.status, len(done.stdout), done.stderr) == (0, 16 << 20, b"end\n")
    assert (done.stdout_truncated, done.stderr_truncated) == (True, False)


def test_a_command_that_takes_too_long_is_killed_with_what_it_has_started(
    agent: Agent, tmp_path: Path
) -> None:
    with pytest.raises(TimedOutError) as told:
        agent.run(["sh", "-c", ENDLESS.format(tmp_path)], timeout=1)
    assert str(told.value) == "the command has not ended within 1 s; killed in the guest"
    assert told.value.done == Done(137, b"begun\n", b"", 9)
    over(tmp_path)
    assert agent.run(["true"]) == Done(0, b"", b"")


def test_others_ask_while_a_command_runs(agent: Agent, tmp_path: Path) -> None:
    """It waits for what another writes."""
    until = f"until [ -s {tmp_path}/go ]; do sleep 0.01; done; cat {tmp_path}/go"
    found: list[Done] = []
    waiting = threading.Thread(target=lambda: found.append(agent.run(["sh", "-c", until])))
    waiting.start()
    agent.write_file(tmp_path / "go", b"gone")
    waiting.join()
    assert found == [Done(0, b"gone", b"")]


def test_ctrl_c_ends_a_command_in_the_guest(agent: Agent, tmp_path: Path) -> None:
    program = (
        "import sys; from vestige.agent import Agent\n"
        "Agent(sys.argv[1]).run(['sh', '-c', sys.argv[2]])"
    )
    words = [sys.executable, "-c", program, agent.way().path, ENDLESS.format(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as caller:
        await_file(tmp_path / "pid")
        caller.send_signal(signal.SIGINT)
        _, errors = caller.communicate(timeout=LONG)
    assert caller.returncode == -signal.SIGINT
    assert b"EndedError: the command's end was not waited for; killed in the guest" in errors
    over(tmp_path)


def test_ctrl_c_between_two_steps_ends_a_command_in_the_guest(agent: Agent, tmp_path: Path) -> None:
    """Which tears the conversation: another one does it."""
    talk = Talk(LONG, 1)

    def torn() -> Steps[Done]:
        steps = operations.run(talk, ["sh", "-c", ENDLESS.format(tmp_path)])
        step = next(steps)
        while not ((tmp_path / "pid").exists() and isinstance(step, Exchange) and step.seconds < 1):
            step = steps.send((yield step))  # until it only lets time pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as told:
        drive(Wire(agent.way().path), talk, torn())
    assert str(told.value.__cause__) == (
        "the command's end was not waited for; killed in the guest"
    )
    await_file(tmp_path / "pid")
    over(tmp_path)


class Garbled(Wire):
    """One on which something was said before, and what came of it was left unread."""

    def __init__(self, path: str, said: bytes) -> None:
        super().__init__(path)
        self._said = said

    def connect(self) -> None:
        super().connect()
        with socket.socket(fileno=os.dup(self.fileno())) as end:
            end.sendall(self._said)


@pytest.mark.parametrize(
    "said",
    [
        b'{"execute": "guest-info"}\n',
        b'{"execute": "guest-',
        b"nonsense\n",
        b'"',
        b"\xff",
        b"[" * 3000,
        b'\xff{"execute": "guest-sync-delimited", "arguments": {"id": 5}}\n',
    ],
)
def test_what_was_said_before_on_the_agents_line_is_dropped(agent: Agent, said: bytes) -> None:
    talk = Talk(LONG, 1)
    steps = operations.run(talk, ["echo", "mine"])
    assert drive(Garbled(agent.way().path, said), talk, steps) == Done(0, b"mine\n", b"")


@pytest.mark.parametrize("size", [0, 1, 700_000])
def test_a_file_is_written_and_read(agent: Agent, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "file"
    path.write_bytes(b"what was there before, however long that is")
    agent.write_file(path, data)
    assert path.read_bytes() == data
    assert agent.read_file(path) == data


def test_a_file_that_can_not_be_had_is_told(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"/none.*No such file or directory"):
        agent.read_file(tmp_path / "none")
    with pytest.raises(RefusedError):
        agent.read_file(tmp_path)
    with pytest.raises(RefusedError, match=r"more than 1000000 bytes; give a larger limit"):
        agent.read_file("/dev/zero", limit=1_000_000)
    with pytest.raises(RefusedError, match="No space left on device"):
        agent.write_file("/dev/full", b"data")
    agent.ping()


def test_a_path_of_any_length_leads_to_it(agent: Agent, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    (folder / "agent").symlink_to(agent.way().path)
    Agent(folder / "agent").ping()


# ---- in the place of one --------------------------------------------------------------------


@pytest.mark.parametrize("there", ["nothing", "file", "stale"])
def test_where_nobody_listens_a_line_says_so(tmp_path: Path, there: str) -> None:
    path = tmp_path / "agent"
    if there == "file":
        path.write_text("")
    if there == "stale":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(path))
    with pytest.raises(UsageError) as told:
        Agent(path).ping()
    assert str(told.value).startswith(f"{path}: ")
    assert str(told.value).endswith("`vestige ps --json` tells where")


def test_who_says_nothing_is_no_agent(tmp_path: Path) -> None:
    with (
        at_a_socket(tmp_path / "agent", saying(lambda *_: b"\n")) as path,
        pytest.raises(AbsentError, match=r"^no guest agent has answered within 0.2 s: "),
    ):
        Agent(path, patience=0.2).ping()


def test_an_end_of_the_run_is_told(tmp_path: Path) -> None:
    with (
        at_a_socket(tmp_path / "agent", lambda client: client.recv(10)) as path,
        pytest.raises(GuestError, match=r"^the way to the guest's agent has ended"),
    ):
        Agent(path).ping()


def test_who_sends_without_end_fills_no_memory(tmp_path: Path) -> None:
    def serve(client: socket.socket) -> None:
        try:
            while True:
                client.sendall(b"\xff" + b"x" * 65535)
        except OSError:
            return

    with at_a_socket(tmp_path / "agent", serve) as path, pytest.raises(AbsentError):
        Agent(path, patience=0.5).ping()


def test_no_descriptor_is_left_open(agent: Agent) -> None:
    before = descriptors()
    agent.ping()
    with pytest.raises(RefusedError):
        agent.run(["/bin/nothing"])
    assert descriptors() == before


def descriptors() -> list[str]:
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())
