"""Where built guests are kept: one directory per recipe below build/, whole or not there at all."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from vestige.softhost import packages

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "build" / "guests"


@cache
def _sources() -> str:
    """A digest of the code and scripts that build guests, which no test does."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    tests = {package / "conftest.py", *package.glob("test_*.py")}
    for path in sorted({*package.glob("*.py"), *package.glob("scripts/*")} - tests):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def unpacked(name: str, names: Sequence[str], configuration: Path | None = None) -> Path:
    """The directory with the files of these packages, without those that they depend on.

    `configuration` is of another apt than the machine's, as vestige/softhost/suites.py makes them.
    Raises UsageError if apt can't fetch one.
    """
    found = packages.describe(names, configuration)

    def build(directory: Path) -> None:
        packages.unpack(packages.fetch(found, configuration), directory)

    return built(name, tuple(package.file_name for package in found), build)


def built(name: str, recipe: tuple[object, ...], build: Callable[[Path], None]) -> Path:
    """The directory that `build` fills, built on first use.

    `recipe` is what the content depends on besides this package's own files; its repr() and
    those files are the key. Processes that ask for the same guest at once wait for the first to
    build it.
    """
    key = hashlib.sha256(repr((recipe, _sources())).encode()).hexdigest()[:12]
    ready = STORE / f"{name}-{key}"
    STORE.mkdir(parents=True, exist_ok=True)
    packages.make_once(ready, build, STORE / f"{name}.lock")
    return ready
