"""How long it takes to compile everything compiled, cold: the monitor and the run loop; efiemu.efi.

    python -m bench.compile [--runs 3]

Each run is a fresh process that uses no cache; efiemu.efi is made by `vestige efiemu build`, the
monitor included, once more with the monitor kept, as `make setup` and any guest leave it, and then
with all that is compiled kept. Prints the median, the least and the most of the wall-clock and CPU
seconds, what was compiled, and whether the promises hold: under 5 s, and under 10 s and 256 KiB for
efiemu.efi, each way. They are judged by wall-clock seconds, of a machine with two processors and
nothing else to do: two processes work. Writes bench/results/compile.json.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.common import command, results
from examples.demo.driver import VESTIGE
from vestige.efiemu.build import SHELL

NAME = "compile"
PROMISE, EFIEMU_PROMISE = 5.0, 10.0  # seconds
EFIEMU_SIZE = 256 << 10  # bytes
Run = dict[str, float]
COLD = """
import json, resource, time
start = time.perf_counter()
from vestige import abi
from vestige.host.loop import runloop
from vestige.lang.build import compile_functions
from vestige.monitor.core.trap_turn import vcpu_main
from vestige.monitor.core.worker_turn import worker_main
images = [
    compile_functions([vcpu_main, worker_main], base=abi.IMAGE, runtime="monitor"),
    compile_functions([runloop.run], base=None, runtime="process"),
]
spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({
    "wall": time.perf_counter() - start,
    "cpu": sum(each.ru_utime + each.ru_stime for each in spent),
    "bytes": sum(image.code_size for image in images),
    "checks": sum(len(image.sites) - 1 for image in images),
}))
"""


def cold_build() -> Run:
    """Compile everything in a fresh process; seconds and sizes."""
    cold = [sys.executable, "-c", COLD]
    done = subprocess.run(cold, capture_output=True, text=True, check=True, timeout=300)
    measured: Run = json.loads(done.stdout)
    return measured


def efiemu_builds() -> tuple[Run, Run, Run]:
    """Make efiemu.efi where nothing is cached, where the monitor is, and where all is."""
    with TemporaryDirectory() as folder:
        cold = efiemu_build(Path(folder))
        for shell in Path(folder).rglob(f"{SHELL}-*.image"):
            shell.unlink()
        return cold, efiemu_build(Path(folder)), efiemu_build(Path(folder))


def efiemu_build(folder: Path) -> Run:
    """Make it with this cache; seconds and its size."""
    file = folder / "efiemu.efi"
    words = [str(VESTIGE), "efiemu", "build", "-o", str(file)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    subprocess.run(words, env=environment, capture_output=True, check=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall = time.perf_counter() - start
    return {"wall": wall, "cpu": cpu, "bytes": file.stat().st_size}


def tell(what: str, runs: Sequence[Run], promise: float) -> bool:
    """Print what was measured; whether the promise holds."""
    for name in ("wall", "cpu"):
        seconds = [run[name] for run in runs]
        print(
            f"{what}, {name}: median {statistics.median(seconds):.2f} s "
            f"({min(seconds):.2f} to {max(seconds):.2f}, {len(runs)} runs)"
        )
    holds = statistics.median(run["wall"] for run in runs) < promise
    print(f"under {promise:.0f} s: {'yes' if holds else 'no'}")
    return holds


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time a cold build of everything compiled.")
    parser.add_argument("--runs", type=int, default=3)
    count = parser.parse_args().runs
    builds, applications, again, kept = (list[Run]() for _ in range(4))
    for _ in range(count):
        builds.append(cold_build())
        for runs, run in zip((applications, again, kept), efiemu_builds(), strict=True):
            runs.append(run)
    found = {
        "cold build": builds,
        "efiemu build": applications,
        "the monitor kept": again,
        "all kept": kept,
    }
    results.write_json(NAME, {"date": results.today()} | found)
    holds = tell("cold build", builds, PROMISE)
    print(
        f"compiled: {builds[0]['bytes']:.0f} bytes of code, {builds[0]['checks']:.0f} checks left"
    )
    holds &= tell("efiemu build, cold", applications, EFIEMU_PROMISE)
    holds &= tell("efiemu build, the monitor kept", again, EFIEMU_PROMISE)
    holds &= tell("efiemu build, all kept", kept, EFIEMU_PROMISE)
    size = int(applications[0]["bytes"])
    fits = size < EFIEMU_SIZE
    print(f"efiemu.efi: {size} bytes, under {EFIEMU_SIZE}: {'yes' if fits else 'no'}")
    return 0 if holds and fits else 1


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
