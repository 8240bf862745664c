"""How long a software host takes from its start until it takes commands.

    python -m bench.softhost_ready [--runs 3]

Prints the median, the least and the most, and whether the promise (under 15 s) holds. Fetching
Debian's kernel and making its initial RAM disk, which a machine does once, is not part of it.
"""

import argparse
import statistics
import sys
import time

from bench.common import command
from vestige.softhost import SoftHost
from vestige.softhost import kernel as kernels

PROMISE = 15.0  # seconds


def ready() -> float:
    """Start one, and end it; the seconds until it was ready."""
    began = time.monotonic()
    with SoftHost():
        return time.monotonic() - began


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    count = parser.parse_args().runs
    kernels.ensure(lambda message: print(message, file=sys.stderr))
    seconds = [ready() for _ in range(count)]
    median = statistics.median(seconds)
    print(
        f"software host ready: median {median:.1f} s"
        f" ({min(seconds):.1f} to {max(seconds):.1f}, {count} runs)"
    )
    print(f"under {PROMISE:.0f} s: {'yes' if median < PROMISE else 'no'}")
    return 0 if median < PROMISE else 1


if __name__ == "__main__":
    sys.exit(command.status("softhost_ready", main))
