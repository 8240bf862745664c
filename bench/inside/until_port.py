"""Start a virtual machine in the software host, and end it at its guest's first write to a port.

    python -S -m bench.inside.until_port PORT MEMORY SECONDS -- COMMAND...
    python -m bench.inside.until_port PORT MEMORY SECONDS --launcher OPTIONS

Prints a JSON object: `time`, milliseconds from just before COMMAND's start to the write, by KVM's
own record of it (the tracepoint kvm:kvm_pio), so there need be no device; `memory`, MiB resident at
most until then, less guest RAM (MEMORY is its size in bytes). Within SECONDS, else status 1.

With --launcher a vestige.launcher starts it, with OPTIONS, a JSON object: from just before that.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.common.batches import Batch, Commands, Machines
from bench.inside.processes import beyond_guest_memory
from bench.inside.tracing import PortWrite

LAUNCHER = "--launcher"


def main() -> int:
    """The command line."""
    port, memory, seconds, how, *words = sys.argv[1:]
    with tempfile.NamedTemporaryFile() as said:
        path = Path(said.name)
        way = launched(words[0], path) if how == LAUNCHER else commanded(words, path)
        with way as batch:
            found = measure(batch, int(port), int(memory), float(seconds))
        if found is None:
            print(f"{words}: no write to port {port}\n{path.read_text()}", file=sys.stderr)
            return 1
    print(json.dumps(found))
    return 0


@contextmanager
def commanded(command: list[str], said: Path) -> Iterator[Batch]:
    """A command is the virtual machine."""
    with said.open("ab") as output:
        batch = Commands(output.fileno(), tuple(command), said)
        try:
            yield batch
        finally:
            batch.end()


@contextmanager
def launched(options: str, said: Path) -> Iterator[Batch]:
    """A launcher that is ready starts it."""
    from vestige.launcher import Launcher  # noqa: PLC0415 - commands do without

    with said.open("ab") as output, Launcher() as launcher:
        batch = Machines(
            output.fileno(),
            lambda out: launcher.start(stdout=out, stderr=out, **json.loads(options)),
        )
        try:
            yield batch
        finally:
            batch.end()


def measure(batch: Batch, port: int, memory: int, seconds: float) -> dict[str, float] | None:
    """Start one; None if its guest did not write in time."""
    write = PortWrite(port)
    try:
        began = time.monotonic()
        batch.start()
        (pid,) = batch.guests()
        moment = write.wait(pid, seconds)
        if moment is None:
            return None
        size = beyond_guest_memory(pid, memory)
    finally:
        write.close()
    return {
        "time": round(1000 * (moment - began), 2),
        "memory": round(size / (1 << 20), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
