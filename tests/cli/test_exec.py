"""`vestige exec`, by Debian's own agent, of a run that tells where that is."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.agent.peers import PATIENCE, at_a_socket, debians, line, saying
from tests.agent.test_blocking import ENDLESS, await_file, over
from vestige.host.control.folder import Folder, open_folder

COMMAND = [sys.executable, "-m", "vestige.cli.main", "exec"]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with debians(tmp_path_factory.mktemp("agent")) as path:
        yield path


class Run:
    """One that answers each client once; `status` is what it says."""

    def __init__(self, listener: socket.socket, status: bytes) -> None:
        self._listener, self.status = listener, status
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                if client.recv(1000):
                    client.sendall(self.status + b"\n")

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agent: Path) -> Iterator[Run]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = open_folder(make=True)
    assert folder is not None
    with closing(folder), listening(folder, agent) as run:
        yield run


@contextmanager
def listening(folder: Folder, agent: Path) -> Iterator[Run]:
    """A run of the name web, whose agent is there."""
    made, _ = folder.listen("web")
    with socket.socket(fileno=made.detach()) as listener:
        listener.setblocking(True)
        run = Run(listener, b'{"answer": {"agent": "%s"}}' % os.fsencode(agent))
        try:
            yield run
        finally:
            run.end()


def execute(*words: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
    """The exit status, output and errors."""
    done = subprocess.run(
        [*COMMAND, *words], input=data, capture_output=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_output_errors_and_status_are_the_commands(web: Run) -> None:
    command = ("sh", "-c", r"printf 'out\0\377'; printf err >&2; exit 7")
    assert execute("web", "--", *command) == (7, b"out\0\xff", b"err")
    assert execute("web", "true") == (0, b"", b"")
    assert execute("web", "--", "ls", "--help")[0] == 0


def test_a_signals_number_is_in_the_status(web: Run) -> None:
    assert execute("web", "--", "sh", "-c", "kill -SEGV $$") == (139, b"", b"")


def test_input_is_a_files_or_standard_input_or_none(web: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(256)) * 1000)
    status, output, _ = execute("web", "--input", str(tmp_path / "in"), "--", "cat")
    assert (status, output) == (0, bytes(range(256)) * 1000)
    assert execute("--input", "-", "web", "cat", data=b"typed") == (0, b"typed", b"")
    assert execute("web", "cat", data=b"typed") == (0, b"", b"")


def test_a_given_environment_is_all_that_there_is(web: Run) -> None:
    status, output, _ = execute("--env", "A=1=2", "--env", "B=", "web", "/usr/bin/env")
    assert (status, output) == (0, b"A=1=2\nB=\n")


def test_what_can_not_be_started_is_127(web: Run) -> None:
    status, output, errors = execute("web", "/bin/nothing")
    assert (status, output) == (127, b"")
    assert errors.startswith(b"vestige: web: the guest agent: ")
    assert b"No such file" in errors
    assert errors.count(b"\n") == 1


def test_a_command_that_takes_too_long_is_killed(web: Run, tmp_path: Path) -> None:
    line_ = b"vestige: web: the command has not ended within 1 s; killed in the guest\n"
    words = ("--timeout", "1", "web", "--", "sh", "-c", ENDLESS.format(tmp_path))
    assert execute(*words) == (124, b"begun\n", line_)
    over(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_it_ends_the_command_in_the_guest(
    web: Run, tmp_path: Path, number: signal.Signals
) -> None:
    words = [*COMMAND, "web", "--", "sh", "-c", ENDLESS.format(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        await_file(tmp_path / "pid")
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (128 + number, b"begun\n")
    assert errors == b"vestige: web: the command's end was not waited for; killed in the guest\n"
    over(tmp_path)


def test_output_that_is_cut_is_told(web: Run) -> None:
    status, output, errors = execute("web", "--", "head", "-c", "17000000", "/dev/zero")
    assert (status, len(output)) == (0, 16 << 20)
    assert errors == (
        b"vestige: web: the command's output was longer than 16 MiB, and the rest is lost: an agent"
        b" keeps no more; have it write a file of the guest's\n"
    )


def test_output_that_can_not_be_written_is_told(web: Run) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "web", "echo"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == (
        b"vestige: what the command has printed can't be written: No space left on device; make"
        b" room or send it elsewhere\n"
    )


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (b'{"answer": {"agent": null}}', 2, b"a run without an agent; start it with"),
        (b'{"answer": {}}', 2, b"a run without an agent"),
        (b'{"answer": [1]}', 2, b"a run without an agent"),
        (b'{"answer": {"agent": "/nowhere/at/all"}}', 2, b"/nowhere/at/all: No such file or dir"),
        (b'{"answer": {"agent": "\\ud800"}}', 2, b"surrogates not allowed"),
    ],
)
def test_a_run_without_a_way_to_an_agent_is_told(
    web: Run, status: bytes, code: int, told: bytes
) -> None:
    web.status = status
    found, output, errors = execute("web", "true")
    assert (found, output) == (code, b"")
    assert errors.startswith(b"vestige: web: ")
    assert told in errors
    assert errors.count(b"\n") == 1


def test_who_answers_nonsense_is_told_in_a_line(web: Run, tmp_path: Path) -> None:
    def answer(name: str, _arguments: object) -> bytes:
        return line({"pid": "\x1b[31m"}) if name == "guest-exec" else b""

    with at_a_socket(tmp_path / "liar", saying(answer)) as path:
        web.status = b'{"answer": {"agent": "%s"}}' % os.fsencode(path)
        assert execute("web", "true") == (
            1,
            b"",
            b"vestige: web: the guest agent gave an answer without a number 'pid'; what answers in"
            b" the guest is no working agent\n",
        )


def test_input_that_is_too_long_is_refused(web: Run, tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate((32 << 20) + 1)
    for path in (tmp_path / "long", Path("/dev/zero")):
        status, _, errors = execute("--input", str(path), "web", "cat")
        assert status == 2
        assert errors.startswith(
            b"vestige: --input %s: more than 32 MiB, which" % os.fsencode(path)
        )


def test_a_run_that_is_to_be_there_soon_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agent: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with subprocess.Popen([*COMMAND, "web", "--wait", "60s", "--", "true"]) as asks:
        with pytest.raises(subprocess.TimeoutExpired):
            asks.wait(1)
        folder = open_folder(make=True)
        assert folder is not None
        with closing(folder), listening(folder, agent):
            try:
                assert asks.wait(PATIENCE) == 0
            finally:
                asks.kill()


def test_a_run_that_is_never_there_is_waited_for_no_longer_than_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = subprocess.run(
        [*COMMAND, "web", "--wait", "0.3", "--", "true"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, b"vestige: no run 'web'; none is there\n")
