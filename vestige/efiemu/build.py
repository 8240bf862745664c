"""efiemu.efi: the shell's code, its constants and the monitor in a PE32+ file."""

import ctypes
import struct
from collections.abc import Sequence

from vestige.efiemu import lines, lz4, monitor, pe
from vestige.efiemu.shell import block, pages
from vestige.efiemu.shell.common import Common
from vestige.efiemu.shell.constants import Check, Constants, Load
from vestige.efiemu.shell.main import efi_failed, efi_main
from vestige.efiemu.shell.serve import efi_join, efi_serve
from vestige.efiemu.shell.state import Shell
from vestige.host import images
from vestige.lang import cache
from vestige.lang.apart import Apart, serve
from vestige.lang.build import compile_functions
from vestige.lang.image import Image, Site

if ctypes.sizeof(Shell) > block.SHELL_SIZE or ctypes.sizeof(Common) > pages.PAGE:
    raise MemoryError("the shell's state is larger than what shell/block.py leaves for it")

ENTRIES = efi_main, efi_failed, efi_serve, efi_join
SHELL = "efiemu"  # its name in the cache
SOURCES = ("efiemu", *images.SOURCES)


def application(monitor_image: Image | None = None) -> bytes:
    """The file, with the monitor's image or another: the same sources, the same bytes."""
    image, monitor_image = compiled(monitor_image)
    zeroed = image.memory_size - image.code_size
    code = bytearray(image.code)
    place = image.symbols["efi_constants"]
    struct.pack_into("<Q", code, place, pe.constants_at(image.code, zeroed) - place)
    data = constants(image.sites, monitor_image)
    return pe.application(bytes(code), image.symbols["efi_start"], zeroed, data)


def compiled(monitor_image: Image | None) -> tuple[Image, Image]:
    """The shell and the monitor, from the cache or compiled at the same time."""
    key = cache.key(SOURCES)
    image = cache.kept(SHELL, key)
    if image is not None:
        return image, monitor_image or images.monitor_image()
    with Apart(__name__) as shell:
        monitor_image = monitor_image or images.monitor_image()
        return cache.image(SHELL, key, lambda: Image.from_bytes(shell.result())), monitor_image


def constants(sites: Sequence[Site], image: Image) -> bytes:
    """All of them, as shell/constants.py has them."""
    own = checks(sites)
    header = Constants(checks=ctypes.sizeof(Constants), monitor_check_count=len(image.sites))
    header.loads = ctypes.sizeof(Constants) + len(own)
    loads = [*monitor.loads(image), *told(image)]
    header.load_count = len(loads)
    table, data = b"", b""
    first = header.loads + len(loads) * ctypes.sizeof(Load)
    for place, part in loads:
        packed = min(lz4.pack(part), part, key=len)
        load = Load(place=place, offset=first + len(data), size=len(part), packed=len(packed))
        table += bytes(load)
        data += packed
    return bytes(header) + own + table + data


def told(image: Image) -> list[monitor.Load]:
    """What the shell says of a monitor that failed."""
    tables = (
        (block.MONITOR_LINES, lines.table(image), block.MONITOR_LINES_SIZE),
        (block.MONITOR_CHECKS, checks(image.sites), block.MONITOR_CHECKS_SIZE),
    )
    if any(len(data) > size for _, data, size in tables):
        raise MemoryError("the monitor has more lines than efiemu/shell/block.py leaves room for")
    return [(place, data) for place, data, _ in tables]


def checks(sites: Sequence[Site]) -> bytes:
    """A table of checks: a row of each, then the strings of all rows, each of them once."""
    places, strings = {}, b""
    for text in dict.fromkeys(text for file, _, reason in sites for text in (file, reason)):
        places[text] = ctypes.sizeof(Check) * len(sites) + len(strings)
        strings += lines.string(text)
    rows = [
        Check(file=places[file], line=line, reason=places[reason]) for file, line, reason in sites
    ]
    return b"".join(map(bytes, rows)) + strings


if __name__ == "__main__":
    serve(lambda _: compile_functions(ENTRIES, base=None, runtime="efi").to_bytes())
