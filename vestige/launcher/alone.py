"""What only one machine at a time can have, of all that a thaw may ask for."""

import os

from vestige.host.options import AGENT_PORT, SOCKET, STDIO, TEMPORARY, DiskOption, RunOptions


def alone_of(asked: RunOptions) -> str | None:
    """Why there can't be a second machine that is asked for so; None: there can."""
    if asked.name is not None:
        return f"name={asked.name}: a name is one run's"
    if asked.net is not None and asked.net.way.startswith("tap:"):
        return f"net={asked.net.way}: a tap is one guest's"
    display = asked.display
    if display is not None and (display.path is not None or display.port is not None):
        return "display: one screen is shown at one place"
    files = {"console": asked.console.backend, "stats": asked.stats, "keys": asked.keys}
    files |= {f"port={each.name}": each.backend for each in asked.ports if each.name != AGENT_PORT}
    for option, place in files.items():
        if place not in (None, STDIO) and _is_one_s(place):
            return f"{option}={place}: a file or socket of one run's"
    written = next(filter(_is_written, asked.disks), None)
    if written is not None:
        return f"{written.words}: a disk without overlay=temporary is one guest's to write"
    return None


def _is_one_s(place: str) -> bool:
    """Whether it is a socket where a run listens, or a file in which no other may write."""
    if place.startswith(SOCKET):
        return True
    return os.path.isfile(place) or not os.path.exists(place)  # noqa: PTH110, PTH113 - as text


def _is_written(disk: DiskOption) -> bool:
    return not (disk.is_optical or disk.read_only or disk.overlay == TEMPORARY)
