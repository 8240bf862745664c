"""Guests started from Python, quickly: see docs/launcher.md.

    with Launcher() as launcher:
        machine = launcher.start(kernel="vmlinuz", memory="128M", console="guest.log")
        status = machine.wait()

`Launcher`, `Machine` and `Pool` load on first use: the template imports this package too, and each
machine has what it imports.
"""

from typing import TYPE_CHECKING, Any

from vestige.errors import GuestError, UsageError

if TYPE_CHECKING:
    from vestige.launcher.launcher import Launcher, Machine
    from vestige.launcher.pool import Pool

__all__ = ["GuestError", "Launcher", "Machine", "Pool", "UsageError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vestige.launcher import pool  # noqa: PLC0415

    return getattr(pool, name)
