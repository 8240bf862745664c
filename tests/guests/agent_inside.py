"""Run in the software host by test_agent.py: a launcher's machine with Debian's agent in it.

    python -m tests.guests.agent_inside KERNEL INITRD FOLDER

Has it run commands and keep files. Prints one JSON object of what came back.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.guests.store import ROOT
from vestige.agent import Done, RefusedError, TimedOutError
from vestige.launcher import Launcher
from vestige.launcher.launcher import Machine

PATIENCE = 240.0  # seconds for the guest to boot, or to answer
WRITTEN = 600_000  # bytes, more than one piece
NAME = "web"


def words_of(done: Done) -> list[Any]:
    """What JSON can say of it."""
    return [done.status, done.stdout.decode(), done.stderr.decode(), done.signal]


def ask(machine: Machine) -> dict[str, Any]:
    """What the guest has to say."""
    found: dict[str, Any] = {}
    found["run"] = words_of(machine.run(["sh", "-c", "echo out; echo err >&2; exit 3"]))
    found["input"] = words_of(machine.run(["tr", "a-z", "A-Z"], input=b"hello"))
    found["signal"] = words_of(machine.run(["sh", "-c", "kill -9 $$"]))
    data = random.Random(1).randbytes(WRITTEN)
    machine.write_file("/root/data", data)
    found["kept"] = machine.read_file("/root/data") == data
    found["size"] = machine.run(["sh", "-c", "cat /root/data | busybox wc -c"]).stdout.decode()
    try:
        machine.run(["sh", "-c", "echo begun; sleep 1000 & sleep 1000"], timeout=2)
    except TimedOutError as error:
        found["timeout"] = [str(error), words_of(error.done) if error.done else None]
    found["left"] = machine.run(["sh", "-c", "busybox pidof sleep"]).stdout.decode()
    cut = machine.run(["dd", "if=/dev/zero", "bs=1048576", "count=17"])
    found["cut"] = [len(cut.stdout), cut.stdout_truncated, cut.stderr_truncated]
    try:
        machine.run(["/bin/nothing"])
    except RefusedError as error:
        found["refused"] = str(error)
    found["asyncio"] = asyncio.run(beside_each_other(machine))
    command = [sys.executable, "-m", "vestige.cli.main", "exec", NAME, "--", "cat", "/proc/version"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, cwd=ROOT)
    found["exec"] = [done.returncode, done.stdout.decode(), done.stderr.decode()]
    return found


async def beside_each_other(machine: Machine) -> list[list[Any]]:
    """Commands that wait for each other."""
    wait = "echo > /root/$0; until [ -e /root/$1 ]; do sleep 0.1; done; echo $0"
    both = await asyncio.gather(
        machine.asyncio.run(["sh", "-c", wait, "one", "two"], timeout=PATIENCE),
        machine.asyncio.run(["sh", "-c", wait, "two", "one"], timeout=PATIENCE),
    )
    return [words_of(done) for done in both]


def example(folder: str) -> list[Any]:
    """What the example of docs/launcher.md prints."""
    page = (ROOT / "docs" / "launcher.md").read_text()
    blocks = [each.partition("```")[0] for each in page.split("```python\n")[1:]]
    (block,) = [each for each in blocks if "agent=True" in each]
    done = subprocess.run(
        [sys.executable, "-c", block],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return [done.returncode, done.stdout.decode(), done.stderr.decode()]


def main() -> None:
    """All of it."""
    kernel, initrd, folder = sys.argv[1:4]
    with Launcher() as launcher:
        machine = launcher.start(
            name=NAME,
            agent=True,
            kernel=kernel,
            initrd=initrd,
            append="console=ttyS0 panic=-1",
            console=f"{folder}/console",
        )
        machine.patience = PATIENCE
        with machine:
            found = ask(machine)
            machine.stop()
            found["status"] = machine.wait(PATIENCE)
    (Path(folder) / "vmlinuz").symlink_to(kernel)
    (Path(folder) / "initrd.img").symlink_to(initrd)
    found["example"] = example(folder)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
