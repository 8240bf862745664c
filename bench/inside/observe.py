"""Run a virtual machine in the software host, and count what it takes between marks of its guest.

    python -S -m bench.inside.observe -- COMMAND...

COMMAND's standard input and output are the guest's console. A line "mark: begin NAME" or
"mark: end NAME" there is answered by a line, once everything is noted: until then the guest waits.
Prints a JSON object: `status`, `console`, `errors`, `exits` of the whole run, and `spans`, what
each NAME took:

seconds  by the clock
cpu      seconds of processor time of all of COMMAND's threads and processes, those that the kernel
         made for it too (io_uring's, vhost's): what an accounting group of its own is charged
guest    seconds of these in which a CPU ran the guest: their share of the scheduler's ticks. Not
         what Vestige's workers run, the monitor VM, which is part of the host's work
exits    returns to user space of KVM_RUN (the tracepoint kvm:kvm_userspace_exit)
worker   those of Vestige's workers among them: the monitor's calls
switches changes of context, of the whole machine

Each mark is told on standard error, too, for who counts outside of the software host.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.inside.processes import tree
from bench.inside.tracing import Counter

ACCOUNTING = Path("/dev/shm/accounting")  # in a file system of the software host's own
MARK = "mark: "
WORKER = "worker"  # in what Vestige calls such threads: "the worker", or "worker 0" and on
GUEST_TIME = 42  # of the fields of /proc/PID/stat, from 0: proc(5)
BUSY = (0, 1, 2, 5, 6)  # of those of /proc/stat: user, nice, system, irq, softirq

Snapshot = dict[str, float]


def main() -> int:
    """The command line."""
    command = sys.argv[sys.argv.index("--") + 1 :]
    group = accounting_group()
    exits = Counter("kvm/kvm_userspace_exit")
    try:
        print(json.dumps(observed(command, group, exits)))
    finally:
        exits.close()
        group.rmdir()
    return 0


def accounting_group() -> Path:
    """A group of processes whose processor time is counted; vhost's threads join their owner's."""
    if not (ACCOUNTING / "cgroup.procs").exists():
        ACCOUNTING.mkdir(exist_ok=True)
        subprocess.run(
            ["mount", "-t", "cgroup", "-o", "cpuacct", "cpuacct", str(ACCOUNTING)], check=True
        )
    return Path(tempfile.mkdtemp(dir=ACCOUNTING))


def observed(command: list[str], group: Path, exits: Counter) -> dict[str, object]:
    """Run it to its end."""
    script = 'echo $$ > "$0" && exec "$@"'
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["sh", "-c", script, str(group / "cgroup.procs"), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            console, spans = follow(process, group, exits)
            status = process.wait()
        finally:
            end(process, group)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    total = sum(exits.read().values())
    return {"status": status, "console": console, "errors": said, "exits": total, "spans": spans}


def follow(
    process: "subprocess.Popen[bytes]", group: Path, exits: Counter
) -> tuple[str, dict[str, Snapshot]]:
    """Read the console to its end; what it said, and what was taken between the marks."""
    console: list[str] = []
    spans: dict[str, Snapshot] = {}
    begun: Snapshot = {}
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the command was started without pipes")
    for line in process.stdout:
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text.startswith(MARK):
            console.append(text)
            continue
        word, name = text.removeprefix(MARK).split(maxsplit=1)
        if word == "begin":
            print(text, file=sys.stderr, flush=True)
            begun = snapshot(process.pid, group, exits)
        else:
            now = snapshot(process.pid, group, exits)
            print(text, file=sys.stderr, flush=True)
            spans[name] = span({key: value - begun[key] for key, value in now.items()})
        process.stdin.write(b"\n")
        process.stdin.flush()
    return "\n".join(console), spans


def span(taken: Snapshot) -> Snapshot:
    """What was taken, with the ticks' share in place of the ticks."""
    share = taken.pop("guest ticks") / max(taken.pop("busy ticks"), 1)
    busy = taken.pop("busy")
    return {**taken, "guest": share * busy}


def snapshot(pid: int, group: Path, exits: Counter) -> Snapshot:
    """Everything that is counted, now."""
    counts = exits.read()
    guest, worker = 0, 0
    for task in (task for each in tree(pid) for task in Path(f"/proc/{each}/task").iterdir()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # io_uring's come and go
            if WORKER in (task / "comm").read_text():
                worker += counts.get(int(task.name), 0)
            else:
                after_name = (task / "stat").read_text().rpartition(") ")[2].split()
                guest += int(after_name[GUEST_TIME - 2])
    machine = dict(line.split(maxsplit=1) for line in Path("/proc/stat").read_text().splitlines())
    ticks = [int(word) for word in machine["cpu"].split()]
    return {
        "seconds": time.monotonic(),
        "cpu": used(group),
        "busy": used(ACCOUNTING),
        "busy ticks": sum(ticks[index] for index in BUSY),
        "guest ticks": guest,
        "exits": sum(counts.values()),
        "worker": worker,
        "switches": int(machine["ctxt"]),
    }


def used(group: Path) -> float:
    """Seconds of processor time that a group was charged."""
    return int((group / "cpuacct.usage").read_text()) / 1e9


def end(process: "subprocess.Popen[bytes]", group: Path) -> None:
    """End it and all it started, such as passt."""
    process.kill()
    process.wait()
    members = group / "cgroup.procs"
    while pids := members.read_text().split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                member = os.pidfd_open(int(pid))
                signal.pidfd_send_signal(member, signal.SIGKILL)
                select.select([member], [], [])
                os.close(member)


if __name__ == "__main__":
    sys.exit(main())
