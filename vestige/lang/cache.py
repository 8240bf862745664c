"""Compiled images kept between runs, keyed by everything they depend on.

The key is a digest of the sources, of the compiler's own, and of the versions of Python and
llvmlite. A hit imports neither llvmlite nor the compiler.
"""
# pathlib takes 5 ms to import, and this is on the way to every run.
# ruff: noqa: PTH100, PTH103, PTH105, PTH108, PTH111, PTH112, PTH116, PTH117, PTH118, PTH120
# ruff: noqa: PTH123, PTH208

import os
import sys
from _blake2 import blake2b  # hashlib would load OpenSSL: 4 ms
from collections.abc import Callable, Iterable, Iterator

from vestige.lang.image import Image, ImageError

Build = Callable[[], Image]

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEPT = 8  # images of one name, the newest ones
COMPILER = ("lang", "abi.py")


def image(name: str, sources: Iterable[str], build: Build) -> Image:
    """The image `name`, from the cache, or built by `build` and kept there.

    sources: what it is compiled from: files and folders, relative to the vestige package.
    The compiler's own and abi.py are always added. A cache that can't be read or written is
    no error: the image is built. Raises what `build` raises.
    """
    path = location(name, sources)
    try:
        with open(path, "rb") as file:
            return Image.from_bytes(file.read())
    except (OSError, ImageError):
        pass
    built = build()
    _keep(path, built.to_bytes(), name)
    return built


def location(name: str, sources: Iterable[str]) -> str:
    """Where the image is, or would be, kept."""
    return os.path.join(folder(), f"{name}-{key(sources)}.image")


def folder() -> str:
    """The user's cache folder for images."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "vestige", "images")


def key(sources: Iterable[str]) -> str:
    """A digest of everything an image from `sources` depends on."""
    digest = blake2b(digest_size=16)
    digest.update(f"{sys.version}\0{llvmlite_version()}\0".encode())
    for path in sorted(set(_files((*COMPILER, *sources)))):
        digest.update(f"{path}\0".encode())
        with open(os.path.join(PACKAGE, path), "rb") as file:
            content = file.read()
        digest.update(f"{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(sources: Iterable[str]) -> Iterator[str]:
    """The source files of `sources`, relative to the package."""
    for source in sources:
        top = os.path.join(PACKAGE, source)
        if not os.path.isdir(top):
            yield source
            continue
        for folder_path, _, names in os.walk(top):
            for name in names:
                if name.endswith((".py", ".s")):
                    yield os.path.relpath(os.path.join(folder_path, name), PACKAGE)


def llvmlite_version() -> str:
    """The installed llvmlite's version, read off its metadata folder's name; "" if none."""
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("llvmlite-") and name.endswith(".dist-info"):
                return name[len("llvmlite-") : -len(".dist-info")]
    return ""


def _keep(path: str, data: bytes, name: str) -> None:
    """Write the image whole or not at all, then remove those of its name that are long unused.

    Several are kept: another checkout's run may be about to read its own.
    """
    temporary = f"{path}.{os.getpid()}"
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
        kept = [other for other in os.listdir(directory) if _is_image(other, name)]
        kept.sort(key=lambda other: os.stat(os.path.join(directory, other)).st_mtime_ns)
        replaced = kept[:-KEPT]
    except OSError:
        replaced = [temporary]
    for other in replaced:
        _remove(os.path.join(directory, other))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _is_image(file: str, name: str) -> bool:
    """Whether `file` is an image called `name`, of any key."""
    stem, dash, rest = file.rpartition("-")
    return stem == name and bool(dash) and rest.endswith(".image")
