"""Whole runs of `vestige run --accel kvm` with little kernels and the real monitor."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.host.harness import why_not
from tests.host.kernel_payload import (
    FEW_SECTORS,
    HELLO,
    QUEUES,
    READ_ROUNDS,
    SECTORS_AFTER_FLOOD,
    Kernels,
)
from tests.host.processes import (
    killed_behind,
    living,
    machine_of,
    over,
    threads_of,
    word_of,
)
from vestige.host import images
from vestige.host.capabilities import CAP_IPC_LOCK, REAL_TIME_IO
from vestige.terminal import IN_ORDER

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

COMMAND = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"]
PATIENCE = 30


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


def run(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*COMMAND, *words],
        **{"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": PATIENCE} | options,
        check=False,
    )


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts runs and kills them at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, **options: object) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            [*COMMAND, *words], **pipes | options
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


Start = Callable[..., "subprocess.Popen[bytes]"]


def wait_for_output(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == HELLO


# ---- how runs end ------------------------------------------------------------------------------


def test_a_guest_that_powers_off_ends_with_0(kernels: Kernels) -> None:
    done = run("--kernel", kernels("hello"))
    assert (done.returncode, done.stdout, done.stderr) == (0, HELLO, b"")


@pytest.mark.parametrize(
    "words",
    [("--memory", "64M"), ("--memory", "5G", "--cpus", "32"), ("--ide", "memory", "--cpus", "8")],
)
def test_machines_of_many_sizes_run(kernels: Kernels, words: tuple[str, ...]) -> None:
    done = run("--kernel", kernels("hello"), *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, HELLO, b"")


@pytest.mark.parametrize(("words", "said"), [(("--hpet",), b"Y"), ((), b"N")])
def test_a_device_with_an_option_is_there_where_asked_for(
    kernels: Kernels, words: tuple[str, ...], said: bytes
) -> None:
    done = run("--kernel", kernels("timer"), *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, b"")


def test_a_triple_fault_is_a_reset_of_which_is_told_where_it_was(kernels: Kernels) -> None:
    done = run("--kernel", kernels("crash"))
    assert done.returncode == 3
    assert done.stderr.startswith(b"vestige: the guest had a triple fault on CPU 0 (RIP 0x10")
    assert b"which resets it and ends the run (status 3)" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(("machine", "named"), [("pc", True), ("modern", False)])
def test_a_triple_fault_names_the_bios_where_a_pc_has_none(
    kernels: Kernels, machine: str, named: bool
) -> None:
    done = run("--kernel", kernels("crash"), "--machine", machine)
    assert done.returncode == 3
    assert (b"if the kernel calls the BIOS: " in done.stderr) is named


@pytest.mark.parametrize("on_reboot", ["exit", "restart"])
def test_a_panic_of_the_guests_kernel_ends_with_1_and_one_line(
    kernels: Kernels, on_reboot: str
) -> None:
    done = run("--kernel", kernels("panics"), "--on-reboot", on_reboot)
    assert (done.returncode, done.stdout) == (1, b"p")
    assert done.stderr.splitlines() == [
        b"vestige: monitor: the guest's kernel panicked, and its crash kernel takes over",
        b"vestige: the guest's kernel panicked; its console says why",
    ]


def test_a_reset_ends_with_3_and_one_line(kernels: Kernels) -> None:
    done = run("--kernel", kernels("reset"))
    assert done.returncode == 3
    assert done.stderr.startswith(b"vestige: the guest reset itself, which ends the run (status 3)")
    assert done.stderr.count(b"\n") == 1


def test_a_reset_starts_the_guest_anew_where_asked(
    kernels: Kernels, image: str, tmp_path: Path
) -> None:
    file = tmp_path / "stats.json"
    words = (
        "--on-reboot",
        "restart",
        "--cpus",
        "2",
        "--disk",
        f"{image},bus=ide",
        "--stats",
        str(file),
    )
    done = run("--kernel", kernels("resets"), *words)
    # RAM is 0 at every start; the disk remembers them.
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0A0B0C", b"")
    assert Path(image).read_bytes()[0] == 3
    counters = json.loads(file.read_text())
    assert counters["restarts"] == 2
    assert counters["host_calls"]["POWER"] == 1
    assert 0 < counters["milliseconds_to_first_instruction"] < 30_000


def test_a_guest_that_resets_for_ever_can_be_ended(kernels: Kernels, start: Start) -> None:
    words = ("--on-reboot", "restart", "--timeout", "1")
    assert run("--kernel", kernels("reset"), *words).returncode == 124
    process = start("--kernel", kernels("resets_for_ever"), "--on-reboot", "restart")
    assert process.stdout is not None
    assert process.stdout.read(3) == b"rrr"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143


def test_an_image_stays_locked_over_a_restart(kernels: Kernels, start: Start, image: str) -> None:
    """Nobody can take it between two machines."""
    first = start(
        "--kernel",
        kernels("resets_for_ever"),
        "--disk",
        f"{image},bus=ide",
        "--on-reboot",
        "restart",
    )
    assert first.stdout is not None
    for _ in range(3):
        assert first.stdout.read(1) == b"r"
        second = run("--kernel", kernels("hello"), "--disk", image)
        assert second.returncode == 2
        assert b"in use by another run" in second.stderr


def test_the_timeout_ends_with_124(kernels: Kernels) -> None:
    done = run("--kernel", kernels("idle"), "--timeout", "1")
    assert (done.returncode, done.stdout) == (124, HELLO)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_128_and_its_number(
    kernels: Kernels, start: Start, number: signal.Signals
) -> None:
    process = start("--kernel", kernels("idle"))
    wait_for_output(process)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 128 + number


def test_a_runs_threads_have_names(kernels: Kernels, start: Start) -> None:
    process = start("--kernel", kernels("idle"), "--cpus", "2")
    wait_for_output(process)
    assert threads_of(machine_of(process.pid)).keys() >= {"CPU 0", "CPU 1", "the worker"}
    assert len(threads_of(process.pid)) == 1


@pytest.mark.parametrize("jail", ["on", "off"])
def test_no_thread_that_enters_a_ring_may_ask_for_real_time_io(
    kernels: Kernels, start: Start, jail: str
) -> None:
    process = start("--kernel", kernels("idle"), "--cpus", "2", "--jail", jail)
    wait_for_output(process)
    machine = machine_of(process.pid)
    threads = threads_of(machine)
    held = [
        int(word_of(machine, "CapPrm", threads[name]), 16)
        for name in ("CPU 0", "CPU 1", "the worker")
    ]
    assert [each & REAL_TIME_IO for each in held] == [0] * 3


def test_a_thread_of_the_kernel_in_a_ring_has_no_privilege_but_to_lock_memory(
    kernels: Kernels, start: Start, image: str
) -> None:
    process = start("--kernel", kernels("idle"), "--ring", "poll", "--disk", image)
    wait_for_output(process)
    machine = machine_of(process.pid)
    (thread,) = (n for name, n in threads_of(machine).items() if name.startswith("iou-sqp"))
    assert int(word_of(machine, "CapEff", thread), 16) & ~(1 << CAP_IPC_LOCK) == 0


def test_a_second_run_imports_no_compiler_and_nothing_slow(kernels: Kernels) -> None:
    script = (
        "import sys; before = set(sys.modules);"
        "from vestige.cli.main import main; status = main();"
        "bad = [name for name in set(sys.modules) - before if name.startswith(('llvmlite',"
        " 'elftools', 'vestige.lang.compiler', 'vestige.lang.build', 'vestige.monitor.core',"
        " 'argparse', 'collections', 'contextlib', 'ctypes', 'enum', 're.', 'threading', 'types',"
        " 'typing'))];"
        "print(bad, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "--accel", "kvm", "--kernel", kernels("hello")],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, HELLO, b"[]\n")


# ---- statistics --------------------------------------------------------------------------------


def test_statistics_are_written(kernels: Kernels, tmp_path: Path) -> None:
    file = tmp_path / "stats.json"
    assert run("--kernel", kernels("hello"), "--stats", str(file)).returncode == 0
    counters = json.loads(file.read_text())
    # 21 characters and the power-off; nothing else exits.
    assert counters["guest_exits"] == {"IO": len(HELLO) + 1}
    assert counters["forwards"] == len(HELLO) + 1
    assert counters["host_calls"]["POWER"] == 1
    assert counters["host_calls"]["DONE"] == len(HELLO) + 1
    writes = {trap["address"]: trap["count"] for trap in counters["traps"]}
    assert writes == {"0x3f8": len(HELLO), "0x600": 1}
    assert counters["ring"]["writes"] >= 1
    assert counters["ring"]["written_bytes"] == len(HELLO)
    assert 0 < counters["milliseconds_to_first_instruction"] < 30_000
    assert 5 << 20 < counters["peak_resident_bytes"] < 1 << 30


def test_statistics_are_written_however_it_ends(kernels: Kernels, tmp_path: Path) -> None:
    file = tmp_path / "stats.json"
    assert run("--kernel", kernels("crash"), "--stats", str(file)).returncode == 3
    assert json.loads(file.read_text())["guest_exits"]["SHUTDOWN"] == 1


def test_a_file_for_statistics_that_can_not_be_written_is_refused(
    kernels: Kernels, tmp_path: Path
) -> None:
    done = run("--kernel", kernels("hello"), "--stats", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(b"vestige: --stats ")
    assert done.stdout == b""


# ---- console -----------------------------------------------------------------------------------


def test_input_reaches_the_guest(kernels: Kernels) -> None:
    done = run("--kernel", kernels("echo"), stdin=None, input=b"abc.def")
    assert (done.returncode, done.stdout) == (0, HELLO + b"abc.")


def test_a_file_takes_the_console(kernels: Kernels, tmp_path: Path) -> None:
    done = run("--kernel", kernels("hello"), "--console", str(tmp_path / "log"))
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "log").read_bytes() == HELLO


def test_a_console_whose_file_takes_no_more_is_told(kernels: Kernels) -> None:
    done = run("--kernel", kernels("hello"), "--console", "/dev/full")
    assert done.returncode == 0
    assert done.stderr == (
        b"vestige: --console /dev/full: No space left on device;"
        b" what else is written there is lost\n"
    )


def test_a_unix_socket_takes_the_console(kernels: Kernels, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "console"
    process = start("--kernel", kernels("echo"), "--console", f"unix:{path}")
    deadline = time.monotonic() + PATIENCE
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    while client.connect_ex(str(path)) != 0:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    with client:
        received = b""
        while received != HELLO:
            received += client.recv(100)
        client.send(b"hi.")
        while data := client.recv(100):
            received += data
    assert process.wait(PATIENCE) == 0
    assert received == HELLO + b"hi."
    assert not path.exists()


def test_a_bad_console_is_refused(kernels: Kernels, tmp_path: Path) -> None:
    done = run("--kernel", kernels("hello"), "--console", str(tmp_path / "no" / "log"))
    assert done.returncode == 2
    assert done.stderr.endswith(b"give the path of a file that can be written, or unix:PATH\n")


def test_a_guest_whose_output_nobody_reads_any_more_is_ended(kernels: Kernels) -> None:
    script = '"$@" | head -1; exit ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, "--kernel", kernels("idle")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (141, HELLO)
    assert (
        done.stderr == b"vestige: nobody reads the guest's console any more, which ends the run\n"
    )


@pytest.mark.parametrize("early", [False, True])
def test_a_run_whose_terminal_hangs_up_ends(kernels: Kernels, early: bool) -> None:
    words = ("--kernel", kernels("idle"), *(("--console", "virtio,early") if early else ()))
    with closing(Typist(*words, nohup=True)) as terminal:
        terminal.read_until(HELLO.strip())
        os.close(terminal.device)
        os.close(terminal.ours)
        terminal.ours = terminal.device = os.open(os.devnull, os.O_RDWR)
        assert terminal.process.wait(PATIENCE) == 141
        terminal.device = os.dup(terminal.ours)


@pytest.mark.parametrize(("words", "number"), [(("--timeout", "0.2"), None), ((), signal.SIGTERM)])
def test_standard_error_that_nobody_reads_holds_up_nothing(
    kernels: Kernels, start: Start, words: tuple[str, ...], number: signal.Signals | None
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    process = start("--kernel", kernels("idle"), *words, stderr=writer)
    if number is not None:
        wait_for_output(process)
        process.send_signal(number)
    assert process.wait(PATIENCE) == (124 if number is None else 128 + number)
    os.close(reader)
    os.close(writer)


def test_statistics_that_nobody_reads_hold_up_no_signal(
    kernels: Kernels, start: Start, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(filler, bytes(65536))
    process = start("--kernel", kernels("hello"), "--stats", f"{tmp_path}/fifo")
    wait_for_output(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) in (143, 0)
    os.close(filler)
    os.close(reader)


def test_a_timeout_of_years_is_one(kernels: Kernels) -> None:
    assert run("--kernel", kernels("hello"), "--timeout", "9e8").returncode == 0


def test_a_fifo_that_nobody_reads_holds_up_no_signal(
    kernels: Kernels, start: Start, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = start("--kernel", kernels("hello"), "--port", f"p={tmp_path}/fifo")
    assert process.stderr is not None
    assert process.stderr.readline().endswith(b"/fifo: waiting for somebody who reads it\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143


def test_a_timeout_that_is_over_before_the_guest_runs_says_so(
    kernels: Kernels, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = run("--kernel", kernels("hello"), "--port", f"p={tmp_path}/fifo", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (124, b"")
    assert done.stderr.endswith(b"vestige: the timeout is over before the guest ran\n")


class Typist:
    """`vestige run` on a terminal, and who types there."""

    def __init__(self, *words: str, nohup: bool = False) -> None:
        self.ours, self.device = pty.openpty()
        self.before = termios.tcgetattr(self.device)
        ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN);" if nohup else ""
        script = (
            "import os, signal, sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR));"
            f"{ignored}"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *COMMAND, *words],
            stdin=self.device,
            stdout=self.device,
            stderr=self.device,
        )
        self.screen = b""

    def read_until(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.screen:
            assert select.select([self.ours], [], [], deadline - time.monotonic())[0], self.screen
            self.screen += os.read(self.ours, 4096)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.device)


@pytest.fixture
def terminal(kernels: Kernels) -> Iterator[Typist]:
    typist = Typist("--kernel", kernels("echo"))
    yield typist
    typist.close()


def test_on_a_terminal_ctrl_c_is_the_guests(terminal: Typist) -> None:
    terminal.read_until(HELLO.strip())
    os.write(terminal.ours, b"\x03\x1a\x1cx.")
    terminal.read_until(b"\x03\x1a\x1cx.")
    assert terminal.process.wait(PATIENCE) == 0
    assert termios.tcgetattr(terminal.device) == terminal.before


def test_on_a_terminal_ctrl_bracket_ends_the_run(terminal: Typist) -> None:
    terminal.read_until(HELLO.strip())
    assert b"vestige: Ctrl-] ends the guest" in terminal.screen
    os.write(terminal.ours, b"\x1d")
    assert terminal.process.wait(PATIENCE) == 130
    assert termios.tcgetattr(terminal.device) == terminal.before


def test_a_terminated_run_puts_the_terminal_back(terminal: Typist) -> None:
    terminal.read_until(HELLO.strip())
    terminal.process.terminate()
    assert terminal.process.wait(PATIENCE) == 143
    assert termios.tcgetattr(terminal.device) == terminal.before


@pytest.mark.parametrize("end", [b"\x1d", b"."])
def test_the_modes_that_a_guest_left_are_put_back_and_its_last_line_is_ended(
    terminal: Typist, end: bytes
) -> None:
    """Whoever ends the run: Ctrl-], or the guest."""
    terminal.read_until(HELLO.strip())
    os.write(terminal.ours, b"\x1b[?7l$ ")
    terminal.read_until(b"\x1b[?7l$ ")
    os.write(terminal.ours, end)
    said = end if end == b"." else b""
    terminal.read_until(b"\x1b[?7l$ " + said + IN_ORDER + b"\r")
    terminal.process.wait(PATIENCE)


def test_a_runs_last_line_is_a_line_of_its_own(kernels: Kernels) -> None:
    typist = Typist("--kernel", kernels("resets_for_ever"))
    try:
        typist.read_until(b"the guest reset itself")
        assert b"r\nvestige: the guest reset itself" in typist.screen.replace(b"\r", b"")
        assert IN_ORDER not in typist.screen
        assert typist.process.wait(PATIENCE) == 3
    finally:
        typist.close()


def test_a_stopped_run_that_goes_on_takes_the_terminal_again(terminal: Typist) -> None:
    terminal.read_until(HELLO.strip())
    raw = termios.tcgetattr(terminal.device)
    terminal.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
    termios.tcsetattr(terminal.device, termios.TCSANOW, terminal.before)  # as a shell does
    terminal.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while termios.tcgetattr(terminal.device) != raw:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    os.write(terminal.ours, b".")
    assert terminal.process.wait(PATIENCE) == 0


SHELL = """
import os, signal, subprocess, sys
terminal = os.open(sys.argv[1], os.O_RDWR)  # of a session of its own: that makes it its terminal
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(sys.argv[2:], stdin=terminal, stdout=terminal, process_group=0)
os.tcsetpgrp(terminal, job.pid)
for word in sys.stdin:
    if word == "bg\\n":
        os.tcsetpgrp(terminal, os.getpgrp())
    elif word == "fg\\n":
        os.tcsetpgrp(terminal, job.pid)
    else:
        print(os.read(terminal, 100), flush=True)
        continue
    print(word, end="", flush=True)
