"""No file by its name, no port of a network, no process outside: landlock(7)."""

import os

from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u64

SYS_CREATE_RULESET, SYS_RESTRICT_SELF = 444, 446
VERSION = 1  # flag: ask for the newest version there is
# By version, what it can refuse: of files, of networks, and towards processes outside.
FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
NETWORKS, FIRST_WITH_NETWORKS = 0x3, 4
SCOPES, FIRST_WITH_SCOPES = 0x3, 6
SIZES = {1: 8, FIRST_WITH_NETWORKS: 16, FIRST_WITH_SCOPES: 24}


class Ruleset(Struct):
    """struct landlock_ruleset_attr."""

    files: u64
    networks: u64
    scopes: u64


def version() -> int:
    """Of the kernel's Landlock. Raises OSError where it has none."""
    return _call(SYS_CREATE_RULESET, 0, 0, VERSION)


def refuse_all() -> None:
    """For the calling thread, and those that it starts, which has PR_SET_NO_NEW_PRIVS.

    Raises OSError where the kernel has no Landlock.
    """
    there = version()
    rules = Ruleset(files=FILES[min(there, max(FILES))])
    rules.networks = NETWORKS if there >= FIRST_WITH_NETWORKS else 0
    rules.scopes = SCOPES if there >= FIRST_WITH_SCOPES else 0
    size = max(size for first, size in SIZES.items() if first <= there)
    ruleset = _call(SYS_CREATE_RULESET, address_of(rules), size, 0)
    try:
        _call(SYS_RESTRICT_SELF, ruleset, 0, 0)
    finally:
        os.close(ruleset)


def _call(number: int, first: int, second: int, third: int) -> int:
    answer = syscall(number, first, second, third, 0, 0, 0)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer
