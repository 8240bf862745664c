"""`vestige softhost` as a person and a shell see it, with a fake QEMU."""

import os
import pty
import random
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.devices.fuzzing import Limit
from tests.softhost import fuzz_signals
from tests.softhost.conftest import Behave
from vestige.softhost import kernel, packages

pytestmark = pytest.mark.usefixtures("fake_qemu")

TIMEOUT = 60.0
VESTIGE = [sys.executable, "-m", "vestige.cli.main", "softhost"]


def vestige(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*VESTIGE, *arguments], input=stdin, capture_output=True, timeout=TIMEOUT, check=False
    )


def start(script: str) -> subprocess.Popen[bytes]:
    """Start a command that says its parent's number, which is the fake QEMU's, when it is up.

    Its input stays open, so `cat` waits for ever, and ends with the fake QEMU.
    """
    return subprocess.Popen(
        [*VESTIGE, "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def first_number(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def wait_for_end(process: int) -> None:
    """Wait until a process that isn't ours has ended, a zombie or gone. Fails after TIMEOUT."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    assert poller.poll(TIMEOUT * 1000), f"process {process} goes on"
    os.close(handle)


def test_streams_and_status_pass_through() -> None:
    done = vestige("--", "sh", "-c", "cat; echo err >&2; exit 9", stdin=b"in")
    assert (done.returncode, done.stdout) == (9, b"in")
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("vestige: software host: booting Debian's Linux 6.1")
    assert lines[1].startswith("vestige: software host: ready in ")
    assert lines[2:] == ["err"]


def test_the_commands_own_options_are_its_own() -> None:
    assert vestige("--", "echo", "--memory", "--", "-x").stdout == b"--memory -- -x\n"


def test_a_closed_pipe_ends_the_command() -> None:
    pipeline = subprocess.run(
        ["bash", "-c", '"$@" -- yes | head -n 1; exit ${PIPESTATUS[0]}', "bash", *VESTIGE],
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert pipeline.stdout == b"y\n"
    assert pipeline.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no command; give one after '--'"),
        (["--memory", "lots", "--", "true"], "--memory lots: not a size"),
        (["--", ""], "an empty command; give one after '--'"),
        (["--memory", "64M", "--", "true"], "--memory 64M: a software host has 512M to 30G"),
        (["--memory", "", "--", "true"], "--memory : not a size"),
        (["--nvme", "{folder}/none", "--", "true"], "none: no such disk image; make one"),
        (["--nvme", "{folder}/qcow2", "--", "true"], "a qcow2 image, not a raw one"),
        (["--nvme", "{folder}/fifo", "--", "true"], "fifo: neither a file nor a block device"),
        (["--nvme", "/dev/null", "--", "true"], "neither a file nor a block device"),
        (["--nvme", "{folder}/odd,readonly", "--", "true"], "odd: 1000 bytes, not a multiple"),
        (["--nvme={folder}/good", "--nvme={folder}/./good", "--", "true"], "good: given twice"),
        (["--nvme={folder}/good"] * 16 + ["--", "true"], "16 NVMe controllers: a software host ha"),
        (["--bogus", "--", "true"], "--bogus"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "qcow2").write_bytes(b"QFI\xfb".ljust(512, b"\0"))
    (tmp_path / "good").write_bytes(bytes(512))
    (tmp_path / "odd").write_bytes(bytes(1000))
    os.mkfifo(tmp_path / "fifo")
    done = vestige(*(word.format(folder=tmp_path) for word in arguments))
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("vestige: ")
    assert reason in line


def test_an_image_that_looks_like_another_format_is_taken_as_raw_where_asked(
    tmp_path: Path,
) -> None:
    (tmp_path / "qcow2").write_bytes(b"QFI\xfb".ljust(512, b"\0"))
    assert vestige("--nvme", f"{tmp_path}/qcow2,format=raw", "--", "true").returncode == 0


def test_too_few_open_files_are_named_with_the_cure() -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", *VESTIGE, "--", "true"],
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("vestige: the software host needs 256 open files; RLIMIT_NOFILE")


def test_without_apts_lists_the_next_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    empty = tmp_path / "apt.conf"
    empty.write_text(f'Dir::State::lists "{tmp_path}";\nDir::State::status "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(empty))
    done = vestige("--", "true")
    assert done.returncode == 2
    assert b"run 'apt-get update' as root" in done.stderr
    assert b"Traceback" not in done.stderr
    left = list(packages.cache_directory("softhost").iterdir())
    assert [path.name for path in left] == ["lock"]


@pytest.mark.parametrize("change", [Path.unlink, partial(Path.write_bytes, data=b"x")])
def test_a_damaged_cache_is_one_line_before_the_boot(change: Callable[[Path], object]) -> None:
    change(kernel.cached() / "initramfs.cpio")
    done = vestige("--", "true")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith(f"; remove {kernel.cached().parent} to have it fetched anew")


def test_a_software_host_that_fails_is_status_1(fake_qemu: Behave) -> None:
    fake_qemu("panics")
    done = vestige("--", "true")
    assert done.returncode == 1
    assert b"vestige: the software host failed: its kernel panicked" in done.stderr


def test_retry_runs_the_command_again(tmp_path: Path) -> None:
    script = 'if [ -e "$0" ]; then echo again; else touch "$0"; kill -9 $PPID; fi'
    arguments = ["--", "sh", "-c", script, str(tmp_path / "marker")]
    done = vestige("--retry", *arguments)
    assert (done.returncode, done.stdout) == (0, b"again\n")
    (tmp_path / "marker").unlink()
    assert vestige(*arguments).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_nothing_is_left(number: signal.Signals) -> None:
    process = start("echo $PPID; exec cat")
    qemu = first_number(process)
    process.send_signal(number)
    assert process.wait(TIMEOUT) == 128 + number
    wait_for_end(qemu)


def test_a_command_may_end_in_its_own_way() -> None:
    process = start("trap 'exit 3' INT; echo $PPID; sleep 10 & wait")
    qemu = first_number(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 3
    wait_for_end(qemu)


def test_the_second_signal_does_not_wait_for_the_command() -> None:
    process = start("trap 'echo 0' TERM; echo $PPID; while [ -d /proc/$PPID ]; do sleep 1; done")
    qemu = first_number(process)
    process.send_signal(signal.SIGTERM)
    assert first_number(process) == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
    wait_for_end(qemu)


def test_a_kill_leaves_no_process() -> None:
    process = start("echo $PPID; exec cat")
    qemu = first_number(process)
    process.kill()
    process.wait(TIMEOUT)
    wait_for_end(qemu)


def test_a_signal_ends_the_boot(fake_qemu: Behave) -> None:
    fake_qemu("silent")
    process = subprocess.Popen([*VESTIGE, "--", "true"], stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"booting" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 128 + signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGWINCH, signal.SIGCONT])
def test_a_signal_that_ends_nothing_does_not_end_the_boot(
    fake_qemu: Behave, number: signal.Signals
) -> None:
    fake_qemu("silent")
    process = subprocess.Popen([*VESTIGE, "--", "true"], stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"booting" in process.stderr.readline()
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=TIMEOUT)[1] == b""
    assert process.returncode == 128 + signal.SIGTERM


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What the terminal shows up to `wanted`. Fails after TIMEOUT."""
    shown = b""
    deadline = time.monotonic() + TIMEOUT
    while wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} expected, shown {shown!r}"
        shown += os.read(terminal, 4096)
    return shown


def test_on_a_terminal_the_command_has_one_and_ours_is_restored() -> None:
    terminal, far_end = os.openpty()
    termios.tcsetwinsize(terminal, (33, 99))
    before = termios.tcgetattr(terminal)
    script = "stty size; stty -echo; read line; echo got $line; exec cat"
    process = subprocess.Popen(
        [*VESTIGE, "--", "sh", "-c", script],
        stdin=far_end,
        stdout=far_end,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert b"33 99\r\n" in read_until(terminal, b"33 99\r\n")
    os.write(terminal, b"typed\r")
    read_until(terminal, b"got typed\r\n")
    os.write(terminal, b"\x03")
    assert process.wait(TIMEOUT) == 128 + signal.SIGINT
    assert termios.tcgetattr(terminal) == before
    os.close(terminal)
    os.close(far_end)


class Shell:
    """An interactive shell on a terminal, in which a person types."""

    def __init__(self) -> None:
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.execvp("bash", ["bash", "--norc", "-i"])
        os.write(self.terminal, b"PS1='$ '; bind 'set enable-bracketed-paste off'; echo be''gun\r")
        self.screen = read_until(self.terminal, b"begun\r\n")

    def type(self, line: str) -> None:
        os.write(self.terminal, line.encode() + b"\r")

    def expect(self, text: bytes) -> None:
        self.screen = read_until(self.terminal, text)

    def close(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.process, 0)


def test_in_the_background_of_a_terminal_a_command_runs_without_it() -> None:
    with closing(Shell()) as shell:
        words = shlex.join([*VESTIGE, "--", "sh", "-c", "cat; echo do''ne"])
        shell.type(f"{words} & wait; echo st''atus=$?")
        shell.expect(b"status=0")
        assert b"done" in shell.screen


def test_a_command_stands_still_while_its_caller_is_stopped(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    beats.touch()
    script = f"echo 0; while sleep 0.05; do echo >> {beats}; done"
    process = start(script)
    assert first_number(process) == 0
    process.send_signal(signal.SIGSTOP)

    def stands_still() -> bool:
        before = beats.stat().st_size
        time.sleep(0.5)
        return beats.stat().st_size == before

    deadline = time.monotonic() + TIMEOUT
    while not stands_still():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGCONT)
    while stands_still():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 128 + signal.SIGINT


def test_a_reader_that_stalls_does_not_keep_a_signal_from_ending_it() -> None:
    process = subprocess.Popen(
        [*VESTIGE, "--", "sh", "-c", "echo 0 >&2; exec cat /dev/zero"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while process.stderr.readline() != b"0\n":
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
    process.communicate()


def test_a_directory_that_does_not_exist_inside_is_refused_before_the_boot() -> None:
    done = subprocess.run(
        [*VESTIGE, "--", "true"], cwd="/dev/shm", capture_output=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("vestige: /dev/shm: the software host has a /dev of its own")


def test_a_signal_ends_it_at_any_moment() -> None:
    done, problem = fuzz_signals.fuzz(Limit(12), random.Random(1))
    assert (done, problem) == (12, None)
