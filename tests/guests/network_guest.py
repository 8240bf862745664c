"""A guest on a network, run to its end in a software host that serves it: see network_host."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.guests import kernels
from tests.guests.store import ROOT
from vestige.softhost import SoftHost

CONSOLE = "console=ttyS0 quiet panic=-1"
TIMEOUT = 480  # seconds
TAP_HOST, TAP_GUEST = "10.9.8.1", "10.9.8.2"
SERIAL_PORT = range(0x3F8, 0x400)
GUEST_EXITS = 0.01  # of one more operation: none, but what Linux may do for reasons of its own
GATEWAY = "10.0.2.2"  # of QEMU's network; to a guest behind passt the software host itself
NAME_SERVER = "10.0.2.3"  # of that network, which answers pings: passt sends those on as they are


def command(
    initrd: Path, *words: str, memory: str, kernel: Path | None = None, append: str = CONSOLE
) -> list[str]:
    """The guest's run, with Debian's cloud kernel if no other is given."""
    return [
        *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
        *("--kernel", str(kernel or kernels.kernel("cloud").vmlinux), "--initrd", str(initrd)),
        *("--append", append, "--memory", memory),
        *("--timeout", str(TIMEOUT), *words),
    ]


class Guest:
    """How a guest ended, what it said and what was counted."""

    def __init__(
        self,
        host: SoftHost,
        folder: Path,
        initrd: Path,
        *words: str,
        tap: str = "",
        memory: str = "256M",
        kernel: Path | None = None,
        append: str = CONSOLE,
    ) -> None:
        stats = folder / "stats.json"
        stats.unlink(missing_ok=True)
        tapped = ["--tap", f"{TAP_HOST}/24", *tap.split()] if tap else []
        line = [
            *(sys.executable, "-m", "tests.guests.network_host", *tapped, "--"),
            *command(
                initrd,
                *("--stats", str(stats), *words),
                memory=memory,
                kernel=kernel,
                append=append,
            ),
        ]
        done = host.capture(line, timeout=TIMEOUT + 60, cwd=ROOT)
        self.status = done.status
        self.lines = done.stdout.decode(errors="replace").splitlines()
        self.errors = done.stderr.decode(errors="replace")
        self.stats: dict[str, Any] = json.loads(stats.read_text()) if stats.exists() else {}

    def after(self, prefix: str) -> list[str]:
        """What follows `prefix` in each line that begins with it."""
        return [line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)]

    def operations(self) -> int:
        """Frames, and requests of the first virtio device if that is a disk."""
        frames: dict[str, int] = self.stats["network"]
        first, *others = self.stats["virtio"]
        requests: int = first["requests"] if others else 0
        return requests + frames["received"] + frames["sent"]

    def exits(self) -> int:
        """All exits to user space but those of the serial port, which say what was printed."""
        traps = self.stats["traps"]
        serial = [trap for trap in traps if int(trap["address"], 16) in SERIAL_PORT]
        printed: int = sum(trap["count"] for trap in serial)
        exits: dict[str, int] = self.stats["guest_exits"]
        return sum(exits.values()) - printed

    def words(self) -> tuple[int, list[str], str]:
        """For a failed assertion: all there is to know."""
        return self.status, self.lines, self.errors
