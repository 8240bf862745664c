"""Make a bundle: import all that a run needs by its files, and keep the code (bundle.py)."""

import importlib.machinery
import marshal
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from vestige import cache_folder
from vestige.cli import bundle
from vestige.errors import UsageError

# The command line; the run; and what each run's machine imports.
ENTRIES = (
    "vestige.cli.main",
    "vestige.cli.run",
    "vestige.host.run",
    "vestige.host.kvm.cpu_state",
    "vestige.host.freeze.saving",
)
INSIDE = "vestige.cli.soft_inside"  # of a run in the software host, and nobody else
PREPARED = "vestige.host.prepared"
ROWS = "vestige.rows"
# What ROWS is made of, and all that those rows are made of: imported where something asks for it.
DEVICES, MONITOR = "vestige.devices", "vestige.monitor"
ASKED = """
def asked(module, name):
    return lambda *given: getattr(__import__(module, fromlist=[name]), name)(*given)
"""


def begin() -> None:
    """Import it, and keep the code where this user's cache can be written."""
    noted, began = _Noted(), time.time_ns()
    sys.meta_path.insert(0, noted)
    try:
        for entry in (*ENTRIES, INSIDE):
            __import__(entry)
    finally:
        sys.meta_path.remove(noted)
    if sys.dont_write_bytecode or not cache_folder.is_own():
        return
    try:
        _keep(noted.complete, began)
    except (OSError, UsageError):
        return  # what is compiled is sought in the same place, and why not is told then


class _Noted:
    """Finds Vestige's modules as Python's own does, and has each noted once it is complete."""

    def __init__(self) -> None:
        self.complete: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Where it is; None: others are to say it."""
        spec = None
        if name.startswith("vestige."):
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Noting(spec.loader, self.complete)
        return spec


class _Noting(importlib.machinery.SourceFileLoader):
    def __init__(self, loader: importlib.machinery.SourceFileLoader, complete: list[str]) -> None:
        super().__init__(loader.name, loader.path)
        self._complete = complete

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        self._complete.append(module.__name__)


def _keep(names: Sequence[str], began: int) -> None:
    """Keep the code of these modules; not where a source has changed since, or just before: by the
    time of a file that would not be seen.
    """
    from vestige.host import images  # noqa: PLC0415 - it is to be noted, too
    from vestige.lang import cache  # noqa: PLC0415 - as above

    modules: bundle.Modules = []
    later: bundle.Later = {}
    paths = {f"vestige/{path}" for path in cache.sources(images.SOURCES)}
    for name in names:
        module = sys.modules[name]
        loader = module.__loader__
        if not isinstance(loader, _Noting):
            return
        path = os.path.relpath(loader.path, bundle.PACKAGES)
        code = loader.get_code(name)
        if name == PREPARED:
            found = f"KEYS: dict[str, str] = {{{cache.llvmlite_folder()!r}: {images.key()!r}}}\n"
            code = compile(found, loader.path, "exec", dont_inherit=True)
        elif name == ROWS:
            found = _rows(ROWS=module.ROWS, POSTS=module.POSTS)
            code = compile(found, loader.path, "exec", dont_inherit=True)
        if code is None:
            return
        is_package = hasattr(module, "__path__")
        if name in (DEVICES, INSIDE) or _is_monitors(name):
            later[name] = is_package, path, marshal.dumps(code)
        else:
            modules.append((name, is_package, path, code))
        paths.add(path)
    files, latest = [], 0
    for path in sorted(paths):
        status = Path(bundle.PACKAGES, path).stat()
        files.append((path, status.st_size, status.st_ctime_ns))
        latest = max(latest, status.st_ctime_ns)
    if latest + cache.SETTLED > began:
        return
    head, body = marshal.dumps((bundle.here(), files)), marshal.dumps((modules, later))
    sizes = (len(part).to_bytes(bundle.SIZE, "little") for part in (head, body))
    cache.keep(bundle.file(), b"".join((*sizes, head, body)), bundle.NAME, own=True)


def _is_monitors(module: str) -> bool:
    return f"{module}.".startswith(f"{MONITOR}.")


def _rows(**constants: object) -> str:
    """The source of a module that has these of rows.py, and imports no module of the monitor's."""
    names = {"from vestige.lang.records import remade"}
    values = [f"{name} = {_source(value, names)}\n" for name, value in constants.items()]
    return "\n".join((*sorted(names), ASKED, *values))


def _source(value: object, names: set[str]) -> str:
    """An expression of this constant; `names`: statements that import what is named in it."""
    from vestige.lang.records import Record, fields, made_at  # noqa: PLC0415 - to be noted, too

    if isinstance(value, tuple):
        return f"({''.join(f'{_source(each, names)}, ' for each in value)})"
    if value is None or type(value) in (bool, int, str, bytes):
        return repr(value)
    of: Any = value if callable(value) else type(value)
    of_monitor, name = _is_monitors(of.__module__), of.__qualname__
    if callable(value) and of_monitor:
        return f"asked({of.__module__!r}, {name!r})"
    if isinstance(value, int) and of_monitor:
        return repr(int(value))
    names.add(f"from {of.__module__} import {name}")
    if isinstance(value, Record):
        given = (f", {name}={_source(each, names)}" for name, each in fields(value).items())
        return f"remade({name}, {made_at(value)!r}{''.join(given)})"
    return f"{name}({int(value)})" if isinstance(value, int) else name
