"""The code of all that a run imports, in one file of the user's cache, read and executed at once.

Python asks for the file of each module in several places and for its source's date, and reads it: a
run imports 200. Here their code objects lie behind one another, each behind those that it imports
itself. As a .pyc file is, it is taken as long as the sources are as they were, by size and time of
change; what is not in it Python finds as ever.

It is executed, as the compiled monitor is: nobody but this user and root can have written it
(vestige/trust.py), and it has its name only once its data are on the disk. As with .pyc files, no
digest is taken over it.
"""
# Hardly anything is imported yet: neither pathlib nor importlib.
# ruff: noqa: PTH100, PTH116, PTH120, PTH123

import marshal
import os
import sys
from _blake2 import blake2b  # hashlib would load OpenSSL

TYPE_CHECKING = False  # as typing has it

if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    # Of each file: its path below PACKAGES, its size and time of change.
    Files = list[tuple[str, int, int]]
    # Of each module: its name, whether it is a package, its file below PACKAGES, its code.
    Modules = list[tuple[str, bool, str, CodeType]]
    # The same of those that are imported only where something asks for them, their code in bytes.
    Later = dict[str, tuple[bool, str, bytes]]

PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = "code"
SIZE = 8  # bytes of each of the two sizes at the beginning of the file


def begin() -> None:
    """Have all imported that a run needs; by files, where they are not as the bundle has it."""
    code = kept()
    if code is not None:
        execute(code)
        return
    from vestige.cli import bundling  # noqa: PLC0415 - once

    bundling.begin()


def begin_with(device: str, start: str, size: str) -> None:
    """The same with that code, so many bytes from there on; 0: none, all is imported by files."""
    if int(size):
        with open(device, "rb", buffering=0) as opened:
            opened.seek(int(start))
            execute(opened.read(int(size)))


def kept() -> memoryview | None:
    """The modules' code, for `execute`; None: none is kept, or it is not of these sources."""
    from mmap import MAP_POPULATE, MAP_PRIVATE, PROT_READ, mmap  # noqa: PLC0415 - not in there

    from vestige import cache_folder  # noqa: PLC0415 - not in the software host
    from vestige.errors import UsageError  # noqa: PLC0415 - as above

    try:
        with open(cache_folder.open_file(cache_folder.IMAGES, file(), own=True), "rb") as opened:
            # To read it would have the kernel find a page for each of its, and copy that.
            data = mmap(opened.fileno(), 0, MAP_PRIVATE | MAP_POPULATE, PROT_READ)
        start = SIZE + SIZE
        end = start + int.from_bytes(data[:SIZE], "little")
        if len(data) != end + int.from_bytes(data[SIZE:start], "little") or end == start:
            return None
        made_by, files = marshal.loads(data[start:end])
        return memoryview(data)[end:] if made_by == here() and are(files) else None
    except (OSError, UsageError, ValueError):  # of an empty file
        return None


def file() -> str:
    """Its name in the cache: of the sources' folder."""
    return f"{NAME}-{blake2b(PACKAGES.encode(), digest_size=16).hexdigest()}.image"


def here() -> tuple[str, str, int]:
    """What code depends on beside its source."""
    return PACKAGES, sys.version, sys.flags.optimize


def are(files: "Files") -> bool:
    """Whether the files are as they were."""
    for path, size, changed in files:
        status = os.stat(f"{PACKAGES}/{path}")
        if status.st_ctime_ns != changed or status.st_size != size:
            return False
    return True


def execute(code: bytes | memoryview) -> None:
    """Import its modules in order, but for those that are for later.

    All are there from the beginning, as empty ones: a package may begin by importing what is in it.
    """
    modules: Modules
    later: Later
    modules, later = marshal.loads(code)
    sys.meta_path.insert(0, _Finder(later))
    # importlib has these, and would be imported for them.
    module_of, loader_of = type(sys), type(__spec__.loader)
    to_do = []
    for name, is_package, path, body in modules:
        if name in sys.modules:
            continue
        module = module_of(name)
        place = f"{PACKAGES}/{path}"
        loader = loader_of(name, place)  # type: ignore[call-arg, misc] # a SourceFileLoader
        spec = _spec(name, loader, place, is_package=is_package)
        within, _, last = name.rpartition(".")
        module.__spec__, module.__loader__, module.__file__ = spec, loader, place
        module.__package__ = name if is_package else within
        if is_package:
            module.__path__ = spec.submodule_search_locations
        sys.modules[name] = module
        to_do.append((body, module, within, last))
    for body, module, within, last in to_do:
        exec(body, module.__dict__)
        setattr(sys.modules[within], last, module)


def _spec(name: str, loader: "Any", place: str, *, is_package: bool) -> "Any":
    spec = type(__spec__)(name, loader, origin=place)  # importlib would be imported for it
    spec.has_location = True
    if is_package:
        spec.submodule_search_locations = [os.path.dirname(place)]
    return spec


class _Finder:
    """Finds the modules that are for later: of sys.meta_path."""

    def __init__(self, later: "Later") -> None:
        self._later = later

    def find_spec(self, name: str, _path: object, _target: object = None) -> "Any":
        if name not in self._later:
            return None
        is_package, path, code = self._later[name]
        return _spec(name, _Loader(code), f"{PACKAGES}/{path}", is_package=is_package)


class _Loader:
    """Executes one of them."""

    def __init__(self, code: bytes) -> None:
        self._code = code

    def create_module(self, _spec: object) -> None:
        """As any module is made."""

    def exec_module(self, module: "ModuleType") -> None:
        exec(marshal.loads(self._code), module.__dict__)
