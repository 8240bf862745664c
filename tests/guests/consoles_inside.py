"""Run in the software host by test_consoles.py: a terminal and a socket, and Linux behind them.

    python -m tests.guests.consoles_inside KERNEL INITRD FOLDER

Talks to the guest's shell on hvc0 as a person would, on a terminal of 120 columns and 40 rows, and
through a port to a program of the guest's. Prints one JSON object of what came back.
"""

import fcntl
import json
import os
import pty
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATIENCE = 240  # seconds for the guest to boot, or to answer
TEXT = "".join(f"{line:03} The quick brown fox jumps over the lazy dog.\n" for line in range(24))
ECHOED = 200_000  # bytes through the port
PORT = "org.vestige.echo"
COLUMNS, ROWS = 120, 40
LARGER = (50, 132)  # rows and columns, later
KERNEL_LINE = "an emergency, for whom it concerns"
LOCAL = "/dev/shm"  # a folder of the software host's own: sockets work there
PROMPT = "next "
END_OF_FILE, INTERRUPT = b"\x04", b"\x03"


class Person:
    """At a terminal: types, and reads what appears."""

    def __init__(
        self, terminal: int, guest: subprocess.Popen[bytes], patience: float = PATIENCE
    ) -> None:
        self.terminal = terminal
        self.guest = guest
        self.patience = patience
        self.seen = b""

    def type(self, text: str | bytes) -> None:
        """Keys."""
        os.write(self.terminal, text.encode() if isinstance(text, str) else text)

    def read_until(self, mark: bytes) -> bytes:
        """All that appears before `mark`, line ends as newlines."""
        deadline = time.monotonic() + self.patience
        while mark not in self.seen:
            if time.monotonic() > deadline or self.guest.poll() is not None:
                self.guest.kill()
                errors = self.guest.communicate()[1].decode()
                raise TimeoutError(f"{mark!r} does not come; there is {self.seen!r}, {errors}")
            if select.select([self.terminal], [], [], 1)[0]:
                self.seen += os.read(self.terminal, 4096).replace(b"\r", b"")
        before, _, self.seen = self.seen.partition(mark)
        return before

    def ask(self, command: str) -> str:
        """What a command of the shell's prints."""
        self.type(f"{command}; echo done-$((40 + 2))\n")
        return self.read_until(b"done-42\n").decode()


def start(words: Sequence[str], terminal: int, folder: str) -> subprocess.Popen[bytes]:
    """`vestige run` at a terminal, with what it writes in `folder`: the file stats, too."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
            *("--stats", f"{folder}/stats", *words),
        ],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )


def main() -> None:
    """All of it, with one guest."""
    kernel, initrd, folder = sys.argv[1:4]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    before = termios.tcgetattr(theirs)
    path = f"{tempfile.mkdtemp(dir=LOCAL)}/echo"
    words = (
        *("--kernel", kernel, "--initrd", initrd, "--timeout", str(2 * PATIENCE)),
        *("--append", "console=hvc0 loglevel=1 panic=-1"),
        *("--rng", "--console", "virtio", "--port", f"{PORT}=unix:{path}"),
        *("--port", f"log=file-{PORT}"),
    )
    guest = start(words, theirs, folder)
    try:
        found = talk(Person(ours, guest), path)
        found["raw"] = termios.tcgetattr(theirs) != before
        os.write(ours, b"exit\n")
        _, errors = guest.communicate(timeout=PATIENCE)
    finally:
        guest.kill()
    found["restored"] = termios.tcgetattr(theirs) == before
    found["status"] = guest.returncode
    found["errors"] = errors.decode()
    found["log"] = Path(folder, f"file-{PORT}").read_text()
    found["counters"] = json.loads(Path(folder, "stats").read_text())["virtio"]
    json.dump(found, sys.stdout)


def talk(person: Person, path: str) -> dict[str, Any]:
    """What the guest has to say."""
    found: dict[str, Any] = {}
    person.read_until(b"# ")
    person.type("stty -echo; PS1=\n")
    person.ask("true")
    person.type("cat > /text\n")
    person.type(TEXT)
    person.type(END_OF_FILE)
    found["received"] = person.ask("sha256sum < /text").split()[0]
    found["sent"] = person.ask("cat /text")
    found["size"] = person.ask("stty size").strip()
    fcntl.ioctl(person.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *LARGER, 0, 0))
    os.kill(person.guest.pid, signal.SIGWINCH)  # a terminal that it controlled would say it
    found["larger"] = person.ask(
        f"until [ '{LARGER[0]} {LARGER[1]}' = \"$(stty size)\" ]; do :; done"
    )
    found["consoles"] = person.ask("cat /proc/consoles")
    found["messages"] = person.ask("dmesg")
    person.type(f"echo '<0>{KERNEL_LINE}' > /dev/kmsg\n")
    found["kernel"] = person.read_until(f"{KERNEL_LINE}\n".encode()).decode()
    person.type(f"PS1='{PROMPT}'\n")
    person.read_until(PROMPT.encode())
    person.type("cat\nwaiting\n")
    person.read_until(b"waiting\n")  # by the program, which is the one in the foreground then
    person.type(INTERRUPT)
    person.read_until(PROMPT.encode())  # it has ended, and reads no more of what is typed
    found["interrupted"] = person.ask("echo $?; PS1=").strip()
    found["ports"] = person.ask(
        "cd /sys/class/virtio-ports; for p in *; do [ -e $p/name ] && echo $p $(cat $p/name); done"
    ).splitlines()
    found["generator"] = person.ask("cat /sys/class/misc/hw_random/rng_current").strip()
    random_bytes = "dd if=/dev/hwrng bs=64 count=8 2>/dev/null | sha256sum"
    found["random"] = [person.ask(random_bytes) for _ in range(2)]
    person.ask("echo to the log > /dev/vport0p2")
    person.ask("(cat <> /dev/vport0p1 >&0 &)")
    found["echoed"] = echo(path)
    return found


def echo(path: str) -> bool:
    """Whether all that is sent to the guest's program through the port comes back."""
    data = random.Random(1).randbytes(ECHOED)
    sent, received = 0, b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        client.setblocking(False)
        while len(received) < len(data):
            more = [client] if sent < len(data) else []
            readable, writable, _ = select.select([client], more, [], PATIENCE)
            if not readable and not writable:
                break
            if writable:
                sent += client.send(data[sent : sent + 5000])
            if readable:
                received += client.recv(65536)
    return received == data


if __name__ == "__main__":
    main()
