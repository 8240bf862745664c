"""What tests compile, kept for other workers and later runs until a source changes.

Each is compiled from functions of vestige/ and of tests/, in 2 to 10 s: the key is a digest of all
sources there. `make test` on a machine that has run none yet compiles all of it.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from vestige.lang import cache
from vestige.lang.image import Image
from vestige.lang.native import NativeImage

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("vestige", "tests")


def _digest_of_sources() -> str:
    digest = blake2b(f"{sys.version}\0{cache.llvmlite_version()}".encode(), digest_size=16)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in cache.SUFFIXES:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


SOURCES = _digest_of_sources()  # before tests are imported: conftest.py imports this first


def kept(what: str, build: Callable[[], bytes]) -> bytes:
    """What `build` makes of the sources. It is not kept if one has changed since this run began."""
    built: list[bytes] = []

    def build_once() -> bytes | None:
        built.append(build())
        return built[0] if _digest_of_sources() == SOURCES else None

    name = blake2b(what.encode(), digest_size=8).hexdigest()
    found = cache.data(f"test-{name}", SOURCES, build_once)
    return built[0] if found is None else found


def _compile(functions: Sequence[Callable[..., Any]], base: int | None, runtime: str) -> bytes:
    from vestige.lang.build import compile_functions  # noqa: PLC0415 - llvmlite takes a while

    return compile_functions(functions, base=base, runtime=runtime).to_bytes()


def image(functions: Sequence[Callable[..., Any]], *, base: int | None, runtime: str) -> Image:
    """As vestige.lang.build.compile_functions."""
    names = [f"{each.__code__.co_filename} {each.__qualname__}" for each in functions]
    build = partial(_compile, functions, base, runtime)
    return Image.from_bytes(kept(f"{names} {base} {runtime}", build))


def native(functions: Sequence[Callable[..., Any]]) -> NativeImage:
    """These as machine code in this process."""
    return NativeImage(image(functions, base=None, runtime="process"))
