"""QEMU in a software host, whose guest has a disk and an agent: booted, or going on from a file.

QEMU's docs/interop/qmp-spec, and its migrate and events in qapi/migration.json. The file is what
`migrate` writes, by a pipe. It is read without one where QEMU can: 7.2 knows no other way.
"""

import json
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.common import guests
from bench.common.guests import MICROVM_PCI, Guest
from vestige.agent.blocking import Agent
from vestige.errors import GuestError

# With a serial port, which is the guest's console.
MACHINE = MICROVM_PCI.replace("isa-serial=off", "isa-serial=on")
_READS_FILES = (8, 2)  # the first version with a migration's "file:"
_LOOK = 0.002  # seconds between two looks whether QEMU listens
_PORT = "org.qemu.guest_agent.0"


def incoming(version: str, file: Path) -> tuple[str, str]:
    """Words for one of such a version to take its state from a file: the way that is fastest."""
    reads = tuple(map(int, version.split("."))) >= _READS_FILES
    return "-incoming", f"file:{file}" if reads else f"exec:cat {file}"


class Qemu:
    """One of its microvms with `guest`, until the block ends."""

    def __init__(
        self, guest: Guest, append: str, drive: str, folder: Path, limit: float, *more: str
    ) -> None:
        """`drive`: of what -drive is to have its disk; `limit`: seconds that its agent has to
        answer, and it to write its state; `folder`: where it has sockets, and what it says.
        """
        self._agent, self._monitor, self._limit = folder / "agent", folder / "qmp", limit
        self._errors = folder / "errors"
        for path in (self._agent, self._monitor):
            path.unlink(missing_ok=True)
        listens = "server=on,wait=off"
        words = (
            *("-drive", f"if=none,id=disk,{drive}"),
            *("-device", f"virtio-blk-pci,drive=disk,{guests.MODERN}"),
            *("-device", f"virtio-serial-pci,{guests.MODERN}"),
            *("-chardev", f"socket,id=agent,path={self._agent},{listens}"),
            *("-device", f"virtserialport,chardev=agent,name={_PORT}"),
            *("-qmp", f"unix:{self._monitor},{listens}", *more),
        )
        with self._errors.open("wb") as output:
            self._process = subprocess.Popen(
                _command(guest, append, words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def ping(self) -> None:
        """Return once the guest's agent answers."""
        with self._connected():  # it listens everywhere then
            Agent(self._agent, patience=self._limit).ping()

    def run(self, words: Sequence[str]) -> None:
        """Have a command run in the guest, by its agent, to its end."""
        Agent(self._agent, patience=self._limit).run(words)

    def migrate(self, file: Path) -> None:
        """Have a file have its state; the guest stands still then. Raises GuestError.

        It runs until that is nearly done: one that is stopped before is so again where it comes in.
        """
        with self._connected() as end:
            for asked in (
                {"execute": "qmp_capabilities"},
                {
                    "execute": "migrate-set-capabilities",
                    "arguments": {"capabilities": [{"capability": "events", "state": True}]},
                },
                {"execute": "migrate", "arguments": {"uri": f"exec:cat > {file}"}},
            ):
                end.sendall(json.dumps(asked).encode())
            for line in end.makefile("r"):
                told: dict[str, Any] = json.loads(line)
                if "error" in told:
                    raise GuestError(f"QEMU: {told['error']}")
                if told.get("event") == "MIGRATION" and told["data"]["status"] == "completed":
                    return
        raise GuestError("QEMU ended while it wrote its state")

    def _connected(self) -> socket.socket:
        """To its monitor, once it listens. Raises GuestError."""
        deadline = time.monotonic() + self._limit
        while self._process.poll() is None and time.monotonic() < deadline:
            end = socket.socket(socket.AF_UNIX)
            end.settimeout(self._limit)
            try:
                end.connect(str(self._monitor))
            except (FileNotFoundError, ConnectionRefusedError):
                end.close()
                time.sleep(_LOOK)
            else:
                return end
        said = self._errors.read_text(errors="replace")
        raise GuestError(f"QEMU does not listen at {self._monitor}; it says: {said}")


def _command(guest: Guest, append: str, words: tuple[str, ...]) -> list[str]:
    """As guests.qemu, with another command line of the kernel's, whose console leads nowhere."""
    command = guests.qemu(guest, "", words, MACHINE)
    command[command.index("-append") + 1] = append
    command[command.index("-serial") + 1] = "null"
    return command
