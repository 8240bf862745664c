"""QEMU's virtual clock under a test's hand, where there is no clock_step (tests/qtest/client.py).

QEMU takes instructions for time, 1,024 ns each (-icount), and stands still between steps. In a
step a firmware executes as many as it is told to, up to a breakpoint of the gdb stub. When QEMU
stops there, its clock leaps to the next deadline of any device: the HPET's, which are where the
step is to end.
"""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.qtest.client import FIRMWARE_SIZE, Qtest, QtestError, qemu

INSTRUCTION = 1 << 10  # ns
HPET_CONFIGURATION, HPET_COUNTER, HPET_COMPARATOR = 0xFED0_0010, 0xFED0_00F0, 0xFED0_0108
HPET_TIMERS, HPET_STRIDE = 3, 0x20
TICK = 10  # ns of the HPET's counter
ONE_SHOT = ((0x43, 0x30), (0x40, 1), (0x40, 0))  # PIT, lest qtest tells of thousands of its edges
SPARE = 50  # instructions that aren't counted, of a step
SHORTEST = 100_000  # ns, a step: those take some
COUNTS = 0x500  # in RAM: of blocks, of single instructions
BLOCK = 400  # instructions
STOP = 0x2000  # in the firmware, not on the page of the loops: a breakpoint makes its page slow


def firmware() -> bytes:
    """Real mode, from offset 0: as many blocks as the first count says, then as many pairs."""
    code = b""
    for place, body in ((COUNTS, b"\x90" * (BLOCK - 2)), (COUNTS + 4, b"")):
        loop = body + bytes.fromhex("66 49 0f85")  # dec ecx; jnz
        code += bytes.fromhex("66 8b0e") + place.to_bytes(2, "little")  # mov ecx, [place]
        code += bytes.fromhex("66 85c9 0f84") + (len(loop) + 2).to_bytes(2, "little")  # jz
        code += loop + (-len(loop) - 2).to_bytes(2, "little", signed=True)
    code += b"\xe9" + (STOP - len(code) - 3).to_bytes(2, "little")  # jmp
    return code.ljust(FIRMWARE_SIZE, b"\x90")


class VirtualClock:
    """The clock of a QEMU that `with_clock` has started."""

    def __init__(self, machine: Qtest, debugger: socket.socket):
        self.machine, self.debugger = machine, debugger
        for port, value in ONE_SHOT:
            machine.write(port, value)
        machine.send(f"writel {HPET_CONFIGURATION:#x} 1")
        machine.flush()
        self._ask(f"Z0,{(1 << 32) - FIRMWARE_SIZE + STOP:x},1")

    def now(self) -> int:
        """Nanoseconds since power-on, rounded down to a multiple of TICK."""
        for half in (0, 4):
            self.machine.send(f"readl {HPET_COUNTER + half:#x}")
        low, high = self.machine.flush()
        return (high << 32 | low) * TICK

    def step(self, length: int) -> int:
        """Let at least so many nanoseconds pass, mostly no more than SHORTEST above; the time then.

        A deadline that is due just then is only looked at in the next step.
        """
        now = self.now()
        end = now + length
        while now < end:
            stop = max(end, now + SHORTEST)
            self._stop_at(stop)
            count = (stop - now) // INSTRUCTION - SPARE
            for place, number in ((COUNTS, count // BLOCK), (COUNTS + 4, count % BLOCK // 2)):
                self.machine.ram[place : place + 4] = number.to_bytes(4, "little")
            self._ask("c0")
            now = self.now()
        return now

    def _stop_at(self, time: int) -> None:
        """Have deadlines there and a little later: QEMU may leap more than once."""
        for timer in range(HPET_TIMERS):
            value = time // TICK + timer * SHORTEST // HPET_TIMERS // TICK
            for half in (0, 4):
                address = HPET_COMPARATOR + timer * HPET_STRIDE + half
                self.machine.send(f"writel {address:#x} {value >> 8 * half & 0xFFFF_FFFF:#x}")
        self.machine.flush()

    def _ask(self, command: str) -> None:
        """One packet of gdb's remote protocol, and its answer."""
        self.debugger.sendall(f"${command}#{sum(command.encode()) & 0xFF:02x}".encode())
        answer = b""
        while b"$" not in answer or len(answer.rpartition(b"#")[2]) < 2 or b"#" not in answer:
            data = self.debugger.recv(4096)
            if not data:
                raise QtestError("QEMU ended")
            answer += data
        self.debugger.sendall(b"+")
        if b"$E" in answer:
            raise QtestError(f"QEMU's gdb stub answered {answer!r} to {command!r}")


@contextlib.contextmanager
def with_clock(folder: Path, arguments: Sequence[str]) -> Iterator[VirtualClock]:
    """A `pc` machine with these further arguments, at time 0."""
    image = folder / "clock-firmware"
    image.write_bytes(firmware())
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, contextlib.closing(theirs):
        command = [
            "-icount", "shift=10,sleep=off", "-bios", str(image), *arguments,
            "-chardev", f"socket,id=gdb,fd={theirs.fileno()}", "-gdb", "chardev:gdb",
        ]  # fmt: skip
        with qemu(folder, command, files=[theirs.fileno()]) as machine:
            theirs.close()
            yield VirtualClock(machine, ours)
