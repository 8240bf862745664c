"""Run in a software host by test_uefi.py: a PC with OVMF, frozen at its shell, and thawed.

    python -m tests.guests.frozen.uefi_inside FIRMWARE FOLDER

FOLDER has the image of its `disk`. Prints one JSON object of what the shell said.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.guests.dialogue import Dialogue
from tests.guests.freeze_inside import NAME, VESTIGE
from tests.guests.store import ROOT

PATIENCE = 900.0  # seconds for what comes next, on a busy machine
PROMPT = "Shell> "
GUID = "2f5e1b6c-93a4-4d0e-8a57-0c6b7d1e9f42"  # no known one: those of others are guarded
VARIABLE = f"Frozen -guid {GUID}"
SLEEP = "stall 60000000"  # microseconds; a freeze begins in less


@contextmanager
def life(*words: str) -> "Iterator[tuple[subprocess.Popen[bytes], Dialogue]]":
    """One of its lives, and somebody at its serial console."""
    with subprocess.Popen(
        [*VESTIGE, *words, "--name", NAME],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, Dialogue(process.stdout.fileno(), process.stdin.fileno(), PATIENCE)
        finally:
            process.kill()


def ask(person: Dialogue, command: str) -> str:
    """What the shell says to it."""
    person.type(f"{command}\r")
    return person.read_until(PROMPT)


def freeze(snapshot: str) -> str:
    """What is told of it."""
    command = [*VESTIGE, "freeze", NAME, snapshot, "--stop"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stderr.decode()


def main() -> None:
    """All of it."""
    firmware, folder = sys.argv[1:]
    found: dict[str, Any] = {"told": [], "statuses": []}
    run = ["run", "--accel", "kvm", "--machine", "pc", "--vga", "none", "--memory", "256M"]
    run += ["--firmware", firmware, "--variables", f"{folder}/variables"]
    run += ["--disk", f"{folder}/disk,readonly"]
    snapshots = [f"{folder}/first", f"{folder}/second"]
    with life(*run) as (process, person):
        person.read_until(PROMPT)
        ask(person, f'setvar {VARIABLE} -nv -bs -rt =S"first"')
        person.type(f"{SLEEP}\r")  # its timer is to be the next one's
        person.read_until("\n")  # it has been taken: what is on its way ends with the run
        found["told"].append(freeze(snapshots[0]))
        found["statuses"].append(process.wait(PATIENCE))
    with life("thaw", snapshots[0]) as (process, person):
        person.read_until(PROMPT)
        found["first"] = ask(person, f"dmpstore {VARIABLE}")
        ask(person, f'setvar {VARIABLE} -nv -bs -rt =S"second"')
        found["told"].append(freeze(snapshots[1]))
        found["statuses"].append(process.wait(PATIENCE))
    for name in ("second", "again"):
        with life("thaw", snapshots[name == "second"]) as (process, person):
            if name == "again":
                person.read_until(PROMPT)
            found[name] = ask(person, f"dmpstore {VARIABLE}")
            person.type("reset -s\r")
            found["statuses"].append(process.wait(PATIENCE))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
