"""Linux's tracepoints, counted by thread or waited for. Documentation/trace/histogram.rst."""

import os
import re
import select
import subprocess
import time
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
_COUNT = "hist:keys=common_pid"
_COUNTED = re.compile(r"\{ common_pid: +(\d+) \} hitcount: +(\d+)")
_PORT_WRITE = TRACING / "events" / "kvm" / "kvm_pio"
_TIME = re.compile(rb" ([0-9]+\.[0-9]+): kvm_pio:")


def mount() -> None:
    """Have the tracing file system, where it is not mounted yet."""
    if not (TRACING / "events").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACING)], check=True)


class Counter:
    """How often a tracepoint, such as kvm/kvm_userspace_exit, was passed, from now on."""

    def __init__(self, event: str) -> None:
        mount()
        self._event = TRACING / "events" / event
        (self._event / "trigger").write_text(_COUNT)

    def read(self) -> dict[int, int]:
        """By thread."""
        text = (self._event / "hist").read_text()
        return {int(thread): int(count) for thread, count in _COUNTED.findall(text)}

    def close(self) -> None:
        """Count no longer, and forget."""
        (self._event / "trigger").write_text(f"!{_COUNT}")


class PortWrite:
    """The first write to an I/O port by any guest, whether or not there is a device."""

    def __init__(self, port: int) -> None:
        mount()
        for name, text in (
            ("trace", ""),
            ("trace_clock", "mono"),  # the clock of time.monotonic()
            ("buffer_percent", "0"),  # readable with the first event
            ("events/kvm/kvm_pio/filter", f"port == {port} && rw == 1"),
        ):
            (TRACING / name).write_text(text)
        self._pipe = os.open(TRACING / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        (_PORT_WRITE / "enable").write_text("1")

    def wait(self, process: int, seconds: float) -> float | None:
        """When it was, by time.monotonic(); None where `process` ends, or time is up, before."""
        limit = time.monotonic() + seconds
        ended = os.pidfd_open(process)
        try:
            while (left := limit - time.monotonic()) > 0:
                ready, _, _ = select.select([self._pipe, ended], [], [], left)
                if self._pipe not in ready:
                    return None
                found = _TIME.search(os.read(self._pipe, 1 << 16))
                if found is not None:
                    return float(found[1])
        finally:
            os.close(ended)
        return None

    def close(self) -> None:
        """Look no longer."""
        (_PORT_WRITE / "enable").write_text("0")
        (_PORT_WRITE / "filter").write_text("0")
        os.close(self._pipe)
