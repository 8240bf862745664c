"""Debian's packages as files: resolved by apt, kept in the user's cache, unpacked, not installed.

apt is the machine's own, or one with other lists where a function is given a `configuration`, the
path of a file as apt.conf(5) has it. Sources: apt-get(8), apt-cache(8), apt-secure(8), dpkg-deb(1),
deb-control(5).

What is believed, and why. apt's lists: when apt fetches them it verifies the signature of their
Release file, and by this their own SHA256; apt-get downloads nothing of lists without a signature.
A package's file: whenever it is taken, downloaded now or before, it has the SHA256 that the lists
give. What was unpacked from packages, and lists in the cache: only this user or root can have
changed them (vestige/trust.py).
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from vestige import cache_folder, trust
from vestige.errors import UsageError

_DOWNLOAD_TIMEOUT = 900.0  # seconds
_QUERY_TIMEOUT = 60.0
_UNPACK_TIMEOUT = 300.0
_SIZES = "sizes"  # in what `keep` filled: a line for each other file, its size and its path
_UMASK = 0o022  # of Debian's tools: nobody else may write what they leave
_FOLDER = "softhost"  # in the cache: what was unpacked
_ARCHIVES = "debian"  # in the cache: packages' files


class Package:
    """One package as apt's lists describe it, and the name of its file."""

    def __init__(self, entry: str) -> None:
        """`entry` is the package's paragraph in apt's lists."""
        pairs = (line.partition(": ") for line in entry.splitlines())
        fields = {key: value for key, _, value in pairs}
        self._entry = entry
        self.name = fields["Package"]
        self.version = fields["Version"]
        self.size = int(fields["Size"])
        self.sha256 = fields.get("SHA256", "")  # in hexadecimal digits
        self.depends = fields.get("Depends", "")
        version = self.version.replace(":", "%3a")  # as apt-get download writes an epoch's colon
        self.file_name = f"{self.name}_{version}_{fields['Architecture']}.deb"

    def index_entry(self, place: str) -> str:
        """The package's paragraph for the index of an archive that has its file at `place`."""
        lines = [line for line in self._entry.splitlines() if not line.startswith("Filename: ")]
        return "\n".join([*lines, f"Filename: {place}"])


def cache_directory(name: str) -> Path:
    """The directory `name` in the user's cache: see vestige/cache_folder.py."""
    return Path(cache_folder.folder(name))


def find_program(name: str, package: str) -> str:
    """The path of a program that a Debian package holds. Raises UsageError without it."""
    path = shutil.which(name)
    if path is None:
        raise UsageError(
            f"{name}: not found; the software host needs it: 'apt-get install {package}' as root"
        )
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file: who comes second waits, then finds the work done."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(ready: Path, fill: Callable[[Path], None], needs: str) -> None:
    """Have the directory `ready` of the cache filled where it isn't there yet: see `make_once`.

    `check` later tells whether it is still as it was filled.

    `needs` is for the error of who has no room: "X needs 5 MB". Raises UsageError if it can't be
    kept, and what `fill` raises.
    """

    def fill_and_note_sizes(directory: Path) -> None:
        fill(directory)
        note_sizes(directory)

    try:
        cache_folder.make(_FOLDER)
        make_once(ready, fill_and_note_sizes, ready.parent / "lock")
    except OSError as error:
        raise UsageError(
            f"{error.filename or ready.parent}: {error.strerror}; {needs} of free space here for a "
            "moment, or set XDG_CACHE_HOME to another place"
        ) from None


