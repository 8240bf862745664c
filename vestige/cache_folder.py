"""Where the user's cache is: of compiled images, and of what the software host is made of.

XDG Base Directory Specification: $XDG_CACHE_HOME, which is ignored where it is relative, or .cache
in the user's home. Who has no home that a cache can be made in has it among the temporary files,
in a folder that is this user's alone.
"""
# pathlib takes 5 ms to import, and this is on the way to every run.
# ruff: noqa: PTH102, PTH112

import os
import stat

from vestige.errors import UsageError

# Set once the cache is among the temporary files: later calls and the processes we start find it at
# the same place, and say nothing more.
TEMPORARY = "VESTIGE_CACHE"
CURE = "set XDG_CACHE_HOME to a folder of yours to have it elsewhere"


def folder(name: str) -> str:
    """The path of the folder `name` in the cache, whether it is there yet or not.

    A line on standard error says so where the cache is among the temporary files. Raises
    UsageError if what is found there is not this user's alone.
    """
    return f"{_root()}/{name}"


def _root() -> str:
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if chosen.startswith("/"):
        return f"{chosen}/vestige"
    earlier = os.environ.get(TEMPORARY, "")
    if earlier.startswith("/"):
        return _private(earlier)
    home = _home()
    if _has_room(home):
        return f"{home}/.cache/vestige"
    return _temporary(home)


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


def _temporary(home: str) -> str:
    from vestige.host.messages import tell  # noqa: PLC0415 - hardly ever needed

    place = os.environ.get("TMPDIR", "")
    root = _private(f"{place if place.startswith('/') else '/tmp'}/vestige-{os.geteuid()}")
    os.environ[TEMPORARY] = root
    lack = f"no cache can be made in {home}" if home else "this user has no home"
    # What uses it says why it can't be made.
    rest = f": the cache is {root}" if os.path.isdir(root) else f", nor as {root}: there is none"
    tell(f"{lack}{rest}; {CURE}")
    return root


def _private(path: str) -> str:
    """`path`, made if need be for this user alone. Where it can't be made, its use will fail.

    Threat: all users may make folders among the temporary files, and what is in the cache is
    executed. Nobody else can put another in the place of one that is ours, as /tmp is sticky.
    """
    try:
        os.mkdir(path, 0o700)
    except OSError:
        pass
    else:
        return path
    try:
        status = os.lstat(path)
    except OSError:
        return path
    mode = status.st_mode
    if not stat.S_ISDIR(mode) or status.st_uid != os.geteuid() or stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"{path}: not a folder of this user alone: no place for a cache; {CURE}")
    return path
