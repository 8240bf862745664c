"""The newest QEMU that can be had: what Vestige is compared with.

Debian's later suites have one that needs newer libraries than the machine's. So it is kept below
build/ with its libraries and its dynamic loader, which starts it: natively, and in a software host,
where the files are the same. Its packages are resolved and verified as a software host's are
(vestige/softhost/packages.py). Sources: ld.so(8), qemu(1) -L, Debian's qemu-system-x86 and seabios.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.common.command import Progress
from bench.common.guests import WORK
from bench.common.results import today
from vestige.errors import UsageError
from vestige.softhost import emulator, packages, suites
from vestige.softhost.emulator import PACKAGE, PROGRAM, Version

LATER = ("trixie-backports", "sid")  # as tests/guests/newest.py has a kernel of them
MICROVM = f"{PROGRAM}-microvm"  # Debian's second build: has nothing else, and needs fewer libraries
AT_ONCE = 8  # packages that are fetched between two lines of progress
_FORMAT = 1  # of what is kept
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_DATA = ("usr/share/seabios", "usr/share/qemu")  # the first also for the second's firmware
# The machine's firmware for a microvm: Debian 12's QEMU takes qboot for it, later ones a SeaBIOS,
# which is slower, and boots no kernel where option ROMs are off.
_MICROVM_FIRMWARE, _QBOOT = "bios-microvm.bin", "qboot.rom"
_TIMEOUT = 30.0  # seconds, of a program that is only asked


class Qemu(NamedTuple):
    """`words` begin its command line; `microvm` that of a microvm without PCI."""

    version: str
    words: tuple[str, ...]
    microvm: tuple[str, ...]


@cache
def qemu() -> Qemu:
    """The newest: of Debian's later suites, or that which a software host runs in.

    Raises UsageError where none is installed, or the kept one does not run.
    """
    return found(WORK / f"qemu-{_FORMAT}", Progress("newest_qemu"))


def taken() -> dict[str, str]:
    """What a result has of today and of QEMU."""
    return {"date": today(), "qemu": qemu().version}


def with_firmware(words: Sequence[str], folder: Path) -> list[str]:
    """The same with the firmware in `folder` rather than its own."""
    first = next((at for at, word in enumerate(words) if word == "-L"), len(words))
    return [*words[:first], "-L", str(folder), *words[first:]]


def found(ready: Path, say: Callable[[str], None]) -> Qemu:
    """As `qemu`; `ready` is where the one of a later suite is, or is to be kept.

    It is asked for once: what is kept there is taken as it is, with no look at newer ones.
    """
    _, installed = emulator.installed()
    if not ready.is_dir():
        try:
            configuration = suites.configuration(*LATER)
            [package] = packages.describe([PACKAGE], configuration)
            if upstream(package.version) > installed:
                ready.parent.mkdir(parents=True, exist_ok=True)
                lock = ready.with_suffix(".lock")
                packages.make_once(ready, lambda folder: _fill(folder, configuration, say), lock)
        except UsageError as error:
            say(f"{error}: no QEMU of a later suite; the one that is here is taken")
    if ready.is_dir():
        version = (ready / "version").read_text()
        if tuple(map(int, version.split("."))) > installed:
            return Qemu(version, _words(ready, PROGRAM), _words(ready, MICROVM))
    fallen_back = emulator.ensure(say)
    return Qemu(version_of(fallen_back), tuple(fallen_back.words), tuple(fallen_back.words))


def version_of(qemu: emulator.Emulator) -> str:
    """That of one which a software host may run in, as tables have it."""
    return _dotted(emulator.version_of(qemu.program))


def upstream(version: str) -> Version:
    """QEMU's own, of a package's. Raises UsageError where there is none.

    >>> upstream("1:11.1.3+ds-1")
    (11, 1, 3)
    """
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", version)
    if match is None:
        raise UsageError(f"{PACKAGE} {version}: no version of QEMU's")
    return tuple(map(int, match[1].split(".")))


def libraries(listed: str) -> list[Path]:
    """What a program needs, by what its dynamic loader's --list prints. Raises UsageError."""
    paths = []
    for line in listed.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if rest.startswith("not found"):
            raise UsageError(f"{name}: no package of QEMU's has this library")
        if arrow:  # others are the loader itself, and the kernel's
            paths.append(Path(rest.rpartition(" (")[0]))
    return paths


def fetched(
    wanted: Sequence[packages.Package], configuration: Path, say: Callable[[str], None]
) -> list[Path]:
    """Their files. A few at a time: where that is interrupted, the next time goes on there."""
    files: list[Path] = []
    for start in range(0, len(wanted), AT_ONCE):
        files += packages.fetch(wanted[start : start + AT_ONCE], configuration)
        say(f"  {len(files)} of {len(wanted)} packages")
    return files


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _words(ready: Path, program: str) -> tuple[str, ...]:
    """Libraries are in one folder, so that the loader looks for each in one place."""
    loader, library, firmware = (str(ready / each) for each in ("ld.so", "lib", "firmware"))
    return loader, "--library-path", library, str(ready / program), "-L", firmware


def _fill(folder: Path, configuration: Path, say: Callable[[str], None]) -> None:
    """Have `folder` have all that `_words` names, and the version."""
    wanted = packages.closure([PACKAGE], configuration)
    [package] = [each for each in wanted if each.name == PACKAGE]
    version = _dotted(upstream(package.version))
    size = sum(each.size for each in wanted) // 1_000_000
    say(f"fetching QEMU {version} of Debian's later suites ({size} MB, once)")
    files = fetched(wanted, configuration, say)
    with TemporaryDirectory(prefix="vestige-qemu-") as name:
        tree = Path(name)
        packages.unpack(files, tree)
        take(tree, folder)
    for program in (PROGRAM, MICROVM):
        packages.command([*_words(folder, program), "--version"], timeout=_TIMEOUT)
    (folder / "version").write_text(version)


def take(tree: Path, folder: Path) -> None:
    """Of the unpacked packages in `tree`, what the two programs need. Raises UsageError."""
    library, loader = folder / "lib", folder / "ld.so"
    library.mkdir()
    shutil.copy(tree / LOADER, loader)
    for program in (PROGRAM, MICROVM):
        shutil.copy(tree / "usr/bin" / program, folder)
        asked = [loader, "--inhibit-cache", "--library-path", tree / _LIBRARIES, "--list"]
        words = [str(each) for each in (*asked, folder / program)]
        for path in libraries(packages.command(words, timeout=_TIMEOUT)):
            shutil.copy(path, library)
    firmware = folder / "firmware"
    for data in _DATA:
        shutil.copytree(tree / data, firmware, dirs_exist_ok=True)
    shutil.copy(firmware / _QBOOT, firmware / _MICROVM_FIRMWARE)
