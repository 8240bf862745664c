"""The software host: a real /dev/kvm on machines that have none, by emulation.

Boots Debian's kernel under QEMU TCG with one AMD CPU that has SVM and nested paging, mounts the
caller's file system in it, and runs commands there. See docs/softhost.md.

`SoftHost` and its relatives load on first use: the agent inside imports this package too.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vestige.softhost.command import Command, SoftHostError
    from vestige.softhost.host import Completed, SoftHost

__all__ = ["Command", "Completed", "SoftHost", "SoftHostError"]


def __getattr__(name: str) -> Any:
    if name in ("SoftHost", "Completed"):
        from vestige.softhost import host as module  # noqa: PLC0415
    elif name in ("Command", "SoftHostError"):
        from vestige.softhost import command as module  # type: ignore[no-redef] # noqa: PLC0415
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
