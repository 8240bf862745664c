"""Programs that are not ours, and what they print."""

import subprocess
from collections.abc import Mapping

from vestige.errors import GuestError


def printed(*command: str, seconds: float, environment: Mapping[str, str]) -> str:
    """By one that succeeds in this time. Raises GuestError."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GuestError(f"{' '.join(command)}: not done after {seconds:.0f} s") from None
    if done.returncode:
        raise GuestError(f"{' '.join(command)}: status {done.returncode}, {done.stderr}")
    return done.stdout
