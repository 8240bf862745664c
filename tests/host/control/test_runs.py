"""`vestige ps` and `vestige stop` with whole runs, and what clients do to a run and its guest."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.host.harness import why_not
from tests.host.kernel_payload import HELLO, Kernels
from tests.host.processes import machine_of, over
from vestige.errors import GuestError
from vestige.host import images
from vestige.host.control.client import find
from vestige.host.control.folder import open_folder
from vestige.launcher import Launcher

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

VESTIGE = [sys.executable, "-m", "vestige.cli.main"]
PATIENCE = 30
COMPILES = 6 * PATIENCE  # seconds: all of the monitor, on a busy machine
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def image(tmp_path: Path) -> str:
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    return str(tmp_path / "image")


@pytest.fixture
def start(kernels: Kernels) -> Iterator[Start]:
    """Starts runs, which have said HELLO, and kills them at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, kernel: str = "idle", said: bytes = HELLO) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*VESTIGE, "run", "--accel", "kvm", "--kernel", kernels(kernel), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.read(len(said)) == said
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def vestige(*words: str, patience: float = PATIENCE) -> tuple[int, str, str]:
    """A command's exit status, output and errors."""
    done = subprocess.run([*VESTIGE, *words], capture_output=True, timeout=patience, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def listed() -> list[dict[str, Any]]:
    status, output, errors = vestige("ps", "--json")
    assert (status, errors) == (0, "")
    told: list[dict[str, Any]] = json.loads(output)
    return told


def test_runs_are_listed_and_end_when_told(start: Start, image: str) -> None:
    disk = ("--disk", f"{image},bus=ide", "--cpus", "2", "--memory", "128M")
    first, second = start("--name", "one", *disk), start()
    numbered, named = listed()
    assert numbered["name"] == str(second.pid)
    assert named["seconds"] < PATIENCE
    assert (
        named.items()
        >= {
            "name": "one",
            "pid": first.pid,
            "state": "running",
            "machine": "modern",
            "accel": "kvm",
            "cpus": 2,
            "memory": 128 << 20,
            "disks": [image],
        }.items()
    )
    _, output, _ = vestige("ps")
    header, _, line = output.splitlines()
    assert header.split()[:2] == ["NAME", "PID"]
    assert line.split()[:3] == ["one", str(first.pid), "running"]
    assert line.endswith(f", {image}")
    assert vestige("stop", str(first.pid), str(second.pid)) == (0, "", "")  # it is "one", too
    assert (first.poll(), second.poll()) == (143, 143)
    assert listed() == []


def test_without_runs_there_is_a_line(runtime: Path) -> None:
    assert vestige("ps") == (0, "NAME  PID  STATE  TIME  MACHINE  CPUS  MEMORY  RUNS\n", "")
    assert listed() == []
    assert list(runtime.iterdir()) == []


def test_a_run_with_an_agent_tells_of_its_socket_which_goes_with_it(
    start: Start, runtime: Path
) -> None:
    folder = runtime / "vestige"
    start("--name", "one", "--agent")
    other = start("--name", "two")
    told = {each["name"]: each["agent"] for each in listed()}
    assert told == {"one": f"{folder}/one@agent", "two": None}
    assert stat.S_ISSOCK(Path(told["one"]).stat().st_mode)
    status, output, errors = vestige("exec", "--wait", "0.2", "one", "--", "true")
    assert (status, output) == (2, "")
    assert errors.startswith("vestige: one: no guest agent has answered within 0.2 s: ")
    assert errors.count("\n") == 1
    line = "vestige: two: a run without an agent; start it with vestige run --agent\n"
    assert vestige("exec", "two", "true") == (2, "", line)
    assert vestige("exec", "three", "true") == (
        2,
        "",
        "vestige: no run 'three'; there are one, two\n",
    )
    assert vestige("stop", "one") == (0, "", "")
    assert sorted(each.name for each in folder.iterdir()) == ["two"]
    for killed in (other, start("--name", "one", "--agent")):
        killed.kill()
        killed.wait(PATIENCE)
    assert (folder / "one@agent").exists()
    assert listed() == []
    assert list(folder.iterdir()) == []


def test_a_run_with_an_agent_and_no_place_for_it_is_refused(
    kernels: Kernels, runtime: Path
) -> None:
    (runtime / "vestige").mkdir()
    (runtime / "vestige").chmod(0o777)
    status, output, errors = vestige(
        "run", "--accel", "kvm", "--kernel", kernels("hello"), "--agent"
    )
    assert (status, output) == (2, "")
    assert "others may write there (chmod go-w); set XDG_RUNTIME_DIR" in errors
    assert errors.count("\n") == 1


def test_a_folder_with_a_long_path_has_a_place_for_an_agent(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    start("--name", "one", "--agent")
    status, _, errors = vestige("exec", "--wait", "0.2", "one", "true")
    assert (status, "no guest agent has answered" in errors) == (2, True), errors


def test_a_name_that_a_run_has_is_refused_until_it_ends(start: Start, kernels: Kernels) -> None:
    first = start("--name", "one")
    words = ("run", "--accel", "kvm", "--kernel", kernels("hello"), "--name", "one")
    line = "vestige: --name one: a run has that name; give another, or end that one:"
    assert vestige(*words) == (2, "", f"{line} vestige stop one\n")
    first.kill()
    first.wait(PATIENCE)
    assert vestige(*words) == (0, HELLO.decode(), "")


def test_who_is_not_there_is_told_and_nobody_is_ended(start: Start) -> None:
    first = start("--name", "one")
    assert vestige("stop", "one", "two") == (2, "", "vestige: no run 'two'; there are one\n")
    assert vestige("stop")[2] == "vestige: no name; `vestige ps` shows those that there are\n"
    assert first.poll() is None


def test_what_a_killed_run_leaves_is_not_listed(start: Start, runtime: Path) -> None:
    first = start("--name", "one")
    first.kill()
    first.wait(PATIENCE)
    assert (runtime / "vestige" / "one").exists()
    assert listed() == []
    assert list((runtime / "vestige").iterdir()) == []
    assert vestige("stop", "one") == (2, "", "vestige: no run 'one'; none is there\n")


def test_a_run_that_does_not_answer_is_silent_and_can_be_killed(start: Start) -> None:
    first = start("--name", "one")
    machine = machine_of(first.pid)
    first.send_signal(signal.SIGSTOP)
    (told,) = listed()
    assert told == {"name": "one", "pid": first.pid, "state": "silent"}
    assert vestige("stop", "--kill", "one") == (0, "", "")
    assert first.wait(PATIENCE) == -signal.SIGKILL
    assert over(machine)


def test_a_run_that_takes_no_connection_any_more_is_silent_and_can_be_killed(start: Start) -> None:
    """Each connection that a stopped run does not take stays in its queue, which has an end."""
    first = start("--name", "one")
    first.send_signal(signal.SIGSTOP)
    folder = open_folder(make=False)
    assert folder is not None
    with ExitStack() as stack:
        stack.enter_context(closing(folder))
        error = 0
        while not error:
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            end.setblocking(False)
            error = end.connect_ex(folder.address("one"))
        assert listed() == [{"name": "one", "pid": first.pid, "state": "silent"}]
        status, _, errors = vestige("stop", "one")
        assert (status, errors.count("vestige stop --kill one ends it at once")) == (1, 1)
        assert vestige("stop", "--kill", "one") == (0, "", "")
    assert first.wait(PATIENCE) == -signal.SIGKILL


def test_a_run_that_waits_for_a_file_is_listed_and_ends_when_told(
    start: Start, tmp_path: Path
) -> None:
    """Nobody reads that FIFO, so the run is not there yet."""
    os.mkfifo(tmp_path / "fifo")
    first = start("--name", "one", "--stats", f"{tmp_path}/fifo", said=b"")
    while not (told := listed()):
        assert first.poll() is None
    assert (told[0]["name"], told[0]["state"]) == ("one", "starting")
    assert vestige("stop", "one") == (0, "", "")
    assert first.wait(PATIENCE) == 143


def test_a_run_that_compiles_is_listed_and_ends_when_told(kernels: Kernels, tmp_path: Path) -> None:
    """Once that is done, which the next run has the good of."""
    words = ["run", "--accel", "kvm", "--kernel", kernels("idle"), "--name", "one"]
    with subprocess.Popen(
        [*VESTIGE, *words],
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    ) as process:
        assert process.stderr is not None
        try:
            assert b"compiling the monitor" in process.stderr.readline()
            (told,) = listed()
            assert (told["name"], told["state"]) == ("one", "starting")
            assert vestige("stop", "one", patience=COMPILES) == (0, "", "")
            assert process.wait(PATIENCE) == 143
        finally:
            process.kill()
    assert list(tmp_path.rglob("monitor-*.image"))


def test_a_run_that_ignores_signals_ends_when_told(kernels: Kernels) -> None:
    words = ["run", "--accel", "kvm", "--kernel", kernels("idle"), "--name", "one"]
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" TERM HUP INT; exec "$@"', "sh", *VESTIGE, *words],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == HELLO
        assert vestige("stop", "one") == (0, "", "")
        assert process.wait(PATIENCE) == 143
    finally:
        process.kill()
        process.communicate()


def test_the_machines_process_answers_from_its_jail(start: Start) -> None:
    start("--name", "one", "--cpus", "2", "--jail", "on")
    with find("one") as run:
        (first, _) = run.ask({"do": "exits"})["cpus"]
        assert first > 0
        assert run.ask({"do": "exits"})["cpus"][0] >= first
    status, output, errors = vestige("stats", "one")
    told = json.loads(output)
    assert (status, errors, told["restarts"]) == (0, "", 0)
    assert told["guest_exits"]["IO"] >= len(HELLO) or told["coalesced_writes"] >= len(HELLO)
    assert vestige("stats")[0] == 2
    assert vestige("stats", "none")[2] == "vestige: no run 'none'; there are one\n"


@pytest.mark.parametrize("machine", [(), ("--machine", "pc")])
def test_a_paused_guest_does_nothing_until_it_is_resumed(start: Start, machine: list[str]) -> None:
    first = start("--name", "one", "--cpus", "2", "--jail", "on", *machine, kernel="echo")
    start("--name", "two")
    assert first.stdin is not None
    assert first.stdout is not None
    with find("one") as run:
        for typed in (b"once", b"more"):
            assert vestige("pause", "one", "two", "one") == (0, "", "")
            assert [told["state"] for told in listed()] == ["paused", "paused"]
            exits = run.ask({"do": "exits"})
            first.stdin.write(typed)
            first.stdin.flush()
            assert vestige("pause", "one") == (0, "", "")
            assert run.ask({"do": "exits"}) == exits
            assert not select.select([first.stdout], [], [], 0)[0]
            assert vestige("resume", "one", "two") == (0, "", "")
            assert first.stdout.read(4) == typed
            assert [told["state"] for told in listed()] == ["running", "running"]
            assert run.ask({"do": "exits"})["cpus"][0] > exits["cpus"][0]
    assert vestige("pause", "one") == (0, "", "")
    assert vestige("stop", "one") == (0, "", "")
    assert first.wait(PATIENCE) == 143


@pytest.mark.parametrize(
    "command", [("stats", "one"), ("pause", "one"), ("freeze", "one", "snapshot", "--stop")]
)
def test_a_guest_that_starts_is_waited_for(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """It does once somebody reads its FIFO."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    first = start("--name", "one", "--memory", "64M", "--stats", "fifo", said=b"")
    while not listed():
        assert first.poll() is None
    with subprocess.Popen([*VESTIGE, *command], stderr=subprocess.PIPE) as asks:
        with pytest.raises(subprocess.TimeoutExpired):
            asks.wait(0.5)
        with Path("fifo").open("rb", buffering=0):
            assert asks.wait(PATIENCE) == 0
            if "--stop" in command:
                assert first.wait(PATIENCE) == 143
                assert (tmp_path / "snapshot" / "manifest.json").exists()


def test_no_run_is_paused_where_one_is_none(start: Start) -> None:
    start("--name", "one")
    for command in ("pause", "resume"):
        status, said, error = vestige(command, "one", "none")
        assert (status, said) == (2, "")
        assert error == "vestige: no run 'none'; there are one\n"
        assert vestige(command)[0] == 2
    assert [told["state"] for told in listed()] == ["running"]


def test_a_guest_that_restarts_answers_again(start: Start) -> None:
    """Or says that it does not run, in between."""
    first = start("--name", "one", "--on-reboot", "restart", kernel="resets_for_ever", said=b"rr")
    answers = 0
    with find("one") as run:
        while answers < 20:
            try:
                answers += len(run.ask({"do": "exits"})["cpus"])
            except GuestError as error:
                told = str(error)
                assert "does not run now" in told or "takes nothing now" in told
            assert first.poll() is None


def test_clients_by_the_thousand_do_not_hold_up_a_guest(start: Start, tmp_path: Path) -> None:
    """Half lines, long ones, nonsense, and none that reads its answers."""
    first = start("--name", "one", kernel="echo")
    assert first.stdin is not None
    assert first.stdout is not None
    folder = open_folder(make=False)
    assert folder is not None
    sent = [b"", b'{"do":', b"A" * 100_000, b"\0\n" * 1000, b'{"do": "exits"}\n' * 1000]
    with ExitStack() as stack:
        stack.enter_context(closing(folder))
        for number in range(1000):
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            end.connect(folder.address("one"))
            end.setblocking(False)
            try:
                end.send(sent[number % len(sent)])
            except OSError:
                continue
        first.stdin.write(b"hello")
        first.stdin.flush()
        assert first.stdout.read(5) == b"hello"
        assert vestige("stop", "one") == (0, "", "")
        assert first.wait(PATIENCE) == 143
    assert first.stderr is not None
    assert first.stderr.read() == b""


def test_a_launchers_machine_has_a_name(kernels: Kernels) -> None:
    with Launcher() as launcher, ExitStack() as stack:
        files = [os.pipe() for _ in range(2)]
        machines = [
            launcher.start(kernel=kernels("idle"), name=name, stdout=writer)
            for name, (_, writer) in zip(("one", "two"), files, strict=True)
        ]
        for reader, writer in files:
            os.close(writer)
            assert stack.enter_context(os.fdopen(reader, "rb")).readline() == HELLO
        assert [told["pid"] for told in listed()] == [machine.pid for machine in machines]
        assert vestige("stop", "one", "two") == (0, "", "")
        assert [machine.wait(PATIENCE) for machine in machines] == [143, 143]


@pytest.mark.parametrize("name", [None, "one"])
def test_a_launchers_machine_that_is_killed_leaves_nothing(
    kernels: Kernels, runtime: Path, name: str | None
) -> None:
    with Launcher() as launcher, ExitStack() as stack:
        reader, writer = os.pipe()
        machine = launcher.start(kernel=kernels("idle"), name=name, stdout=writer)
        os.close(writer)
        assert stack.enter_context(os.fdopen(reader, "rb")).readline() == HELLO
        assert [each.name for each in (runtime / "vestige").iterdir()] == [name or str(machine.pid)]
        machine.kill()
        assert machine.wait(PATIENCE) == 137
        assert list((runtime / "vestige").iterdir()) == []
        machine.close()


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "é", "x" * 65])
def test_a_name_that_is_none_is_refused(kernels: Kernels, name: str) -> None:
    words = ("run", "--accel", "kvm", "--kernel", kernels("hello"), f"--name={name}")
    status, output, errors = vestige(*words)
    assert (status, output) == (2, "")
    assert errors.startswith(f"vestige: --name {name}: give 1 to 64 letters, digits, and . _ -")
    assert errors.count("\n") == 1


def test_a_folder_that_others_may_enter_is_told(kernels: Kernels, runtime: Path) -> None:
    """A run with a name is refused, one without goes on."""
    (runtime / "vestige").mkdir()
    (runtime / "vestige").chmod(0o777)
    words = ("run", "--accel", "kvm", "--kernel", kernels("hello"))
    status, output, errors = vestige(*words)
    assert (status, output) == (0, HELLO.decode())
    assert "others may write there (chmod go-w); set XDG_RUNTIME_DIR" in errors
    assert errors.count("\n") == 1
    status, output, errors = vestige(*words, "--name", "one")
    assert (status, output) == (2, "")
    assert errors.count("\n") == 1
    assert vestige("ps")[0] == 2
