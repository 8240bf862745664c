"""How long it takes to compile everything compiled: the monitor and the run loop, cold.

    python -m bench.compile [--runs 3]

Each run is a fresh process that uses no cache. Prints the median, the least and the most of the
wall-clock and CPU seconds, what was compiled, and whether the promise (under 5 s) holds. It is
judged by CPU seconds: one thread works, so on an idle machine the two are the same.
"""

import argparse
import json
import statistics
import subprocess
import sys

from bench.common import command

PROMISE = 5.0  # seconds
COLD = """
import json, time
start, cpu = time.perf_counter(), time.process_time()
from vestige import abi
from vestige.host.loop import runloop
from vestige.lang.build import compile_functions
from vestige.monitor.core.trap_turn import vcpu_main
from vestige.monitor.core.worker_turn import worker_main
images = [
    compile_functions([vcpu_main, worker_main], base=abi.IMAGE, runtime="monitor"),
    compile_functions([runloop.run], base=None, runtime="process"),
]
print(json.dumps({
    "wall": time.perf_counter() - start,
    "cpu": time.process_time() - cpu,
    "bytes": sum(image.code_size for image in images),
    "checks": sum(len(image.sites) - 1 for image in images),
}))
"""


def cold_build() -> dict[str, float]:
    """Compile everything in a fresh process; seconds and sizes."""
    cold = [sys.executable, "-c", COLD]
    done = subprocess.run(cold, capture_output=True, text=True, check=True, timeout=300)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time a cold build of everything compiled.")
    parser.add_argument("--runs", type=int, default=3)
    runs = [cold_build() for _ in range(parser.parse_args().runs)]
    for name in ("wall", "cpu"):
        seconds = [run[name] for run in runs]
        print(
            f"cold build, {name}: median {statistics.median(seconds):.2f} s "
            f"({min(seconds):.2f} to {max(seconds):.2f}, {len(runs)} runs)"
        )
    print(f"compiled: {runs[0]['bytes']:.0f} bytes of code, {runs[0]['checks']:.0f} checks left")
    holds = statistics.median(run["cpu"] for run in runs) < PROMISE
    print(f"under {PROMISE:.0f} s of one CPU: {'yes' if holds else 'no'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(command.status("compile", main))
