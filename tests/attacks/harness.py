"""Runs that are attacked: their words, what they leave behind, what they may say."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import compiling
from tests.attacks import kernels, monitor
from tests.attacks.monitor import Attack, Orders
from vestige import abi

PATIENCE = 30
HELD = 9 + PATIENCE  # a process that ends only when it is killed may take 10 s
COMMAND = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"]
SUBVERTED = [sys.executable, "-m", "tests.attacks.subverted"]
MEMORY = ("--memory", "64M")
TRACES = (b"Traceback", b'File "', b"made the system call", b"made a system call")
LINE = b"vestige: "


class Attacks:
    """A compiled hostile monitor and its guests, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.monitor = str(folder / "monitor")
        functions = [monitor.vcpu_main, monitor.worker_main]
        compiling.image(functions, base=abi.IMAGE, runtime="monitor").save(self.monitor)

    def kernel(
        self, function: Callable[[], None] = kernels.traps, orders: Orders | None = None
    ) -> str:
        """A guest's kernel, in a file of its own."""
        number = len(list(self._folder.iterdir()))
        return kernels.write(function, self._folder / f"kernel-{number}", orders)

    def words(self, attack: Attack, parameter: int = 0, seed: int = 1) -> list[str]:
        """Of the command that makes an attack."""
        orders = Orders(attack=attack, parameter=parameter, seed=seed)
        return [*SUBVERTED, self.monitor, "--kernel", self.kernel(orders=orders), *MEMORY]

    def process(self, *what: object) -> list[str]:
        """Of the command whose machine's process is hostile."""
        name = "process:" + ":".join(map(str, what))
        return [*SUBVERTED, name, "--kernel", self.kernel(), *MEMORY]


Done = subprocess.CompletedProcess[bytes]


def done(words: Sequence[str], **options: object) -> Done:
    """Run to the end, which comes in time."""
    process = subprocess.Popen(  # type: ignore[call-overload]
        words,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        | options,
        start_new_session=True,
    )
    with killed_at_the_end(process):
        output, errors = process.communicate(timeout=HELD)
        assert not others(process.pid), "a process is left"
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


@contextmanager
def killed_at_the_end(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Whatever its processes wait for: it has a session of its own."""
    try:
        yield
    finally:
        for each in [process.pid, *others(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        process.communicate()


def others(session: int) -> list[int]:
    """The processes of a session that are there, but for its first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != session:
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def child_of(pid: int) -> int:
    """The machine's process of a run."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    (child,) = map(int, text.split())
    return child


def wait_until(condition: Callable[[], bool]) -> None:
    """What is not told by any event."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_lines(errors: bytes, most: int = 400) -> None:
    """Lines of ours, for a person, and not too many."""
    lines = errors.splitlines(keepends=True)
    assert len(lines) <= most
    for line in lines:
        assert line.startswith(LINE), line
        assert line.endswith(b"\n"), line
        assert line[:-1].decode().isprintable(), line
    for trace in TRACES:
        assert trace not in errors


def assert_one_line(ended: Done, words: bytes) -> None:
    """The guest failed, and that is why."""
    assert_lines(ended.stderr.replace(b"made the system call", b""), 1)
    assert words in ended.stderr
    assert ended.returncode == 1
