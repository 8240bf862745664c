"""Run in the software host by test_freeze.py: Linux that is frozen and thawed, ever again.

    python -m tests.guests.freeze_inside KERNEL INITRD FOLDER CPUS FREEZES [WORD…]

The guest has Debian's agent, which is asked in each of its lives; WORDs are more of `vestige run`.
Prints one JSON object of what it said.
"""

import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.guests.store import ROOT
from vestige.agent import Done
from vestige.agent.blocking import Asking, Way
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find

PATIENCE = 240.0  # seconds for a guest to boot, or to answer
LOOK = 0.2  # seconds between two looks whether a run is there
NAME = "frozen"
VESTIGE = [sys.executable, "-m", "vestige.cli.main"]
RANDOM = ["sh", "-c", "head -c 16 /dev/urandom | od -An -tx1"]
# Counts, a line each tenth of a second, for as long as it is left to; timers and the console work.
TICKS = (
    "(i=0; while :; do echo tick $i > /dev/console; i=$((i+1)); sleep 0.1; done) > /dev/null 2>&1 &"
)


class Guest(Asking):
    """By its agent, whichever run has it."""

    def way(self) -> Way:
        """Once there is a run of its name."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(UsageError, GuestError), find(NAME) as run:
                told = run.ask({"do": "status"})
                if told["state"] == "running":
                    return Way(told["agent"], PATIENCE)
            if time.monotonic() > deadline:
                raise GuestError("no such run")
            time.sleep(LOOK)


class Life:
    """One of its lives: a process, with a console of its own."""

    def __init__(self, folder: Path, number: int, words: list[str]) -> None:
        self.console = folder / f"console{number}"
        self.process = subprocess.Popen(
            [*VESTIGE, *words, "--name", NAME, "--console", str(self.console)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )

    def end(self) -> str:
        """What the run told of itself."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return errors.decode()

    @property
    def said(self) -> str:
        return self.console.read_text(errors="replace")


def seconds(done: Done) -> list[float]:
    """The guest's date, and how long it is up."""
    date, up = done.stdout.decode().splitlines()
    return [float(date), float(up.split()[0])]


def main() -> None:
    """All of it."""
    kernel, initrd, place, cpus, freezes, *words = sys.argv[1:]
    folder, snapshot = Path(place), str(Path(place) / "snapshot")
    chosen = random.Random(int(cpus))
    run = ["run", "--accel", "kvm", "--kernel", kernel, "--initrd", initrd, "--cpus", cpus]
    lives = [Life(folder, 0, [*run, "--agent", "--memory", "256M", *words])]
    guest = Guest()
    found: dict[str, Any] = {"told": [], "dates": []}
    found["cpus"] = guest.run(["sh", "-c", "nproc"]).stdout.decode()
    guest.run(["sh", "-c", TICKS])
    try:
        for number in range(1, int(freezes) + 1):
            # Some while it is idle but for the ticks, and some while a CPU has work.
            if number % 2:
                guest.run(["sh", "-c", "timeout 3 sh -c 'while :; do :; done' > /dev/null 2>&1 &"])
            time.sleep(chosen.random())
            command = [*VESTIGE, "freeze", NAME, snapshot, "--stop"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
            found["told"].append(done.stderr.decode() + lives[-1].end())
            last = ["--time", "now"] if number == int(freezes) else []
            lives.append(Life(folder, number, ["thaw", snapshot, *last]))
            # What two copies of it have of random numbers first.
            found["random"] = [guest.run(RANDOM).stdout.decode()]
            answer = guest.run(["sh", "-c", "date +%s; cat /proc/uptime"])
            if not last:
                found["dmesg"] = guest.run(["sh", "-c", "busybox dmesg"]).stdout.decode()
            found["dates"].append([time.time(), *seconds(answer)])
        lives[-1].process.terminate()
        lives[-1].end()
        lives.append(Life(folder, len(lives), ["thaw", snapshot]))
        found["random"].append(guest.run(RANDOM).stdout.decode())
    finally:
        lives[-1].process.terminate()
        lives[-1].end()
    lives.pop()
    found["said"] = "".join(life.said for life in lives)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
