"""Files and folders that nobody but this user and root can have changed.

For what is executed, or believed, because of where it was found. A path is walked from / with a
descriptor of each folder (openat(2)), and it is the descriptor that is looked at, so that the
folder looked at is the one that is used. Nobody else can change a path that was walked: not while
it is used by its name either, as by a program that takes nothing else.
"""
# This is on the way to every run: neither pathlib nor contextlib is imported.
# ruff: noqa: PTH123, SIM105

import errno
import os
import stat

# O_PATH asks for no right to read a folder, and opens a link itself, or whatever it is.
ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = ENTRY | os.O_DIRECTORY  # this mounts what autofs has there
# Without waiting for the other side of a FIFO.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# With an access control list, the group's bits are the most that it gives anybody: acl(5).
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LINKS = 40  # followed in one path, as by Linux: path_resolution(7)
PRIVATE = 0o700  # mode of the folders made here
# user_namespaces(7): lines of a first user inside, a first one outside, and a count; and who all
# others are inside.
USERS, OTHER_USERS = "/proc/self/uid_map", "/proc/sys/kernel/overflowuid"


class UntrustedError(OSError):
    """Somebody else could have put it there, or changed it."""

    def __init__(self, path: str, problem: str) -> None:
        """`problem` is what is wrong with `path`."""
        super().__init__(errno.EPERM, problem, path)


def require(status: os.stat_result, path: str, *, above: bool = False) -> None:
    """Raise UntrustedError where `status` is not that of something of this user's or root's alone.

    above: it is on the way to what is looked at more closely. So a folder will do in which each
    user's entries are safe from the others' (sticky, as /tmp); and so will root's in a user
    namespace that root is not in, though there it looks as others' do.
    """
    mode, owner = status.st_mode, status.st_uid
    if owner not in (os.geteuid(), 0) and not (above and _is_unmapped(owner)):
        raise UntrustedError(path, f"belongs to user {owner}, not to this one or root")
    if stat.S_ISLNK(mode) or not mode & OTHERS_WRITE:
        return
    if not (above and stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        raise UntrustedError(path, "others may write there (chmod go-w)")


def follow(path: str, *, make: bool = False) -> int:
    """A descriptor (O_PATH) of the folder `path`; none on the way to it can be swapped by others.

    Links are followed, by the same rules: homes often are such. / itself is not looked at: whose
    it is can change Python, too. make: folders that are missing are made, for this user alone.
    Raises OSError, also where it is no folder.
    """
    names, place, links = path.split("/")[::-1], "", 0
    here = os.open("/", FOLDER)
    try:
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            there = _open(here, name, make)
            try:
                status = os.fstat(there)
                require(status, f"{place}/{name}", above=True)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > LINKS:
                        raise _error(errno.ELOOP, path)
                    target = os.readlink("", dir_fd=there)
                    names += target.split("/")[::-1]
                    if not target.startswith("/"):
                        continue
                    root = os.open("/", FOLDER)
                    os.close(here)
                    here, place = root, ""
                elif stat.S_ISDIR(status.st_mode):
                    place = f"{place}/{name}"
                    here, there = there, here
                else:
                    raise _error(errno.ENOTDIR, f"{place}/{name}")
            finally:
                os.close(there)
    except BaseException:
        os.close(here)
        raise
    return here


def enter(folder: int, name: str, path: str, *, make: bool = False) -> int:
    """A descriptor (O_PATH) of the folder `name` in `folder`: no link, and nobody else's to write.

    `path` is for errors. make: it is made, for this user alone, where it is missing. Raises
    OSError.
    """
    found = _open(folder, name, make)
    try:
        status = os.fstat(found)
        require(status, path)
        if stat.S_ISLNK(status.st_mode):
            raise UntrustedError(path, "a symbolic link, not a folder")
        if not stat.S_ISDIR(status.st_mode):
            raise _error(errno.ENOTDIR, path)
    except BaseException:
        os.close(found)
        raise
    return found


def open_file(folder: int, name: str, path: str) -> int:
    """A descriptor for reading the file `name` in `folder`, which was entered.

    One with other names may be written through these, and is refused as a link is. `path` is for
    errors. Raises OSError.
    """
    try:
        found = os.open(name, FILE, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UntrustedError(path, "a symbolic link, not a file") from None
    try:
        status = os.fstat(found)
        require(status, path)
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedError(path, "not a file")
        if status.st_nlink > 1:
            raise UntrustedError(path, "has another name")
    except BaseException:
        os.close(found)
        raise
    return found


def _open(folder: int, name: str, make: bool) -> int:
    """The entry `name`, whatever it is, made a folder where it is missing and `make` says so."""
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except NotADirectoryError:
        return os.open(name, ENTRY, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    try:
        os.mkdir(name, PRIVATE, dir_fd=folder)
    except FileExistsError:
        pass  # somebody was faster: what it is will be looked at
    return os.open(name, ENTRY, dir_fd=folder)


def _is_unmapped(user: int) -> bool:
    """Whether `user` is nobody's own number here, but that of all whom this namespace lacks."""
    try:
        with open(OTHER_USERS) as file:
            if int(file.read()) != user:
                return False
        with open(USERS) as file:
            ranges = [(int(first), int(count)) for first, _, count in map(str.split, file)]
    except (OSError, ValueError):
        return False
    return not any(first <= user < first + count for first, count in ranges)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
