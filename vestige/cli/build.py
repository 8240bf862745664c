"""`vestige build`: compile the monitor and the run loop, and keep the images in the cache."""

import sys
import time

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.host import images

SYNTAX = Syntax(
    (Option("--listing", help="print the monitor's source interleaved with its machine code"),),
    note="A later `vestige run` that finds the images in the cache imports no compiler.",
)


def run(arguments: Arguments) -> int:
    """Build what is not cached, say where it is; with --listing, print the listing instead."""
    began = time.monotonic()
    images.ensure()
    if arguments.has("--listing"):
        print(images.monitor_image().listing(), end="")
        return 0
    for path in images.locations():
        print(path)
    print(f"vestige: images ready in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 0
