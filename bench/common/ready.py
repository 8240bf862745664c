"""What a PC's benchmarks need before they measure: the monitor compiled, the newest QEMU."""

from collections.abc import Callable

from vestige.host import images
from vestige.softhost import emulator


def prepared(say: Callable[[str], None]) -> dict[str, list[str]]:
    """The words that begin QEMU's command line; it is the one that the software host runs in."""
    images.ensure()
    return {"qemu": emulator.ensure(say).words}
