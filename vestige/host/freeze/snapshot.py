"""A snapshot: a folder with the parts of a frozen machine and a manifest, which is written last.

The manifest is JSON: what the machine was asked to be, as words of `vestige run`; which monitor it
has; its files, and how its disks were. A folder without a manifest is none.

Threat: a snapshot says which files the guest's disks are, and these are written. So who thaws one
believes it: it is this user's or root's, and nobody else's to write. All that is in the manifest
is checked as words on a command line are; the parts, by who goes on with them.
"""

import json
import os
from collections.abc import Iterable
from typing import Any

from vestige import __version__, trust
from vestige.bounds import MAX_CPUS, MAXIMUM_MEMORY
from vestige.errors import GuestError, UsageError
from vestige.host.files.sparse import PAGE
from vestige.host.freeze.parts import (
    IDENTITY_SIZE,
    MOST,
    NAMES,
    TAIL,
    Part,
    is_of,
    size_of,
    sizes,
)
from vestige.host.kvm.monitor_code import MonitorCode

FORMAT = 2
MANIFEST = "manifest.json"
LARGEST = 1 << 20  # bytes of it
MOST_DOMAINS = 8
TRIES = 3
WAITS = "given", "told", "process"
MOST_HANDLE = (1 << 63) - 1
DAMAGED = "not a manifest that `vestige freeze` has written; freeze the machine once more"


class Snapshot:
    """One that is open: descriptors of its `parts`, and of copies of disks' temporary `overlays`,
    by the disks' numbers; what its manifest says.

    `waits`: of a program that waits in the guest, see Waits of agent/renewing.py;
    `domains`: how many the machine has; `monitor`: of the code that it has, see `key_of`; `jumps`:
    whether its clocks are to show the time that it is, once it goes on; `mac`: the address that
    its guest's network interface had, once the words are read.
    """

    def __init__(
        self,
        path: str,
        told: "dict[str, Any]",
        parts: dict[Part, int],
        overlays: dict[int, int],
    ) -> None:
        self.path, self.parts, self.overlays = path, parts, overlays
        self.words: list[str] = told["words"]
        self.memory: int = told["memory"]
        self.cpus: int = told["cpus"]
        self.domains: int = told["domains"]
        self.monitor: str = told["monitor"]
        self.identity: str = told["identity"]  # of its freeze
        self.version: str = told["vestige"]
        self.layout: dict[str, str] = told["layout"]
        self.disks: list[dict[str, Any]] = told["disks"]
        waits = told.get("renewing")
        self.waits: dict[str, int] | None = waits and {name: waits[name] for name in WAITS}
        self.jumps = False
        self._sizes = {part: size_of(file) for part, file in parts.items()}
        self.mac: bytes | None = None

    @property
    def descriptors(self) -> list[int]:
        """All that it has open."""
        return [*self.parts.values(), *self.overlays.values()]

    def check_monitor(self, code: MonitorCode) -> None:
        """Raise UsageError where it has another monitor than this."""
        if self.monitor == code.key:
            return
        from vestige.host.freeze.layout import difference  # noqa: PLC0415 - for this error alone

        raise UsageError(
            f"{self.path}: frozen by Vestige {self.version} with another monitor:"
            f" {difference(self.layout)}; thaw it by the Vestige that froze it"
        )

    def check_whole(self) -> None:
        """Raise GuestError where somebody has made a part shorter since it was opened: of one that
        is mapped, the guest has lost what it has not written.
        """
        for part, file in self.parts.items():
            if size_of(file) < self._sizes[part]:
                raise GuestError(
                    f"{self.path}/{NAMES[part]}: somebody has cut off this file while the guest had"
                    " it; what the guest had in memory is lost"
                )

    def close(self) -> None:
        """Close the parts."""
        _close(self.descriptors)
        self.parts, self.overlays = {}, {}


def open_snapshot(path: str) -> Snapshot:
    """The one in the folder `path`. Raises UsageError for what is none, or somebody else's.

    One that is replaced meanwhile is opened anew.
    """
    for _ in range(TRIES - 1):
        try:
            return _open(path)
        except ReplacedError:
            continue
    try:
        return _open(path)
    except ReplacedError as error:
        raise UsageError(str(error)) from None


class ReplacedError(UsageError):
    """A file of it has gone, and another folder may be there."""


