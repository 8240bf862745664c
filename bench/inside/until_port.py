"""Start a virtual machine in the software host, and end it at its guest's first write to a port.

    python -S -m bench.inside.until_port PORT MEMORY SECONDS -- COMMAND...

Prints a JSON object: `time`, milliseconds from just before COMMAND's start to the write, by KVM's
own record of it (the tracepoint kvm:kvm_pio), so there need be no device; `memory`, MiB resident at
most until then, less guest RAM (MEMORY is its size in bytes). Within SECONDS, else status 1.
"""

import json
import subprocess
import sys
import tempfile
import time

from bench.inside.processes import beyond_guest_memory
from bench.inside.tracing import PortWrite


def main() -> int:
    """The command line."""
    split = sys.argv.index("--")
    port, memory, seconds = sys.argv[1:split]
    command = sys.argv[split + 1 :]
    write = PortWrite(int(port))
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            moment = write.wait(process, float(seconds))
            size = beyond_guest_memory(process.pid, int(memory)) if moment is not None else 0
        finally:
            process.kill()
            process.wait()
            write.close()
        if moment is None:
            said.seek(0)
            text = said.read().decode(errors="replace")
            print(f"{' '.join(command)}: no write to port {port}\n{text}", file=sys.stderr)
            return 1
    milliseconds = round(1000 * (moment - began), 2)
    print(json.dumps({"time": milliseconds, "memory": round(size / (1 << 20), 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