stopped = os.waitid(os.P_PID, job.pid, os.WEXITED | os.WSTOPPED)
sys.exit(stopped.si_status if stopped.si_code == os.CLD_EXITED else 99)
"""


def test_in_the_background_a_run_takes_no_key_and_is_not_stopped(kernels: Kernels) -> None:
    ours, theirs = pty.openpty()
    words = [os.ttyname(theirs), *COMMAND, "--kernel", kernels("echo")]
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    screen = b""

    def tell(word: str) -> str:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(f"{word}\n")
        shell.stdin.flush()
        return shell.stdout.readline()

    def show(text: bytes) -> None:
        nonlocal screen
        deadline = time.monotonic() + PATIENCE
        while text not in screen:
            assert select.select([ours], [], [], deadline - time.monotonic())[0], screen
            screen += os.read(ours, 4096)

    show(HELLO.strip())
    os.write(ours, b"one")
    show(b"one")
    assert tell("bg") == "bg\n"
    os.write(ours, b"for the shell")
    select.select([], [], [], 0.7)  # the run has looked, and once more
    assert tell("read") == "b'for the shell'\n"
    assert tell("fg") == "fg\n"
    os.write(ours, b"two.")
    show(b"two.")
    shell.stdin.close()
    assert shell.wait(PATIENCE) == 0
    shell.stdout.close()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("early", [False, True])
def test_a_virtio_console_on_a_terminal_leaves_it_as_it_was(kernels: Kernels, early: bool) -> None:
    words = "virtio,early" if early else "virtio"
    with closing(Typist("--kernel", kernels("idle"), "--console", words)) as terminal:
        terminal.read_until(HELLO.strip() if early else b"Ctrl-] ends the guest")
        terminal.process.terminate()
        assert terminal.process.wait(PATIENCE) == 143
        assert termios.tcgetattr(terminal.device) == terminal.before
        assert early or HELLO.strip() not in terminal.screen


@pytest.mark.parametrize(
    ("kernel", "device", "words", "status"),
    [
        ("hvc_floods", "virtio:", (), 143),
        ("uart_floods", "", (), 143),
        ("uart_floods", "", ("--timeout", "12"), 124),
    ],
)
def test_a_terminal_that_nobody_reads_freezes_no_disk_and_no_end(
    kernels: Kernels,
    start: Start,
    image: str,
    kernel: str,
    device: str,
    words: tuple[str, ...],
    status: int,
) -> None:
    ours, theirs = pty.openpty()
    if not device:  # the serial port is slow
        os.set_blocking(theirs, False)
        with suppress(BlockingIOError):
            while True:
                os.write(theirs, bytes(100))
    console = f"{device}{os.ttyname(theirs)}"
    process = start("--kernel", kernels(kernel), "--disk", image, "--console", console, *words)
    deadline = time.monotonic() + PATIENCE
    while Path(image).read_bytes()[512 * (SECTORS_AFTER_FLOOD - 1)] != SECTORS_AFTER_FLOOD:
        assert time.monotonic() < deadline, "the disk stands still"
        select.select([], [], [], 0.01)
    if not words:
        process.terminate()
    assert process.wait(PATIENCE) == status
    os.close(ours)
    os.close(theirs)


def test_input_that_the_guest_does_not_want_is_left_to_who_comes_next(kernels: Kernels) -> None:
    reader, writer = os.pipe()
    os.write(writer, bytes(16384))
    done = run("--kernel", kernels("hello"), stdin=reader)
    assert (done.returncode, done.stdout) == (0, HELLO)
    assert len(os.read(reader, 16384)) >= 16384 - 2048
    os.close(reader)
    os.close(writer)


def test_a_serial_port_that_is_connected_to_nothing_holds_up_no_guest(kernels: Kernels) -> None:
    done = run("--kernel", kernels("hello"), "--console", "virtio", "--rng")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# ---- disks -------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return str(path)


def test_an_image_in_use_by_another_run_is_refused_until_that_is_killed(
    kernels: Kernels, start: Start, image: str
) -> None:
    first = start("--kernel", kernels("idle"), "--disk", image)
    wait_for_output(first)
    second = run("--kernel", kernels("hello"), "--disk", image)
    assert second.returncode == 2
    assert second.stderr.decode() == (
        f"vestige: {image}: in use by another run; end that one first, or give both of them"
        " ,readonly or ,overlay=FILE\n"
    )
    machine = machine_of(first.pid)
    first.send_signal(signal.SIGKILL)
    assert over(machine)
    assert run("--kernel", kernels("hello"), "--disk", image).returncode == 0


def test_a_killed_run_leaves_no_process_and_no_socket_that_blocks_the_next(
    kernels: Kernels, start: Start, tmp_path: Path
) -> None:
    console = f"unix:{tmp_path}/console"
    first = start("--kernel", kernels("idle"), "--console", console, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "console").exists():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    machine = machine_of(first.pid)
    assert living(first.pid) == {first.pid, machine}
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    assert over(machine)
    assert not living(first.pid)
    assert run("--kernel", kernels("hello"), "--console", console).returncode == 0


@pytest.mark.parametrize("stops", [1, 100])
@pytest.mark.parametrize(("kernel", "bus"), [("flush", "ide"), ("virtio_flush", "virtio")])
def test_a_killed_runs_image_holds_all_that_the_guest_flushed(
    kernels: Kernels, start: Start, image: str, stops: int, kernel: str, bus: str
) -> None:
    process = start("--kernel", kernels(kernel), "--disk", f"{image},bus={bus}")
    flushed = killed_behind(process, stops)
    assert set(flushed) == {ord(".")}
    content = Path(image).read_bytes()
    held = [int.from_bytes(content[512 * n : 512 * n + 8], "little") for n in range(len(flushed))]
    assert held == [n + 1 for n in range(len(flushed))]


@pytest.mark.parametrize("ring", ["kick", "poll"])
def test_a_virtio_request_that_a_worker_serves_is_no_exit_of_the_guest(
    kernels: Kernels, image: str, ring: str, tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"
    words = ("--disk", image, "--ring", ring, "--stats", str(stats))
    done = run("--kernel", kernels("virtio_few"), *words)
    assert (done.returncode, done.stdout) == (0, b"." * FEW_SECTORS), done
    content = Path(image).read_bytes()
    held = [int.from_bytes(content[512 * n : 512 * n + 8], "little") for n in range(FEW_SECTORS)]
    assert held == [n + 1 for n in range(FEW_SECTORS)]
    counters = json.loads(stats.read_text())
    (function,) = counters["virtio"]
    assert function["requests"] == 2 * FEW_SECTORS
    assert ring == "kick" or function["notifications"] == 0
    others = counters["guest_exits"]["MMIO"] - function["notifications"]
    assert others < 30, "setting up is all there is"


@pytest.mark.parametrize("policy", [os.SCHED_OTHER, os.SCHED_BATCH])
def test_a_cpu_serves_its_own_requests_while_they_come_one_at_a_time(
    kernels: Kernels, image: str, policy: int, tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"
    sectors = (number.to_bytes(512, "little") for number in range(1, FEW_SECTORS + 1))
    Path(image).write_bytes(b"".join(sectors))
    words = ("--disk", image, "--ring", "kick", "--stats", str(stats))
    with scheduled(policy):
        done = run("--kernel", kernels("virtio_one_at_a_time"), *words)
    assert (done.returncode, done.stdout) == (0, b"." * READ_ROUNDS), done
    (function,) = json.loads(stats.read_text())["virtio"]
    assert function["requests"] == READ_ROUNDS * FEW_SECTORS
    exits = function["notifications"]
    if policy == os.SCHED_OTHER:
        assert FEW_SECTORS < exits < function["requests"]
    else:
        assert exits == 0, "who chooses the policy chooses the worker"


@contextmanager
def scheduled(policy: int) -> Iterator[None]:
    """What is started meanwhile has that policy."""
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, policy, os.sched_param(0))
    yield
    os.sched_setscheduler(0, before, os.sched_param(0))


@pytest.mark.parametrize("ring", ["kick", "poll"])
@pytest.mark.parametrize("others", [[], ["discard=unmap"], ["readonly", "discard=ignore"]])
def test_sectors_that_are_discarded_are_a_hole_in_their_own_image(
    kernels: Kernels, tmp_path: Path, ring: str, others: list[str]
) -> None:
    words = ["--ring", ring, "--cpus", "2"]
    images = [tmp_path / f"{number}.img" for number in range(1 + len(others))]
    for path, option in zip(images, ["discard=unmap", *others], strict=True):
        path.write_bytes(b"x" * (1 << 20))
        words += ["--disk", f"{path},{option}"]
    done = run("--kernel", kernels("virtio_discards"), *words)
    if b"makes no holes" in done.stderr:
        pytest.skip(done.stderr.decode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"./", b"")
    first, *rest = (path.read_bytes() for path in images)
    assert first == b"x" * 4096 + bytes(4096) + b"x" * ((1 << 20) - 8192)
    assert all(content == b"x" * (1 << 20) for content in rest)


def run_with_disks(
    kernel: str, folder: Path, disks: int, sectors: int, *options: str
) -> dict[str, Any]:
    """What --stats says of a guest that has written its `sectors` to each of its disks."""
    stats = folder / "stats.json"
    images = [folder / f"{number}.img" for number in range(disks)]
    for each in images:
        each.write_bytes(bytes(1 << 20))
    words = [word for each in images for word in ("--disk", str(each))]
    done = run("--kernel", kernel, *words, *options, "--stats", str(stats))
    assert (done.returncode, done.stdout) == (0, b"." * FEW_SECTORS), done
    for disk, each in enumerate(images):
        content = each.read_bytes()
        held = [content[512 * n : 512 * n + 8] for n in range(sectors)]
        assert held == [(n + 1 | disk << 32).to_bytes(8, "little") for n in range(sectors)]
    counters: dict[str, Any] = json.loads(stats.read_text())
    return counters


@pytest.mark.parametrize(
    ("cpus", "disks", "ring"), [(1, 2, "kick"), (2, 2, "kick"), (4, 3, "poll"), (16, 4, "auto")]
)
def test_disks_of_a_guest_with_many_cpus_have_workers_of_their_own(
    kernels: Kernels, tmp_path: Path, cpus: int, disks: int, ring: str
) -> None:
    options = ("--cpus", str(cpus), "--ring", ring)
    counters = run_with_disks(kernels("virtio_disks"), tmp_path, disks, FEW_SECTORS, *options)
    workers = counters["workers"]
    homes = [[n for n in range(disks) if n % len(workers) == d] for d in range(len(workers))]
    assert [worker["virtio"] for worker in workers] == homes
    assert len(workers) == min(cpus, disks)
    assert all(worker["wakeups"] > 1 for worker in workers)
    assert counters["worker_wakeups"] == sum(worker["wakeups"] for worker in workers)
    assert [each["requests"] for each in counters["virtio"]] == [2 * FEW_SECTORS] * disks
    assert [each["notifications"] for each in counters["virtio"]] == [0] * disks


@pytest.mark.parametrize(
    ("cpus", "disks", "ring", "homes"),
    [
        (7, 1, "kick", [[0]]),
        (8, 1, "kick", [[0]] * 2),
        (16, 2, "poll", [[0], [0], [1], [1]]),
        (32, 1, "auto", [[0]] * 8),
    ],
)
def test_workers_share_a_disk_of_a_guest_with_more_cpus(
    kernels: Kernels, tmp_path: Path, cpus: int, disks: int, ring: str, homes: list[list[int]]
) -> None:
    sectors = QUEUES * FEW_SECTORS
    options = ("--cpus", str(cpus), "--ring", ring)
    counters = run_with_disks(kernels("virtio_queues"), tmp_path, disks, sectors, *options)
    workers = counters["workers"]
    shares = len(workers) // disks
    assert [worker["virtio"] for worker in workers] == homes
    served = [range(n % shares, QUEUES, shares) for n in range(len(workers))]
    assert [worker["requests"] for worker in workers] == [
        2 * FEW_SECTORS * len(queues) for queues in served
    ]
    for function in counters["virtio"]:
        assert function["requests"] == 2 * sectors
        assert function["notifications"] == function["failures"] == 0
        assert function["resets"] == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--disk", "none.img"), b"none.img: no such disk image"),
        (("--disk", "/"), b"/: a directory"),
        (("--disk", "/dev/null"), b"/dev/null: neither a file nor a block device"),
        (("--memory", "64G"), b"--memory 64G: a guest has 64M to 30G"),
        (("--cpus", "33"), b"--cpus 33: give a number from 1 to 32"),
        (("--timeout", "x"), b"--timeout x"),
        (("--ide", "nonsense"), b"--ide nonsense: there are ports, memory"),
        (("--initrd", "none"), b"none: no such file"),
        (("--on-reboot", "never"), b"--on-reboot never: there are exit, restart"),
        (("--net", "tap:vestigeX"), b"--net tap:vestigeX: no such interface; make it: sudo ip"),
        (("--net", "tap:lo"), b"--net tap:lo: not a tap; give one made by"),
        (("--console", f"unix:{'x' * 200}"), b"--console unix:" + b"x" * 200 + b": a path of 200"),
        (("--console", "virtio:no/file"), b"--console virtio:no/file: No such file or directory"),
        (("--port", f"a=unix:{'x' * 200}"), b"--port a=unix:" + b"x" * 200 + b": a path of 200"),
    ],
)
def test_bad_words_end_with_2_and_one_line(
    kernels: Kernels, words: tuple[str, str], line: bytes
) -> None:
    done = run("--kernel", kernels("hello"), *words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"vestige: " + line)
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""


def test_without_passt_a_run_ends_with_2_and_says_how_to_install_it(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("--kernel", kernels("hello"), "--net", "user")
    assert done.returncode == 2
    assert (
        done.stderr == b"vestige: --net user: passt not found; install it: sudo apt install passt\n"
    )


def test_standard_files_that_are_closed_are_no_obstacle(kernels: Kernels, image: str) -> None:
    before = Path(image).read_bytes()
    words = [*COMMAND, "--kernel", kernels("hello"), "--disk", image]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words], timeout=PATIENCE, check=False
    )
    assert done.returncode == 0
    assert Path(image).read_bytes() == before
