"""A guest's run to its end, and what it said: `vestige run` as a user types it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.guests.store import ROOT
from vestige.host import images
from vestige.softhost import SoftHost

GUEST_TIMEOUT = 480  # seconds
GRACE = 120  # seconds more, for what is around the guest
CONSOLE = "console=ttyS0 quiet panic=-1"


@dataclass(frozen=True)
class Boot:
    """How a guest ended and what it said."""

    status: int
    lines: list[str]
    errors: str

    def after(self, prefix: str) -> list[str]:
        """What follows `prefix` in each line that begins with it."""
        return [line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)]


def boot(
    kernel: Path,
    initrd: Path,
    append: str,
    *options: str,
    typed: str = "",
    there: SoftHost | None = None,
) -> Boot:
    """Run a guest to its end; its console's input is `typed`.

    `there` is the software host in which it is typed; without one it is typed here, where KVM is
    not good for it that starts one for this guest alone.
    """
    started = ("--kernel", str(kernel), "--initrd", str(initrd), "--append", f"{CONSOLE} {append}")
    return boot_words(*started, *options, typed=typed, there=there)


def boot_words(*words: str, typed: str = "", there: SoftHost | None = None) -> Boot:
    """The same of any `vestige run`."""
    run = [sys.executable, "-m", "vestige.cli.main", "run", "--timeout", str(GUEST_TIMEOUT), *words]
    if there is not None:
        images.ensure()  # in there, compiling takes ten times as long
        patience = GUEST_TIMEOUT + GRACE
        ended = there.capture(run, stdin=typed.encode(), timeout=patience, cwd=ROOT)
        return Boot(
            ended.status,
            ended.stdout.decode(errors="replace").splitlines(),
            ended.stderr.decode(errors="replace"),
        )
    done = subprocess.run(
        run,
        input=typed,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=GUEST_TIMEOUT + GRACE,
        check=False,
    )
    return Boot(done.returncode, done.stdout.splitlines(), done.stderr)
