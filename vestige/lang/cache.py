"""Compiled images kept between runs, keyed by everything they depend on.

The key is a digest of the sources, of the compiler's own, and of the versions of Python and
llvmlite. It is kept too, with what the file system says of those files: as long as it says the
same, none of them is read. A hit imports neither llvmlite nor the compiler.
"""
# pathlib takes 5 ms to import, and this is on the way to every run.
# ruff: noqa: PTH100, PTH108, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208

import os
import sys
import time
from _blake2 import blake2b  # hashlib would load OpenSSL: 4 ms
from _collections_abc import Callable, Iterable, Iterator

from vestige import cache_folder
from vestige.lang.image import Image, ImageError

Build = Callable[[], Image]

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = cache_folder.IMAGES
KEPT = 8  # files of one name, those used last
LEFT_OVER = 3600.0  # seconds after which nobody is writing it any more
COMPILER = ("lang", "abi")
SUFFIXES = (".py", ".s")
DIGEST = 16  # bytes of a key
HEXADECIMAL = b"0123456789abcdef"
SETTLED = 2_000_000_000  # ns after which another change has another time, on any file system


def image(name: str, key_: str, build: Build) -> Image:
    """The image `name`, from the cache, or built by `build` and kept there.

    key_: of what it is compiled from. A cache that can't be read or written is no error: the
    image is built; so is one that others could have put in the cache, or changed. Raises what
    `build` raises, and UsageError where others could change the cache.
    """
    found = kept(name, key_)
    if found is None:
        found = build()
        keep(_file(name, key_), found.to_bytes(), name)
    return found


def data(name: str, key_: str, build: Callable[[], bytes | None]) -> bytes | None:
    """The same for bytes of any meaning. What `build` answers None for is not kept."""
    try:
        file = _read(_file(name, key_))
    except OSError:
        file = b""
    if file[:DIGEST] == _digest_of(file[DIGEST:]):
        return file[DIGEST:]
    found = build()
    if found is not None:
        keep(_file(name, key_), _digest_of(found) + found, name)
    return found


def _digest_of(data_: bytes) -> bytes:
    return blake2b(data_, digest_size=DIGEST).digest()


def kept(name: str, key_: str) -> Image | None:
    """The image `name` from the cache; None: there is none, or none that can be used."""
    try:
        return Image.from_bytes(_read(_file(name, key_)))
    except (OSError, ImageError):
        return None


def unusable() -> str | None:
    """The folder of images, where nothing can be kept in it; None: what is built is kept."""
    try:
        place = cache_folder.make(FOLDER)
    except OSError:
        return cache_folder.folder(FOLDER)
    return None if os.access(place, os.W_OK | os.X_OK) else place


def location(name: str, key_: str) -> str:
    """Where the image is, or would be, kept."""
    return os.path.join(cache_folder.folder(FOLDER), _file(name, key_))


def _file(name: str, key_: str) -> str:
    return f"{name}-{key_}.image"


def _read(file: str) -> bytes:
    """What is kept in `file`, which is used now. Raises OSError where nothing is, or others could
    have changed it.
    """
    with open(cache_folder.open_file(FOLDER, file), "rb") as opened:
        _date(opened.fileno())
        return opened.read()


def _date(descriptor: int) -> None:
    """Have a file be of now: by its date it is kept. One that is only read keeps its own."""
    try:
        os.utime(descriptor)
    except OSError:
        return


def key(sources: Iterable[str]) -> str:
    """A digest of everything an image from `sources` depends on.

    sources: what it is compiled from: files and folders, relative to the vestige package.
    The compiler's own and abi are always added.
    """
    versions = f"{sys.version}\0{llvmlite_version()}\0"
    files = sorted(_files((*COMPILER, *sources)))
    stamp, settled = _stamp(files, versions)
    where = blake2b("\0".join((PACKAGE, *sources)).encode(), digest_size=16).hexdigest()
    file = f"sources-{where}.key"
    try:
        kept_stamp, _, kept_key = _read(file).partition(b" ")
    except OSError:
        kept_stamp = kept_key = b""
    if kept_stamp == stamp.encode() and _is_digest(kept_key):
        return kept_key.decode()
    digest = _digest([name for name, _ in files], versions)
    if settled:
        keep(file, f"{stamp} {digest}".encode(), "sources")
    return digest


def sources(of: Iterable[str]) -> list[str]:
    """The files, relative to the package, that the `key` of an image is made of."""
    return [name for name, _ in _files((*COMPILER, *of))]


def _stamp(files: Iterable[tuple[str, os.stat_result]], versions: str) -> tuple[str, bool]:
    """A digest of what the file system says; whether its times tell the next change from this."""
    digest = blake2b(versions.encode(), digest_size=16)
    latest = 0
    for name, status in files:
        latest = max(latest, status.st_ctime_ns)
        digest.update(f"{name} {status.st_size} {status.st_ctime_ns}".encode())
    return digest.hexdigest(), latest + SETTLED < time.time_ns()


def _is_digest(data: bytes) -> bool:
    return len(data) == 2 * DIGEST and not data.translate(None, HEXADECIMAL)


def _digest(names: Iterable[str], versions: str) -> str:
    """A digest of the files' contents, and of `versions`."""
    digest = blake2b(versions.encode(), digest_size=DIGEST)
    for name in names:
        digest.update(f"{name}\0".encode())
        with open(os.path.join(PACKAGE, name), "rb") as file:
            content = file.read()
        digest.update(f"{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(sources: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The source files of `sources`, relative to the package, and what their folders say."""
    for source in sources:
        if source.endswith(SUFFIXES):
            yield source, os.stat(f"{PACKAGE}/{source}")
            continue
        with os.scandir(f"{PACKAGE}/{source}") as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(SUFFIXES):
                    yield f"{source}/{name}", entry.stat()
                elif "." not in name and name != "__pycache__" and entry.is_dir():
                    yield from _files([f"{source}/{name}"])


def llvmlite_version() -> str:
    """The installed llvmlite's version, read off its metadata folder's name; "" if none."""
    return os.path.basename(llvmlite_folder())[len("llvmlite-") : -len(".dist-info")]


def llvmlite_folder() -> str:
    """The folder of its metadata; "" if there is none."""
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("llvmlite-") and name.endswith(".dist-info"):
                return os.path.join(os.path.abspath(place), name)
    return ""


def keep(file: str, data: bytes, name: str, *, own: bool = False) -> None:
    """Write the image whole or not at all, then remove those of its name that are long unused.

    own: nowhere but in the user's own folders, without a word about it.

    Several are kept: another checkout's run may be about to read its own. Those are not the newest:
    a run that has gone on while others compiled may be thawed where a compilation takes minutes.
    """
    try:
        directory = cache_folder.write(FOLDER, file, data, own=own)
        needless = [*_replaced(directory, name), *_left_over(directory)]
    except OSError:
        return
    for other in needless:
        _remove(other)


def _replaced(directory: str, name: str) -> list[str]:
    """All files of `name` but those used last."""
    files = os.listdir(directory)
    kept = [f"{directory}/{file}" for file in files if file.rpartition("-")[0] == name]
    kept.sort(key=lambda path: os.stat(path).st_mtime_ns)
    return kept[:-KEPT]


def _left_over(directory: str) -> list[str]:
    """What killed processes were writing."""
    files = os.listdir(directory)
    paths = [f"{directory}/{file}" for file in files if file.startswith(cache_folder.INCOMING)]
    latest = time.time() - LEFT_OVER
    return [path for path in paths if os.stat(path).st_mtime < latest]


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
