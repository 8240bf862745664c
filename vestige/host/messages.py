"""What the host says to its user while a guest runs."""

import sys


def tell(line: str) -> None:
    """One line on standard error, where there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"vestige: {line}\n")
        sys.stderr.flush()
