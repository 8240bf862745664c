"""`vestige build`: compile the monitor and the run loop, and keep the images in the cache."""

import time
from pathlib import Path

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import UsageError
from vestige.host import images
from vestige.host.messages import show, tell

SYNTAX = Syntax(
    (Option("--listing", help="print the monitor's source interleaved with its machine code"),),
    note="A later `vestige run` that finds the images in the cache imports no compiler.",
)


def run(arguments: Arguments) -> int:
    """Build what is not cached, say where it is; with --listing, print the listing instead.

    Raises UsageError where the cache can't keep them.
    """
    began = time.monotonic()
    if arguments.has("--listing"):
        from vestige.lang.listing import listing  # noqa: PLC0415 - no other build runs objdump

        show(listing(images.build_monitor()))
        return 0
    images.ensure()
    for path in images.not_cached():
        cure = "make room and let this user write there, or set XDG_CACHE_HOME to another place"
        if Path(path).is_dir():
            cure = "remove the directory of that name"
        raise UsageError(f"{path}: can't be kept; {cure}")
    for path in images.locations():
        show(f"{path}\n")
    tell(f"images ready in {time.monotonic() - began:.1f} s")
    return 0
