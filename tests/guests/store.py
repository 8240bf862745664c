"""Where built guests are kept: one directory per recipe below build/, whole or not there at all."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "build" / "guests"


@cache
def _sources() -> str:
    """A digest of the code and scripts that build guests."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted([*package.glob("*.py"), *package.glob("scripts/*")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def built(name: str, recipe: tuple[object, ...], build: Callable[[Path], None]) -> Path:
    """The directory that `build` fills, built on first use.

    `recipe` is what the content depends on besides this package's own files; its repr() and
    those files are the key. Processes that ask for the same guest at once wait for the first to
    build it.
    """
    key = hashlib.sha256(repr((recipe, _sources())).encode()).hexdigest()[:12]
    ready = STORE / f"{name}-{key}"
    if ready.is_dir():
        return ready
    STORE.mkdir(parents=True, exist_ok=True)
    with (STORE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.is_dir():
            for left_over in STORE.glob(f"incoming-{name}-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            incoming = Path(tempfile.mkdtemp(prefix=f"incoming-{name}-", dir=STORE))
            build(incoming)
            incoming.rename(ready)
    return ready