def _open(path: str) -> Snapshot:
    parts: dict[Part, int] = {}
    overlays: dict[int, int] = {}
    try:
        folder = trust.follow(os.path.abspath(path))  # noqa: PTH100
        try:
            told = _manifest(folder, path)
            identity = bytes.fromhex(told["identity"])
            fixed = sizes(told["memory"], told["cpus"])
            for part in Part:
                if part in fixed or NAMES[part] in told["parts"]:
                    place = f"{path}/{NAMES[part]}"
                    parts[part] = trust.open_file(folder, NAMES[part], place)
                    _check_size(place, parts[part], fixed.get(part), part)
                    _check_identity(place, parts[part], identity)
            for number, disk in enumerate(told["disks"]):
                if disk.get("copied") is True:
                    name = overlay_name(number)
                    overlays[number] = trust.open_file(folder, name, f"{path}/{name}")
                    _check_identity(f"{path}/{name}", overlays[number], identity)
        finally:
            os.close(folder)
    except OSError as error:
        _close((*parts.values(), *overlays.values()))
        kind = ReplacedError if isinstance(error, FileNotFoundError) else UsageError
        raise kind(f"{_place(error, path)}: {error.strerror}; {_remedy(error, path)}") from None
    except BaseException:
        _close((*parts.values(), *overlays.values()))
        raise
    return Snapshot(path, told, parts, overlays)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _check_size(place: str, file: int, size: int | None, part: Part) -> None:
    """Raise UsageError for a part's file that has not the `size` it had, or None, or one it may."""
    found = size_of(file)
    there = found + TAIL.size
    if size is not None and found != size:
        were = size + TAIL.size
        raise UsageError(f"{place}: {there} bytes, and {were} were frozen; is it whole?")
    if size is None and not (0 < found <= MOST[part] and found % PAGE == 0):
        raise UsageError(f"{place}: {there} bytes, which it can't have had; is it whole?")


def _check_identity(place: str, file: int, identity: bytes) -> None:
    """Raise UsageError for a file that is not of the freeze that the manifest is of."""
    if not is_of(file, identity):
        raise UsageError(
            f"{place}: not of the freeze that {MANIFEST} beside it is of, or its end is lost; give"
            " the whole folder as it was frozen"
        )


def _place(error: OSError, path: str) -> str:
    """What it is of: a file that is looked for in a folder has no more than its name."""
    name = str(error.filename or "")
    if "/" in name or not os.path.isdir(path):  # noqa: PTH112
        return name if "/" in name else path
    return f"{path}/{name}"


def _remedy(error: OSError, path: str) -> str:
    if isinstance(error, trust.UntrustedError):
        return "what is thawed can be changed by you alone, as it says which files are its disks"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"give the folder that `vestige freeze NAME {path}` made"
    return "give a snapshot that can be read"


def _manifest(folder: int, path: str) -> "dict[str, Any]":
    place = f"{path}/{MANIFEST}"
    file = trust.open_file(folder, MANIFEST, place)
    try:
        data = os.read(file, LARGEST + 1)
    finally:
        os.close(file)
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise UsageError(f"{place}: {DAMAGED}")
    if told["format"] != FORMAT:
        known = str(told["format"])[:9]
        raise UsageError(
            f"{place}: of format {known}, and this Vestige, {__version__}, knows {FORMAT};"
            f" thaw it by Vestige {_text(told.get('vestige')) or 'of its version'}"
        )
    if not _is_whole(told):
        raise UsageError(f"{place}: {DAMAGED}")
    return told


def _text(value: object) -> str:
    return value[:40] if isinstance(value, str) else ""


def _is_whole(told: "dict[str, Any]") -> bool:
    return (
        _is_number(told, "memory", MAXIMUM_MEMORY)
        and _is_number(told, "cpus", MAX_CPUS)
        and _is_number(told, "domains", MOST_DOMAINS)
        and told["memory"] % (1 << 20) == 0
        and all(isinstance(told.get(name), str) for name in ("vestige", "monitor", "identity"))
        and _is_identity(told["identity"])
        and _is_list(told.get("words"), str)
        and _is_list(told.get("parts"), str)
        and set(told["parts"]) <= set(NAMES.values())
        and _is_list(told.get("disks"), dict)
        and isinstance(told.get("layout"), dict)
        and all(isinstance(each, str) for each in told["layout"].values())
        and _waits(told.get("renewing"))
    )


def _waits(told: object) -> bool:
    """Whether that says where a program waits, or that there is none."""
    return told is None or (
        isinstance(told, dict) and all(_is_number(told, name, MOST_HANDLE) for name in WAITS)
    )


def _is_number(told: "dict[str, Any]", name: str, most: int) -> bool:
    value = told.get(name)
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def _is_identity(text: str) -> bool:
    return len(text) == 2 * IDENTITY_SIZE and set(text) <= set("0123456789abcdef")


def _is_list(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def overlay_name(number: int) -> str:
    """The file of a snapshot that is a copy of a disk's temporary overlay."""
    return f"overlay-{number}"
