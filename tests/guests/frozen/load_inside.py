"""Run in software hosts by test_load.py: Linux under load, frozen ever again, and thawed elsewhere.

    python -m tests.guests.frozen.load_inside freeze KERNEL INITRD FOLDER CPUS FREEZES
    python -m tests.guests.frozen.load_inside judge FOLDER

The first leaves a snapshot in FOLDER, in one file, which the second has go on, until what the guest
did is through; its run is killed then. Each prints one JSON object of what it found.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.guests.freeze_inside import NAME, PATIENCE, VESTIGE, Guest, Life
from tests.guests.network_guest import GATEWAY
from tests.guests.store import ROOT

MEMORY = "384M"  # fio's libraries are 80
PART = 2.0  # seconds of load, at most, between two freezes
MOST = 3  # freezes, for one while fio runs
SCRATCH, JOURNALED, PACKED = "scratch.img", "journaled.img", "snapshot.tar"
FAST = "/dev/shm"  # where holes are holes
RECORD = 8  # bytes
# Waits for a number in a file that is more than it was: some of this went through meanwhile.
MORE = 'n=$(cat $0); until [ "$(cat $0)" -gt "$n" ]; do sleep 0.2; done'
# What was flushed by now, off the disk.
FLUSHED = f"""
n=$(cat /tmp/flushed)
echo 3 > /proc/sys/vm/drop_caches
head -c $(({RECORD} * (n + 1))) /mnt/log
"""
# The round that was frozen, and another; no more if fio has found a fault.
FIO = """
n=$(cat /tmp/rounds)
until [ -e /tmp/fio.ended ]; do
    [ "$(cat /tmp/rounds)" = "$n" ] || : > /tmp/stop
    sleep 0.2
done
cat /tmp/rounds /tmp/fio.ended
"""
IPERF3 = f"""
until [ -e /tmp/net.ended ]; do sleep 0.2; done
for way in "" -R; do
    timeout 300 iperf3 -c {GATEWAY} -n 512K $way && echo "iperf3: ok"
done
"""


def ask(guest: Guest, script: str, *words: str, patience: float = PATIENCE) -> str:
    """What a script of the guest's shell prints."""
    return guest.run(["sh", "-c", script, *words], timeout=patience).stdout.decode()


def freeze(snapshot: str, life: Life) -> str:
    """That life, which ends; what was told."""
    command = [*VESTIGE, "freeze", NAME, snapshot, "--stop"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr.decode())
    return done.stderr.decode() + life.end()


def load(kernel: str, initrd: str, folder: Path, cpus: str, freezes: int) -> dict[str, Any]:
    """All lives but the last: what was told of each, how many freezes were `meant`, while fio ran.

    There are more freezes until as many were meant as are asked for, but not for ever.
    """
    words = ["run", "--accel", "kvm", "--kernel", kernel, "--initrd", initrd, "--cpus", cpus]
    words += ["--agent", "--memory", MEMORY, "--append", "console=ttyS0 panic=-1 loglevel=1"]
    words += ["--disk", f"{folder}/{SCRATCH},overlay=temporary", "--disk", f"{folder}/{JOURNALED}"]
    lives = [Life(folder, 0, [*words, "--net", "user,host-loopback"])]
    guest, chosen = Guest(), random.Random(freezes)
    told: list[str] = []
    meant = 0
    with TemporaryDirectory(dir=FAST) as fast:
        snapshot = f"{fast}/snapshot"
        try:
            for name in ("rounds", "network", "flushed"):
                ask(guest, MORE, f"/tmp/{name}")
            while meant < freezes and len(told) < MOST * freezes:
                running = ask(guest, "cat /tmp/running")
                time.sleep(PART * chosen.random())
                told.append(freeze(snapshot, lives[-1]))
                lives.append(Life(folder, len(lives), ["thaw", snapshot]))
                meant += running != "" and ask(guest, "cat /tmp/running") == running
            told.append(freeze(snapshot, lives[-1]))
        finally:
            lives[-1].process.terminate()
            lives[-1].end()
        pack = ["tar", "--create", "--sparse", "--file", str(folder / PACKED)]
        subprocess.run([*pack, "--directory", fast, "."], check=True)
    return {"told": told, "meant": meant}


def judge(folder: Path) -> dict[str, Any]:
    """The last life."""
    number = len(list(folder.glob("console*")))
    found: dict[str, Any] = {}
    with TemporaryDirectory(dir=FAST) as fast:
        unpack = ["tar", "--extract", "--file", str(folder / PACKED), "--directory", fast]
        subprocess.run(unpack, check=True)
        life, guest = Life(folder, number, ["thaw", f"{fast}/snapshot"]), Guest()
        try:
            found["flushed"] = ask(guest, FLUSHED)
            found["fio"] = ask(guest, FIO, patience=2 * PATIENCE)
            found["iperf3"] = ask(guest, IPERF3, patience=2 * PATIENCE)
            found["timers"] = ask(guest, "cat /tmp/timers")
            found["dmesg"] = ask(guest, "busybox dmesg")
            ask(guest, MORE, "/tmp/flushed")
        finally:
            life.process.kill()
            found["told"] = life.end()
    return found


def main() -> None:
    """Either."""
    part, *words = sys.argv[1:]
    if part == "judge":
        (folder,) = words
        found = judge(Path(folder))
    else:
        kernel, initrd, folder, cpus, freezes = words
        found = load(kernel, initrd, Path(folder), cpus, int(freezes))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
