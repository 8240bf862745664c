"""Boots the demo's Debian, freezes it with NumPy imported, has clones work, and judges them.

    python -m examples.demo_clone.clones KERNEL INITRD DISK

Where /dev/kvm works: on this machine or in the software host. The snapshot and what is written over
DISK are in memory.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from examples.telling import Failure, Teller
from vestige.agent.blocking import Asking
from vestige.errors import GuestError, UsageError
from vestige.launcher import Launcher, Machine

COPIES = 20
MEMORY = "256M"
APPEND = "root=/dev/vda console=ttyS0 quiet"
PATIENCE = 600.0  # seconds for the guest to boot, and for anything in it: the software host is slow
IN_MEMORY = "/dev/shm"
DEMO = Teller("demo-clone")

SIZE, PRIME = 48, 1_000_003
PROGRAM = Path(__file__).with_name("warm.py")
FIFOS = ("/run/asked", "/run/answered")
BEGIN = 'mkfifo "$1" "$2"; setsid python3 "$0" "$@" < /dev/null > /dev/null 2>&1 &'
ASK = 'echo "$2" > "$0"; cat "$1"'
RANDOM = "od -An -tx1 -N16 /dev/urandom"
WRITTEN = "/root/written"
WRITE = 'cat > "$0"; sync'
READ = 'dd if="$0" iflag=direct bs=4096 status=none'  # from the disk, not from memory


class Clone(NamedTuple):
    """`number` is its own; seconds from the call until its agent `answered`, and NumPy did; the
    `result` of that, and first `random` bytes.
    """

    number: int
    answered: float
    computed: float
    result: int
    random: str


def main() -> int:
    """Do so. Returns the exit status."""
    try:
        perform(*sys.argv[1:])
    except UsageError as error:
        print(f"demo-clone: {error}", file=sys.stderr)
        return 2
    except (Failure, GuestError, TimeoutError) as error:
        print(f"demo-clone: {error}", file=sys.stderr)
        print("demo-clone: FAILED", file=sys.stderr)
        return 1
    return 0


def perform(kernel: str, initrd: str, disk: str) -> None:
    """All of it. Raises Failure, UsageError, GuestError, TimeoutError."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder, ExitStack() as machines:
        os.environ["TMPDIR"] = folder  # where temporary overlays are
        snapshot = Path(folder) / "snapshot"
        launcher = machines.enter_context(Launcher())
        booted = freeze(launcher, kernel, initrd, disk, snapshot)
        before = available()
        DEMO.say(f"thawing {COPIES} clones of it")
        clones, running = [], []
        for number in range(1, COPIES + 1):
            clone, machine = thaw(launcher, snapshot, number)
            machines.enter_context(machine)
            clones.append(clone)
            running.append(machine)
            print(f"  | clone {number}: {clone.answered:.2f} s, {clone.computed:.2f} s", flush=True)
        memory = (before - available()) / COPIES
        judge(clones)
        judge_disks(running)
        report(booted, clones, memory)


def freeze(launcher: Launcher, kernel: str, initrd: str, disk: str, snapshot: Path) -> float:
    """Boot the guest, import NumPy, freeze; seconds from the call until its agent answered."""
    DEMO.say(f"booting Debian, {MEMORY}, until its agent answers")
    began = time.monotonic()
    with launcher.start(
        kernel=kernel,
        initrd=initrd,
        append=APPEND,
        memory=MEMORY,
        disk=f"{disk},overlay=temporary",
        agent=True,
        console=os.devnull,
    ) as machine:
        machine.patience = PATIENCE
        machine.ping()
        booted = time.monotonic() - began
        DEMO.say(f"it does, after {booted:.1f} s; importing NumPy, in a process that then waits")
        machine.write_file("/root/warm.py", PROGRAM.read_bytes())
        ask(machine, BEGIN, "/root/warm.py", *FIFOS, str(SIZE), str(PRIME))
        check(0, compute(machine, 0))
        DEMO.say("freezing it")
        machine.freeze(snapshot, stop=True)
    return booted


def thaw(launcher: Launcher, snapshot: Path, number: int) -> tuple[Clone, Machine]:
    """Have one more copy of the guest go on, and compute something of its own."""
    began = time.monotonic()
    machine = launcher.thaw(snapshot, agent=True, console=os.devnull)
    machine.patience = PATIENCE
    machine.ping()
    answered = time.monotonic() - began
    result = compute(machine, number)
    computed = time.monotonic() - began
    random = ask(machine, RANDOM).strip()
    ask(machine, WRITE, WRITTEN, data=content(number))
    return Clone(number, answered, computed, result, random), machine


def compute(machine: Asking, number: int) -> int:
    """What the process answers that has NumPy."""
    return int(ask(machine, ASK, *FIFOS, str(number)))


def ask(machine: Asking, line: str, *words: str, data: bytes = b"") -> str:
    """What a line of the guest's shell prints. Raises Failure where it ends with a status."""
    done = machine.run(["sh", "-c", line, *words], input=data, timeout=PATIENCE)
    if done.status != 0:
        raise Failure(f"{line!r}: status {done.status}, {done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def content(number: int) -> bytes:
    """What a clone is given to write."""
    return f"written by clone {number}\n".encode() * 1000


def expected(number: int) -> int:
    """What NumPy is to compute of a number, without it: the trace of a matrix's square."""
    matrix = [
        [((row * SIZE + column) * number + number) % PRIME for column in range(SIZE)]
        for row in range(SIZE)
    ]
    return sum(
        sum(matrix[row][k] * matrix[k][row] for k in range(SIZE)) % PRIME for row in range(SIZE)
    )


def check(number: int, result: int) -> None:
    """Raise Failure unless that is the number's result."""
    if result != expected(number):
        raise Failure(f"NumPy computed {result} of {number}, and {expected(number)} is right")


def judge(clones: list[Clone]) -> None:
    """Results and random numbers. Raises Failure."""
    for each in clones:
        check(each.number, each.result)
    DEMO.judge("results", len({each.result for each in clones}) == len(clones), "two are the same")
    for each in clones[:2]:
        print(f"  | /dev/urandom of clone {each.number}: {each.random}", flush=True)
    apart = len({each.random for each in clones}) == len(clones)
    DEMO.judge("random numbers", apart, "two clones have the same")


def judge_disks(machines: list[Machine]) -> None:
    """Once all have written: each disk has what its own guest wrote. Raises Failure."""
    for number, machine in enumerate(machines, 1):
        if ask(machine, READ, WRITTEN).encode() != content(number):
            raise Failure(f"check: disks FAILED clone {number} has not on its disk what it wrote")
    DEMO.say("check: disks ok")


def report(booted: float, clones: list[Clone], memory: float) -> None:
    """The times, in seconds, and the memory, in bytes."""
    DEMO.say(f"boot, from the call to the agent's answer: {booted:.2f} s")
    for what, seconds in (
        ("the same", [each.answered for each in clones]),
        ("to NumPy's answer", [each.computed for each in clones]),
    ):
        median, worst = statistics.median(seconds), max(seconds)
        part = f"1/{booted / median:.0f} of the boot"
        DEMO.say(f"clone, {what}: median {median:.2f} s, {part}; worst {worst:.2f} s")
    DEMO.say(f"memory, a clone, with what it wrote: {memory / (1 << 20):.1f} MiB")


def available() -> int:
    """Bytes of memory that a program may still have: proc(5), MemAvailable."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    raise Failure("/proc/meminfo has no MemAvailable")


if __name__ == "__main__":
    sys.exit(main())
