"""QEMU under its qtest protocol: a machine that runs no code, whose ports and RAM a test drives.

Debian builds QEMU without `-accel qtest`; there the machine has a CPU which is never started
(`-S`), so no guest code runs either way, but `clock_step` isn't to be had. Some devices do nothing
while their machine is stopped: for those it runs, with a firmware that halts, or one of the test's.

Protocol: QEMU's docs/devel/qtest.rst. Commands are queued and go out together at `flush`: one
round trip for a whole sequence. RAM is a shared mapping, so it costs none.
"""

import contextlib
import mmap
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

QEMU = "qemu-system-x86_64"
RAM_SIZE = 16 << 20
IO_SUFFIX = {1: "b", 2: "w", 4: "l"}
FIRMWARE_SIZE = 1 << 16
RESET_VECTOR = FIRMWARE_SIZE - 16
HALT = bytes.fromhex("fa f4 ebfd")  # cli; hlt; jmp to the hlt
HALTING = (bytes(RESET_VECTOR) + HALT).ljust(FIRMWARE_SIZE, b"\0")


class QtestError(RuntimeError):
    """QEMU ended, or refused a command."""


class Qtest:
    """A running QEMU. `ram` is its RAM from GPA 0; `interrupts` counts rising edges by input."""

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket, ram: mmap.mmap):
        self.process, self.link, self.ram = process, link, ram
        self.interrupts: dict[int, int] = {}
        self.levels: dict[int, bool] = {}
        self.queue: list[str] = []
        self.unread = b""

    # ---- queued commands ------------------------------------------------------------------

    def write(self, port: int, value: int, size: int = 1) -> None:
        """OUT; nothing to wait for."""
        self.queue.append(f"out{IO_SUFFIX[size]} {port:#x} {value:#x}")

    def read(self, port: int, size: int = 1) -> int:
        """IN; the answer is the index of the value in what `flush` returns."""
        self.queue.append(f"in{IO_SUFFIX[size]} {port:#x}")
        return len(self.queue) - 1

    def send(self, line: str) -> None:
        """Any other command, such as clock_step or irq_intercept_in."""
        self.queue.append(line)

    def flush(self) -> list[int]:
        """Send what is queued; the answers' values in order, 0 where a command has none."""
        queue, self.queue = self.queue, []
        if queue:
            self.link.sendall("".join(f"{line}\n" for line in queue).encode())
        return [self._answer(line) for line in queue]

    # ---- at once --------------------------------------------------------------------------

    def inb(self, port: int) -> int:
        """One read, with what is queued before it."""
        index = self.read(port)
        return self.flush()[index]

    # ---- answers --------------------------------------------------------------------------

    def _answer(self, command: str) -> int:
        while True:
            words = self._line().split()
            if words[0] == "IRQ":
                self._interrupt(int(words[2]), raised=words[1] == "raise")
            elif words[0] == "OK":
                return int(words[1], 16) if len(words) > 1 else 0
            else:
                raise QtestError(f"QEMU answered {' '.join(words)!r} to {command!r}")

    def _interrupt(self, number: int, *, raised: bool) -> None:
        if raised and not self.levels.get(number, False):
            self.interrupts[number] = self.interrupts.get(number, 0) + 1
        self.levels[number] = raised

    def _line(self) -> str:
        while b"\n" not in self.unread:
            data = self.link.recv(65536)
            if not data:
                raise QtestError(f"QEMU ended with status {self.process.wait()}")
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode()


@contextlib.contextmanager
def qemu(
    folder: Path,
    arguments: Sequence[str],
    *,
    files: Sequence[int] = (),
    running: bool = False,
    firmware: bytes | None = None,
    timeout: float = 60,
) -> Iterator[Qtest]:
    """A `pc` machine with these further arguments; files of its own go to `folder`.

    It keeps the descriptors `files`, by their numbers. It is stopped, or `running` and halted, or
    runs a `firmware` of FIRMWARE_SIZE bytes.

    Raises QtestError, TimeoutError where QEMU doesn't answer within `timeout` seconds.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout)
    memory = folder / "qemu-ram"
    memory.write_bytes(b"")
    os.truncate(memory, RAM_SIZE)
    backend = f"memory-backend-file,id=ram,size={RAM_SIZE},mem-path={memory},share=on"
    code = folder / "qemu-firmware"
    code.write_bytes(firmware or HALTING)
    command = [
        QEMU, "-nodefaults", "-display", "none",
        *(["-accel", "qtest"] if firmware is None else []), "-accel", "tcg",
        "-machine", "pc,memory-backend=ram", "-m", str(RAM_SIZE >> 20), "-object", backend,
        "-chardev", f"socket,id=qtest,fd={theirs.fileno()}", "-qtest", "chardev:qtest",
        "-qtest-log", "none",
        *(["-bios", str(code)] if running or firmware else ["-S"]), *arguments,
    ]  # fmt: skip
    with ours, memory.open("r+b") as file, mmap.mmap(file.fileno(), RAM_SIZE) as ram:
        with (folder / "qemu-errors").open("wb") as errors:
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno(), *files],
                stdin=subprocess.DEVNULL,
                stderr=errors,
            )
        theirs.close()
        try:
            yield Qtest(process, ours, ram)
        finally:
            process.kill()
            process.wait()
