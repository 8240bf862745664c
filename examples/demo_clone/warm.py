"""Run in the guest: with NumPy imported, answers numbers with what NumPy makes of them.

    python3 warm.py ASKED ANSWERED SIZE PRIME

A number goes into the FIFO ASKED, and the trace of a matrix's square comes out of ANSWERED.
"""

import sys
from pathlib import Path

import numpy


def main(asked: Path, answered: Path, size: int, prime: int) -> None:
    """For ever."""
    while True:
        number = int(asked.read_text())
        matrix = (numpy.arange(size * size).reshape(size, size) * number + number) % prime
        answered.write_text(f"{(matrix @ matrix % prime).trace()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
