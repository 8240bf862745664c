"""Where a benchmark runs: natively, and the same module once more in a software host."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.common.pc import ROOT
from vestige.errors import GuestError

NATIVE, INSIDE = "native", "software host"
_LIMIT = 3600.0  # seconds, of all that is measured inside


def in_the_software_host(
    module: str,
    words: Sequence[str],
    say: Callable[[str], None],
    disks: Sequence[Path] = (),
) -> Any:
    """What `python -m module words` prints there, which is JSON. `disks`: images that it can read,
    /dev/vda and so on.
    """
    from vestige.softhost import SoftHost  # noqa: PLC0415 - not needed inside

    host = SoftHost(disks=[(disk, True) for disk in disks])
    host.start(say)
    with host:
        done = host.capture([sys.executable, "-m", module, *words], timeout=_LIMIT, cwd=ROOT)
    if done.status:
        raise GuestError(done.stderr.decode(errors="replace"))
    return json.loads(done.stdout)
