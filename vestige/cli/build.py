"""`vestige build`: compile the monitor and the run loop, and keep the images in the cache."""

import argparse
import sys
import time

from vestige.host import images


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vestige build`."""
    parser.epilog = "A later `vestige run` that finds the images in the cache imports no compiler."
    parser.add_argument(
        "--listing",
        action="store_true",
        help="print the monitor's source interleaved with its machine code",
    )


def run(arguments: argparse.Namespace) -> int:
    """Build what is not cached, say where it is; with --listing, print the listing instead."""
    began = time.monotonic()
    images.ensure()
    if arguments.listing:
        print(images.monitor_image().listing(), end="")
        return 0
    for path in images.locations():
        print(path)
    print(f"vestige: images ready in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 0
