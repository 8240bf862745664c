"""Where the user's cache is: of compiled images, and of what the software host is made of.

XDG Base Directory Specification: $XDG_CACHE_HOME, which is ignored where it is relative, or .cache
in the user's home. Who has no home that a cache can be made in has it among the temporary files,
in a folder that is this user's alone; so has who has one that others could change.

Threat: what is in the cache is executed. So the cache's folder, each folder in it and all above are
this user's or root's, and nobody else's to write (vestige/trust.py); and so is each file.
"""
# pathlib takes 5 ms to import, and this is on the way to every run.
# ruff: noqa: PTH112, PTH119, PTH120, PTH123

import errno
import os
import stat

from vestige import trust
from vestige.errors import UsageError

# Set once the cache is among the temporary files: later calls and the processes we start find it at
# the same place, and say nothing more.
TEMPORARY = "VESTIGE_CACHE"
CURE = "set XDG_CACHE_HOME to a folder of yours to have it elsewhere"
IMAGES = "images"  # the folder of what is compiled
INCOMING = "incoming-"  # what is being written; of a process that was killed, for good

Found = tuple[str, int | None]  # path of a folder; its descriptor (O_PATH), None: it is not there


def folder(name: str) -> str:
    """The path of the folder `name` in the cache, whether it is there yet or not.

    A line on standard error says so where the cache is among the temporary files. Raises
    UsageError if others could change what is found there.
    """
    place, descriptor = _opened(name, make=False)
    if descriptor is not None:
        os.close(descriptor)
    return place


def make(name: str) -> str:
    """As `folder`, which is made where it is missing. Raises OSError if it can't be."""
    place, descriptor = _opened(name, make=True)
    if descriptor is not None:
        os.close(descriptor)
    return place


def open_file(name: str, file: str, *, own: bool = False) -> int:
    """A descriptor for reading a file of the folder `name`, which nobody else could have changed.

    own: nothing is looked for among the temporary files, nor is anything told. Raises OSError where
    there is no such file, UsageError as `folder` does.
    """
    place, descriptor = _opened(name, make=False, own=own)
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{place}/{file}")
    try:
        return trust.open_file(descriptor, file, f"{place}/{file}")
    finally:
        os.close(descriptor)


def write(name: str, file: str, data: bytes, *, own: bool = False) -> str:
    """Have a file of the folder `name` hold `data`, whole or not at all; the folder's path.

    own: as `open_file`. Raises OSError, UsageError as `folder` does.
    """
    place, descriptor = _opened(name, make=True, own=own)
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
    incoming = INCOMING + os.urandom(8).hex()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(incoming, flags, 0o600, dir_fd=descriptor), "wb") as output:
            try:
                output.write(data)
                output.flush()
                os.fsync(output.fileno())  # else a power cut may leave the name, and not the data
                os.replace(incoming, file, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            except BaseException:
                os.unlink(incoming, dir_fd=descriptor)
                raise
    finally:
        os.close(descriptor)
    return place


def _opened(name: str, *, make: bool, own: bool = False) -> Found:
    """The folder `name`; one that can't be opened is not there, unless `make`: then OSError."""
    place, descriptor = _users(make) if own else _root(make)
    for part in name.split("/"):
        place = f"{place}/{part}"
        if descriptor is None:
            continue
        above = descriptor
        try:
            descriptor = trust.enter(above, part, place, make=make)
        except trust.UntrustedError as error:
            raise UsageError(f"{place}: {error.strerror}; remove it, or {CURE}") from None
        except OSError:
            if make:
                raise
            descriptor = None
        finally:
            os.close(above)
    return place, descriptor


def _root(make: bool) -> Found:
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if chosen.startswith("/"):
        return _own(chosen, make)
    earlier = os.environ.get(TEMPORARY, "")
    if earlier.startswith("/"):
        return _private(earlier)
    home = _home()
    if _has_room(home):
        return _own(f"{home}/.cache", make)
    lack = f"no cache can be made in {home}" if home else "this user has no home"
    return _temporary(lack)


def is_own() -> bool:
    """Whether it is in the user's own folders, or can be made there. Nothing is told."""
    try:
        _, descriptor = _users(make=True)
    except OSError:
        return False
    if descriptor is not None:
        os.close(descriptor)
    return True


def _users(make: bool) -> Found:
    """The cache in the user's own folders. Raises OSError where it can't be there."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return _entered(chosen if chosen.startswith("/") else f"{_home()}/.cache", make)


def _home() -> str:
    """The user's home, as HOME or else the password file has it; "" where neither does."""
    home = os.environ.get("HOME", "")
    if home.startswith("/"):
        return home
    import pwd  # noqa: PLC0415 - hardly ever needed

    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
    return home if home.startswith("/") else ""


def _has_room(home: str) -> bool:
    """Whether there is a cache in `home`, be it one that is only read, or one can be made."""
    if not os.path.isdir(home):
        return False
    caches = f"{home}/.cache"
    if os.path.isdir(f"{caches}/vestige"):
        return True
    place = caches if os.path.lexists(caches) else home
    return os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)


def _own(above: str, make: bool) -> Found:
    """The cache in `above`, or among the temporary files where others could change that one."""
    try:
        return _entered(above, make)
    except trust.UntrustedError as error:
        return _temporary(f"{error.filename}: {error.strerror}")
    except OSError:
        if make:
            raise
        return f"{above}/vestige", None


def _entered(above: str, make: bool) -> Found:
    """The cache in `above`. Raises OSError."""
    root = f"{above}/vestige"
    parent = trust.follow(above, make=make)
    try:
        return root, trust.enter(parent, "vestige", root, make=make)
    finally:
        os.close(parent)


def _temporary(lack: str) -> Found:
    from vestige.host.messages import tell  # noqa: PLC0415 - hardly ever needed

    place = os.environ.get("TMPDIR", "")
    root = f"{place if place.startswith('/') else '/tmp'}/vestige-{os.geteuid()}"
    found = _private(root)
    if os.environ.get(TEMPORARY) != root:
        os.environ[TEMPORARY] = root
        # What uses it says why it can't be made.
        there = found[1] is not None
        rest = f": the cache is {root}" if there else f", nor as {root}: there is none"
        tell(f"{lack}{rest}; {CURE}")
    return found


def _private(path: str) -> Found:
    """`path`, made if need be for this user alone. Where it can't be made, its use will fail.

    Threat: all users may make folders among the temporary files. Nobody else can put another in the
    place of one that is ours, as /tmp is sticky.
    """
    try:
        parent = trust.follow(os.path.dirname(path))
    except trust.UntrustedError as error:
        raise _no_place(f"{error.filename}: {error.strerror}") from None
    except OSError:
        return path, None
    try:
        found = trust.enter(parent, os.path.basename(path), path, make=True)
    except (trust.UntrustedError, NotADirectoryError):
        raise _no_place(f"{path}: not a folder of this user alone") from None
    except OSError:
        return path, None
    finally:
        os.close(parent)
    status = os.fstat(found)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(found)
        raise _no_place(f"{path}: not a folder of this user alone")
    return path, found


def _no_place(problem: str) -> UsageError:
    return UsageError(f"{problem}: no place for a cache; {CURE}")
