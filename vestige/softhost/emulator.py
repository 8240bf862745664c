"""Which QEMU the software host is: one whose nested guests wake up when they are interrupted.

QEMU 7.2, Debian 12's, saves the interrupt shadow of STI where a nested guest exits, and does not
load it again at VMRUN (AMD APM volume 2, 15.21.5): an interrupt that KVM held back until after STI
and HLT comes before HLT, and the guest sleeps through what it was woken for, for seconds or for
ever. 10.0, of Debian 12's backports and Debian 13, loads it. Where the installed QEMU is too old
that one is fetched, and kept as the software host's kernel is.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vestige.errors import UsageError
from vestige.softhost import packages, suites

PROGRAM, PACKAGE = "qemu-system-x86_64", "qemu-system-x86"
FIRST_SOUND = (10, 0)  # the first version seen to load the shadow
_NEEDED = (PACKAGE, "qemu-system-data")  # whose other needs the installed QEMU brought
_VERSION_TIMEOUT = 30.0  # seconds
_NEXT_TRY = 24 * 3600.0  # seconds, where the backports could not be had
_FORMAT = 2  # of the cached directory

Version = tuple[int, ...]


class Assertion(NamedTuple):
    """Where a build of QEMU has one: `before`, at an offset of the program. `after` is without."""

    offset: int
    before: bytes
    after: bytes


# MOV to CR8 of a nested guest while KVM waits for it to take interrupts: KVM with a local APIC does
# not intercept it then, and QEMU looks at interrupts without its lock, which it asserts that it has
# (tcg_handle_interrupt; 7.2 to 11.1). In a copy of 10.0.2 of Debian 12's backports the assertion
# can be taken out: a jump is to be taken always.
CR8_ASSERTION = Assertion(
    0x7A2EF0, bytes.fromhex("84c075244c8d05db"), bytes.fromhex("84c0eb244c8d05db")
)
LAST_WITH_CR8_ASSERTION = (11, 1)  # the last version that was tried
CR8_CURE = (
    "a guest that writes CR8, as UEFI firmware and 64-bit Windows do, ends QEMU's emulator; run it"
    " where /dev/kvm works (`vestige doctor`)"
)


class Emulator:
    """A QEMU: `words` begin its command line."""

    def __init__(self, program: Path, firmware: Path | None = None) -> None:
        """`firmware` is a directory of its own, to be looked in first."""
        self.program = program
        self.words = [str(program)] if firmware is None else [str(program), "-L", str(firmware)]


def cached() -> Path:
    """The directory of the fetched QEMU, whether it is there yet or not."""
    return packages.cache_directory("softhost") / f"qemu-{_FORMAT}"


def installed() -> tuple[Path, Version]:
    """The machine's QEMU and its version. Raises UsageError if there is none that runs."""
    program = Path(packages.find_program(PROGRAM, PACKAGE))
    return program, version_of(program)


def is_sound(version: Version) -> bool:
    """Whether nested guests of this version wake up."""
    return version >= FIRST_SOUND


def ensure(progress: Callable[[str], None]) -> Emulator:
    """The QEMU to be used, fetched first where that is needed; `progress` is told of it.

    Where it can't be fetched, the installed one; that is tried again after a day. Raises
    UsageError if none is installed, or the fetched one is not as it was kept or does not run.
    """
    program, version = installed()
    if is_sound(version):
        return Emulator(program)
    ready = cached()
    if not ready.is_dir() and not _failed_lately():
        try:
            packages.keep(ready, lambda directory: _fetch(directory, progress), "QEMU needs 150 MB")
        except UsageError as error:
            _note_failure()
            progress(f"{error}")
    if ready.is_dir():
        _version_of_kept(ready)
        return Emulator(ready / PROGRAM, ready / "firmware")
    progress(f"guests may stand still at times in QEMU {_shown(version)}: 10.0 or newer is wanted")
    return Emulator(program)


def ends_by_cr8() -> bool:
    """Whether a guest that writes CR8 ends the QEMU to be used, as far as that is known.

    One that is to be fetched is Debian's, and as good as the installed one in this. Raises
    UsageError if none is installed, or the fetched one is not as it was kept or does not run.
    """
    program, version = installed()
    ready = cached()
    if not is_sound(version) and ready.is_dir():
        program, version = ready / PROGRAM, _version_of_kept(ready)
    return version[:2] <= LAST_WITH_CR8_ASSERTION and not _lacks(CR8_ASSERTION, program)


def _lacks(assertion: Assertion, program: Path) -> bool:
    """Whether it has been taken out of a copy of the program that it is of."""
    try:
        with program.open("rb") as file:
            file.seek(assertion.offset)
            return file.read(len(assertion.after)) == assertion.after
    except OSError:
        return False  # it runs, and can't be read


def _version_of_kept(ready: Path) -> Version:
    """The fetched one's. Raises UsageError if it is not as it was kept or does not run."""
    packages.check(ready)
    said, complaint = _said(ready / PROGRAM)
    found = _version_in(said)
    if found is None:
        raise packages.damaged(ready / PROGRAM, f"it does not run ({complaint})")
    return found


def version_of(program: Path) -> Version:
    """Such as (7, 2, 22). Raises UsageError if it does not say."""
    said, complaint = _said(program)
    found = _version_in(said)
    if found is None:
        raise UsageError(
            f"{program} --version says no version ({complaint}); install Debian's {PACKAGE} anew"
        )
    return found


def _said(program: Path) -> tuple[str, str]:
    """What `program --version` prints; why it doesn't, for a person, where it prints no such."""
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT,
            check=False,
        )
    except OSError as error:
        return "", str(error.strerror)
    except subprocess.TimeoutExpired as error:
        return "", str(error)
    complaint = done.stderr.strip().partition("\n")[0]
    if not complaint and done.returncode:
        complaint = f"status {done.returncode}"
    return done.stdout, complaint or "nothing at all"


def _version_in(said: str) -> Version | None:
    found = re.search(r"version (\d+(?:\.\d+)+)", said)
    return None if found is None else tuple(map(int, found[1].split(".")))


def _fetch(directory: Path, progress: Callable[[str], None]) -> None:
    configuration = suites.configuration(suites.backports())
    needed = packages.describe(_NEEDED, configuration)
    size = sum(package.size for package in needed) // 1_000_000
    version = needed[-1].version.partition(":")[2].partition("+")[0]
    progress(f"fetching QEMU {version} from Debian's backports ({size} MB, once)")
    tree = directory / "tree"
    packages.unpack(packages.fetch(needed, configuration), tree)
    (tree / "usr" / "bin" / PROGRAM).rename(directory / PROGRAM)
    (tree / "usr" / "share" / "qemu").rename(directory / "firmware")
    shutil.rmtree(tree)
    if not is_sound(version_of(directory / PROGRAM)):
        raise UsageError(f"Debian's backports have QEMU {version}, which is too old as well")


def _stamp() -> Path:
    return cached().with_suffix(".failed")


def _failed_lately() -> bool:
    try:
        age = time.time() - _stamp().stat().st_mtime
    except OSError:
        return False
    return 0 <= age < _NEXT_TRY


def _note_failure() -> None:
    try:
        _stamp().touch()
    except OSError:
        return  # no place to keep anything: tried again at the next start


def _shown(version: Version) -> str:
    return ".".join(map(str, version[:2]))