def note_sizes(directory: Path) -> None:
    """Keep in `directory` what `check` compares: the sizes of its files. Raises OSError.

    From now on nobody else may write them.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = [f"{path.stat().st_size} {path.relative_to(directory)}\n" for path in files]
    (directory / _SIZES).write_text("".join(lines))
    for path in directory.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~trust.OTHERS_WRITE)


def require_trusted(directory: Path, name: str) -> None:
    """Raise UsageError where another user could have changed something in `directory`.

    That is the directory `name` of the cache. Its files may then be used by their paths. Raises
    OSError where something in it can't be looked at.
    """
    cache_folder.folder(name)
    for place, folders, files, descriptor in os.fwalk(directory, onerror=_raise):
        trust.require(os.fstat(descriptor), place)
        for each in (*folders, *files):
            path = f"{place}/{each}"
            status = os.stat(each, dir_fd=descriptor, follow_symlinks=False)
            trust.require(status, path)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise trust.UntrustedError(path, "neither a file nor a folder")


def _raise(error: OSError) -> None:
    raise error


def check(ready: Path) -> None:
    """Raise UsageError where a directory that `keep` filled is not as it was filled.

    That is, a file is missing, or cut short, or another user could have changed it.
    """
    file = ready / _SIZES
    try:
        require_trusted(ready, f"{_FOLDER}/{ready.name}")
        lines = file.read_text().splitlines()
        for line in lines:
            expected, _, name = line.partition(" ")
            file = ready / name
            size = file.stat().st_size
            if size != int(expected):
                raise damaged(file, f"{size} bytes, {expected} expected")
        if not lines:
            raise damaged(file, "empty")
    except OSError as error:
        raise damaged(Path(error.filename or file), str(error.strerror)) from error
    except ValueError:
        raise damaged(ready / _SIZES, "not as it was written") from None


def damaged(file: Path, problem: str) -> UsageError:
    """What to say of a file in a directory that `keep` filled, or of one below that."""
    cache = cache_directory(_FOLDER)
    return UsageError(f"{file}: {problem}; remove {cache} to have it fetched anew")


def make_once(ready: Path, fill: Callable[[Path], None], lock: Path) -> None:
    """Have `fill` fill the directory `ready` where it isn't there yet; whole or not at all.

    `lock` is a file beside it: one process at a time fills what has this lock, and others wait.
    """
    if ready.is_dir():
        return
    prefix = f"incoming-{lock.stem}-"
    with locked(lock):
        if ready.is_dir():
            return
        for left_over in ready.parent.glob(f"{prefix}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        incoming = Path(tempfile.mkdtemp(prefix=prefix, dir=ready.parent))
        try:
            fill(incoming)
            incoming.rename(ready)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def command(
    argv: list[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
    configuration: Path | None = None,
) -> str:
    """Run one of Debian's tools; its standard output. Raises UsageError with its complaint."""
    apt = {} if configuration is None else {"APT_CONFIG": str(configuration)}
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **apt},
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            umask=_UMASK,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(
            f"{argv[0]}: not found; kernels come from Debian's packages, which needs a Debian "
            "machine"
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{argv[0]} did not end within {timeout:.0f} s; check the network and try again"
        ) from None
    if done.returncode != 0:
        complaint = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UsageError(
            f"{' '.join(argv[:2])} failed: {complaint[-1] if complaint else 'no message'}; "
            "run 'apt-get update' as root and try again"
        )
    return done.stdout


def describe(names: Iterable[str], configuration: Path | None = None) -> list[Package]:
    """The candidate versions of the named packages, sorted by name.

    Raises UsageError if apt knows no such package.
    """
    wanted = sorted(set(names))
    text = command(
        ["apt-cache", "show", "--no-all-versions", *wanted],
        timeout=_QUERY_TIMEOUT,
        configuration=configuration,
    )
    found: dict[str, Package] = {}
    for paragraph in text.strip().split("\n\n"):
        package = Package(paragraph)
        found[package.name] = package
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UsageError(
            f"apt knows no package {missing[0]}; run 'apt-get update' as root and try again"
        )
    return [found[name] for name in wanted]


def of_priority(*priorities: str) -> list[str]:
    """The names of all packages that apt's lists give one of these priorities, sorted."""
    lines = {f"Priority: {priority}" for priority in priorities}
    text = command(["apt-cache", "dumpavail"], timeout=_QUERY_TIMEOUT)
    names = set()
    for paragraph in text.split("\n\n"):
        fields = paragraph.splitlines()
        if not lines.isdisjoint(fields):
            names.add(fields[0].removeprefix("Package: "))
    return sorted(names)


