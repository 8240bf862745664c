"""An image as a person reads it: each source line, then the machine code it became."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vestige.errors import UsageError
from vestige.lang.build import Built
from vestige.lang.image import Image

TOOL = "objdump"


def listing(built: Built) -> str:
    """Source interleaved with machine code, by address. Raises UsageError without binutils."""
    return "\n".join(_interleaved(built.image, _disassembly(built.elf))) + "\n"


def _disassembly(elf: bytes) -> list[str]:
    with tempfile.NamedTemporaryFile(suffix=".elf") as file:
        file.write(elf)
        file.flush()
        command = [TOOL, "--disassemble", "--no-show-raw-insn", file.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise UsageError(
                f"{TOOL} is not installed, and a listing needs it; apt install binutils"
            ) from None
    return done.stdout.splitlines()


def _interleaved(image: Image, disassembly: list[str]) -> Iterator[str]:
    base = image.base or 0
    sources: dict[str, list[str]] = {}
    roots = Path(__file__).parent.parent.parent
    shown: tuple[str, int] | None = None
    for text in disassembly:
        address, colon, _ = text.strip().partition(":")
        if text.startswith(" ") and colon:
            place = image.line_of(int(address, 16) - base)
            if place is not None and place != shown:
                shown = place
                file, line = place
                if file not in sources:
                    sources[file] = _lines(roots / file)
                code = sources[file][line - 1].strip() if line <= len(sources[file]) else ""
                yield f"{file}:{line}: {code}"
        if text.endswith(">:"):
            shown = None
        if text and not text.startswith("Disassembly") and "file format" not in text:
            yield text


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
