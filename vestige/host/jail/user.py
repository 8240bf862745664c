"""Another user than root for the machine's process: credentials(7)."""

import os

from vestige.errors import UsageError

Ids = tuple[int, int]  # of a user, and of a group


def find(word: str) -> Ids:
    """The user `word`, by name or number, and that user's group.

    Raises UsageError where there is none, or this process may not be another user.
    """
    import pwd  # noqa: PLC0415 - few runs need it

    is_number = word.isascii() and word.isdigit()
    try:
        entry = pwd.getpwuid(int(word)) if is_number else pwd.getpwnam(word)
    except (KeyError, OverflowError):
        raise UsageError(f"--jail uid={word}: no such user; `getent passwd` has them") from None
    if entry.pw_uid == 0:
        raise UsageError(f"--jail uid={word}: root is the user without it; leave it out")
    if os.geteuid() != 0:
        raise UsageError(f"--jail uid={word}: only root can be another user; leave it out")
    return entry.pw_uid, entry.pw_gid


def become(ids: Ids) -> None:
    """Be that user, and in that group alone, for good. Raises OSError."""
    user, group = ids
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
