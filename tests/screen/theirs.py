"""A PC of QEMU's, by its emulator: its screen, which ours is compared with, and its serial port.

Sources: QEMU's qemu(1), -chardev pipe; qemu-qmp-ref(7), screendump and send-key; netpbm's ppm(5).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Self

QEMU = "qemu-system-x86_64"
_MACHINE = ("-nodefaults", "-display", "none", "-machine", "pc", "-accel", "tcg", "-vga", "std")


def disk(image: Path) -> tuple[str, str]:
    """The words for a disk, whose image stays as it is."""
    return "-drive", f"file={image},format=raw,snapshot=on"


def disc(image: Path) -> tuple[str, str]:
    """The words for a disc in its drive."""
    return "-drive", f"file={image},format=raw,media=cdrom,readonly=on"


def _pipe(path: Path) -> int:
    """Made there, and open."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)


class Theirs:
    """It, until the block ends. `console` is what its serial port says, `keys` go there."""

    def __init__(self, folder: Path, *words: str) -> None:
        """`words` are QEMU's, as for disks; `folder`: for pictures on their way."""
        self._file = folder / "theirs.ppm"
        serial = folder / "theirs"
        # No sockets: these take a few hundred single bytes that nobody reads, a pipe takes 64 KiB.
        self.console, self.keys = (_pipe(serial.with_suffix(end)) for end in (".out", ".in"))
        self._process = subprocess.Popen(
            (QEMU, *_MACHINE, "-m", "64", "-serial", f"pipe:{serial}", "-qmp", "stdio", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._do("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        os.close(self.console)
        os.close(self.keys)

    def _do(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"execute": command, "arguments": arguments, "id": command}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        while f'"id": "{command}"' not in (answer := self._process.stdout.readline()):
            assert answer
        assert '"error"' not in answer, answer

    def press(self, key: str) -> None:
        """Of its keyboard, by QEMU's name for it."""
        self._do("send-key", keys=[{"type": "qcode", "data": key}])

    def picture(self) -> tuple[int, int, bytes]:
        """Width, height, and dots of red, green and blue each."""
        self._do("screendump", filename=str(self._file))
        header, size, _, dots = self._file.read_bytes().split(b"\n", 3)
        assert header == b"P6"
        width, height = map(int, size.split())
        return width, height, dots