def sources() -> list[str]:
    """apt's sources of binary packages, as lines of a sources.list, without names and passwords."""
    form = "$(SITE) $(RELEASE) $(COMPONENT)"
    wanted = ["Created-By: Packages", "Origin: Debian"]
    text = command(["apt-get", "indextargets", "--format", form, *wanted], timeout=_QUERY_TIMEOUT)
    lines = []
    for line in text.splitlines():
        site, release, component = line.split()
        scheme, slashes, rest = site.partition("//")
        path = rest.rpartition("@")[2]
        lines.append(f"deb {scheme}{slashes}{path} {release} {component}")
    return lines


def closure(names: Iterable[str], configuration: Path | None = None) -> list[Package]:
    """The named packages and all they need on a machine on which nothing is installed."""
    plan = command(
        [
            "apt-get",
            "--simulate",
            "--no-install-recommends",
            "-oDir::State::status=/dev/null",
            "-oDebug::NoLocking=true",
            "install",
            *names,
        ],
        timeout=_QUERY_TIMEOUT,
        configuration=configuration,
    )
    installs = (line.split()[1] for line in plan.splitlines() if line.startswith("Inst "))
    return describe(installs, configuration)


def fetch(packages: Iterable[Package], configuration: Path | None = None) -> list[Path]:
    """The packages' files, in the order given; those the cache lacks are downloaded.

    All are as apt's lists describe them: size and SHA256. Raises UsageError if a package can't be
    had or kept.
    """
    wanted = list(packages)
    cache = cache_directory(_ARCHIVES)
    try:
        cache_folder.make(_ARCHIVES)
        missing = [package for package in wanted if not _is_as_listed(_ARCHIVES, package)]
        if missing:
            _download(missing, cache, configuration)
    except OSError as error:
        raise UsageError(
            f"{error.filename or cache}: {error.strerror}; Debian's packages are kept here, "
            "set XDG_CACHE_HOME to another place if need be"
        ) from None
    return [cache / package.file_name for package in wanted]


def unpack(archives: Iterable[Path], tree: Path) -> None:
    """Unpack packages into `tree`, which is made if missing, one after another.

    A symbolic link to a directory stays one: a tree whose /bin is a link to usr/bin, as on
    Debian, keeps it. Raises UsageError if a file is damaged or there is no room.
    """
    tree.mkdir(parents=True, exist_ok=True)
    extract = ["tar", "--extract", "--keep-directory-symlink", "--directory", str(tree)]
    for archive in archives:
        contents = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        with subprocess.Popen(
            contents, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as source:
            command(extract, timeout=_UNPACK_TIMEOUT, stdin=source.stdout)
        if source.returncode != 0:
            raise UsageError(f"{archive}: not a whole Debian package; remove it and try again")


def place(tree: Path, path: str) -> Path:
    """Where unpacked packages have `path`, below /bin, /lib or /sbin: from Debian 13 on in /usr."""
    later = tree / "usr" / path
    return later if later.exists() else tree / path


def _is_as_listed(folder: str, package: Package) -> bool:
    """Whether a folder of the cache has the package's file, with the SHA256 that apt's lists give.

    And nobody else may write it, so that it stays as it is.
    """
    try:
        descriptor = cache_folder.open_file(folder, package.file_name)
    except (FileNotFoundError, trust.UntrustedError):
        return False
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size != package.size:
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == package.sha256


def _download(missing: list[Package], cache: Path, configuration: Path | None) -> None:
    """Download into a directory of this call's own; each file then appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="incoming-", dir=cache) as name:
        incoming = Path(name)
        command(
            ["apt-get", "-q", "download", *(f"{each.name}={each.version}" for each in missing)],
            timeout=_DOWNLOAD_TIMEOUT,
            cwd=incoming,
            configuration=configuration,
        )
        for package in missing:
            file = incoming / package.file_name
            if not file.is_file():
                raise UsageError(f"apt-get download left no {file.name}; run it by hand to see why")
            if not _is_as_listed(f"{_ARCHIVES}/{incoming.name}", package):
                raise UsageError(
                    f"apt-get download left a {file.name} that is not as apt's lists describe it "
                    f"(SHA256 {package.sha256 or 'none'}); run 'apt-get update' as root and try "
                    "again"
                )
            file.replace(cache / package.file_name)
