"""A run's own process and the machine's: what each has, and what one does when the other ends."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.harness import why_not
from tests.host.kernel_payload import HELLO, Kernels
from tests.host.processes import (
    JAIL,
    PATIENCE,
    machine_of,
    open_files,
    over,
    parent_of,
    shared_mappings,
    threads_of,
    wait_for_state,
    word_of,
)
from vestige.host import images
from vestige.host.process.outer import PATIENCE as STOP_PATIENCE

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

COMMAND = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"]
NEITHER_RUNS_NOR_WAITS = "T"
GOES_ON = "RSDI"
KILLED = b"vestige: the machine's process was killed (SIGKILL), for want of memory or by somebody\n"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


class Run:
    """One whose guest has said HELLO, in a group of processes of its own; a shell's job is one."""

    def __init__(self, *words: str, said: bytes = HELLO) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.hears(said)
        self.machine = machine_of(self.process.pid)

    def types(self, text: bytes) -> None:
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), text)

    def hears(self, text: bytes) -> None:
        """Wait until the guest has said just that."""
        assert self.process.stdout is not None
        output, heard = self.process.stdout.fileno(), b""
        while len(heard) < len(text):
            assert select.select([output], [], [], PATIENCE)[0], f"only {heard!r} came"
            more = os.read(output, len(text) - len(heard))
            assert more, self.ends()
            heard += more
        assert heard == text

    def stops(self) -> None:
        """Stop it as Ctrl-Z does, which a shell then hears of."""
        self.process.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        wait_for_state(self.process.pid, NEITHER_RUNS_NOR_WAITS)
        wait_for_state(self.machine, NEITHER_RUNS_NOR_WAITS)

    def goes_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        wait_for_state(self.process.pid, GOES_ON)
        wait_for_state(self.machine, GOES_ON)

    def ends(self) -> tuple[int, bytes]:
        """Its status, and its lines."""
        _, lines = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, lines

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Run]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts runs, and kills them at the end."""
    running: list[Run] = []

    def begin(*words: str, said: bytes = HELLO) -> Run:
        running.append(Run(*words, said=said))
        return running[-1]

    yield begin
    for each in running:
        each.close()


# ---- what each of them has ----------------------------------------------------------------------


def test_the_vcpus_are_in_a_child_with_names_of_processes_of_its_own(
    kernels: Kernels, start: Start
) -> None:
    run = start("--kernel", kernels("idle"), "--cpus", "2")
    assert parent_of(run.machine) == run.process.pid
    ours, runs = (Path(f"/proc/{each}/ns/pid").readlink() for each in ("self", run.process.pid))
    assert ours == runs
    status = Path(f"/proc/{run.machine}/status").read_text()
    inside = status.partition("NSpid:")[2].splitlines()[0].split()
    assert inside == [str(run.machine), "1"]


def test_each_thread_of_the_machines_is_locked_in(
    kernels: Kernels, start: Start, disk: Path
) -> None:
    run = start("--kernel", kernels("idle"), "--cpus", "2", "--disk", f"{disk},discard=unmap")
    threads = threads_of(run.machine)
    assert threads.keys() >= {"CPU 0", "CPU 1", "the worker", "discards"}
    for thread in threads.values():
        words = {name: word_of(run.machine, name, thread) for name in ("Seccomp", "NoNewPrivs")}
        assert words == {"Seccomp": "2", "NoNewPrivs": "1"}
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(word_of(run.machine, kind, thread), 16) == 0, kind


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An image of 1 MiB."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


def test_the_machines_process_has_vms_a_ring_and_its_link_open(
    kernels: Kernels, start: Start, disk: Path, tmp_path: Path
) -> None:
    words = ("--disk", str(disk), "--rng", "--port", f"p={tmp_path}/port", "--jail", JAIL)
    run = start("--kernel", kernels("idle"), *words, "--stats", str(tmp_path / "stats"))
    files = Counter(open_files(run.machine))
    (status,) = (name for name in files if name.endswith(f"/{run.machine}/status"))
    pages = f"/proc/{run.machine}/pagemap"  # which there are, for a freeze
    for name in ("anon_inode:kvm-vm", status, pages):
        assert files.pop(name) == (2 if name.startswith("anon") else 1)
    (link,) = (name for name in files if name.startswith("socket:"))
    assert files.pop(link) == 1
    assert link not in open_files(run.process.pid), "each has its own end"
    nowhere = {name for name in files if name in ("/null", "/dev/null")}
    assert sum(files.pop(name) for name in nowhere) == 3
    rest = {name.partition(":")[2].rstrip("0123456789") for name in files}
    assert rest - {"kvm-vcpu:", "[io_uring]", "[eventfd]"} <= {""}
    others = [name for name in files if not name.startswith("anon_inode:")]
    assert all(f"/{run.machine}/fdinfo/" in name for name in others), "the ring's counters"


def test_the_runs_own_process_shares_no_memory_with_the_machine(
    kernels: Kernels, start: Start
) -> None:
    run = start("--kernel", kernels("idle"), "--jail", JAIL)
    assert shared_mappings(run.machine), "its vCPUs' and its ring's"
    assert not shared_mappings(run.process.pid)
    names = [name for name in open_files(run.process.pid) if name.startswith("anon_inode:")]
    assert set(names) <= {"anon_inode:seccomp notify", "anon_inode:[pidfd]"}


@pytest.mark.parametrize("jail", ["on", "off"])
def test_no_file_of_the_machines_grows_beyond_the_largest_disk(
    kernels: Kernels, start: Start, disk: Path, tmp_path: Path, jail: str
) -> None:
    larger = tmp_path / "larger.img"
    larger.write_bytes(bytes(3 << 20))
    words = [word for each in (disk, larger) for word in ("--disk", str(each))]
    run = start("--kernel", kernels("idle"), *words, "--jail", jail)
    sizes = [
        next(line.split()[3:5] for line in text.splitlines() if line.startswith("Max file size"))
        for text in (
            Path(f"/proc/{each}/limits").read_text()
            for each in (run.machine, run.process.pid, "self")
        )
    ]
    assert sizes[0] == [str(3 << 20), sizes[2][1]]
    assert sizes[1] == sizes[2], "of the run's own process, which has the consoles' files"


def test_a_run_with_everything_makes_no_call_that_its_jail_refuses(
    kernels: Kernels, disk: Path, tmp_path: Path
) -> None:
    """It restarts, and is counted: of a refused call there would be a line."""
    stats, log = tmp_path / "stats", tmp_path / "log"
    words = ["--kernel", kernels("resets"), "--on-reboot", "restart", "--cpus", "2", "--hpet"]
    words += ["--disk", f"{disk},bus=ide", "--rng", "--port", f"p={tmp_path}/port"]
    words += ["--stats", str(stats), "--console", str(log), "--jail", "require"]
    done = subprocess.run(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert log.read_bytes() == b"0A0B0C"
    assert json.loads(stats.read_text())["restarts"] == 2


# ---- when one of them ends ----------------------------------------------------------------------


@pytest.mark.parametrize("jail", ["on", "off"])
def test_a_machines_process_that_is_killed_ends_the_run_with_a_line(
    kernels: Kernels, start: Start, tmp_path: Path, jail: str
) -> None:
    words = ("--stats", str(tmp_path / "stats"), "--on-reboot", "restart")
    run = start("--kernel", kernels("idle"), *words, "--jail", jail)
    os.kill(run.machine, signal.SIGKILL)
    status, lines = run.ends()
    assert (status, lines.splitlines(keepends=True)[-1]) == (1, KILLED)
    assert lines.count(b"\n") == (1 if jail == "on" else 2)


def test_a_machines_process_that_is_killed_leaves_what_its_guest_said(
    kernels: Kernels, start: Start
) -> None:
    run = start("--kernel", kernels("echo"))
    run.types(b"one")
    run.hears(b"one")
    os.kill(run.machine, signal.SIGKILL)
    assert run.ends() == (1, KILLED)


@pytest.mark.parametrize("jail", ["on", "off"])
def test_a_machine_ends_when_the_runs_own_process_is_killed(
    kernels: Kernels, start: Start, disk: Path, jail: str
) -> None:
    run = start("--kernel", kernels("idle"), "--disk", f"{disk},discard=unmap", "--jail", jail)
    run.process.kill()
    assert over(run.machine)


def test_a_machine_that_is_stopped_ends_with_the_run_too(kernels: Kernels, start: Start) -> None:
    run = start("--kernel", kernels("echo"))
    run.stops()
    run.process.kill()
    assert over(run.machine)


# ---- stopped, and going on ----------------------------------------------------------------------


@pytest.mark.parametrize("jail", ["on", "off"])
def test_a_run_that_is_stopped_stops_its_machine_and_goes_on_with_it(
    kernels: Kernels, start: Start, jail: str
) -> None:
    run = start("--kernel", kernels("echo"), "--jail", jail)
    for text in (b"one", b"two"):
        run.stops()
        run.types(text)
        assert run.process.stdout is not None
        assert not select.select([run.process.stdout], [], [], 0)[0]
        run.goes_on()
        run.hears(text)
    run.types(b".")
    run.hears(b".")
    assert run.ends()[0] == 0


def test_a_stopped_run_ends_by_a_signal_once_it_goes_on(kernels: Kernels, start: Start) -> None:
    run = start("--kernel", kernels("idle"))
    run.stops()
    run.process.send_signal(signal.SIGTERM)
    run.process.send_signal(signal.SIGCONT)
    assert run.ends() == (128 + signal.SIGTERM, b"")
    assert over(run.machine)


def test_a_run_that_nothing_is_to_stop_is_not_stopped(kernels: Kernels) -> None:
    """Whose caller ignores SIGTSTP, as some shells' scripts do: it goes on to its timeout."""
    words = shlex.join([*COMMAND, "--kernel", kernels("idle"), "--timeout", "2"])
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' TSTP; exec {words}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTSTP)
        assert process.wait(PATIENCE) == 124


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to be without")
def test_root_without_capabilities_has_a_jail_too(kernels: Kernels) -> None:
    """As in many a container: no user namespace maps root then."""
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    words = ["--kernel", kernels("hello"), "--jail", "require"]
    done = subprocess.run(
        [*without, *COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, HELLO, b"")


# ---- whatever the caller is like ----------------------------------------------------------------

SIGNALS = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD])
os.execv(sys.argv[1], sys.argv[1:])
"""


def ended(words: list[str], kernel: str, *more: str) -> tuple[int, bytes, bytes]:
    """Status, output and lines of a run that is started by a program of such `words`."""
    done = subprocess.run(
        [*words, *COMMAND, "--kernel", kernel, *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_signals_that_the_caller_ignores_or_blocks_are_no_obstacle(kernels: Kernels) -> None:
    words = [sys.executable, "-c", SIGNALS]
    assert ended(words, kernels("hello")) == (0, HELLO, b"")
    began = time.monotonic()
    assert ended(words, kernels("idle"), "--timeout", "1")[0] == 124
    assert time.monotonic() - began < STOP_PATIENCE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may unmount anything")
def test_a_machine_without_proc_runs(kernels: Kernels) -> None:
    words = ["unshare", "--mount", "sh", "-c", 'umount -l /proc; exec "$@"', "sh"]
    assert ended(words, kernels("hello")) == (0, HELLO, b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a capability")
def test_a_right_that_namespaces_would_take_is_kept_without_them(kernels: Kernels) -> None:
    words = ["setpriv", "--bounding-set=-all,+ipc_lock", "--inh-caps=-all,+ipc_lock"]
    status, output, lines = ended([*words, "--ambient-caps=+ipc_lock"], kernels("hello"))
    assert (status, output) == (0, HELLO)
    assert lines.startswith(b"vestige: the jail is without namespaces (the right to lock memory")


# ---- where a layer is off -----------------------------------------------------------------------

NO_PROCESSES = 'echo 0 >/proc/sys/user/max_pid_namespaces && exec "$@"'
WITHOUT = (
    b"without namespaces (no more of them may be made, by the sysctls user.max_*_namespaces), an"
    b" empty file system (it needs namespaces)"
)


@pytest.mark.parametrize(
    ("jail", "status", "line"),
    [
        ("on", 0, b"vestige: the jail is " + WITHOUT + b"\n"),
        ("require", 2, b"--jail require: it is " + WITHOUT + b"; `vestige doctor` has cures\n"),
        ("off", 0, b"vestige: --jail off: the machine's process is not locked in\n"),
    ],
)
def test_a_layer_that_is_off_is_told(
    kernels: Kernels, tmp_path: Path, jail: str, status: int, line: bytes
) -> None:
    log = tmp_path / "log"
    log.write_text("kept")
    words = ["--kernel", kernels("hello"), "--console", str(log), "--jail", jail]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", NO_PROCESSES, "sh", *COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr.removeprefix(b"vestige: ")) == (
        status,
        line.removeprefix(b"vestige: "),
    )
    assert log.read_bytes() == (b"kept" if status else HELLO)
