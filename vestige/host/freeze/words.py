"""The words of `vestige run` that ask for the machine that one was, as far as it is frozen.

What the machine is connected to is not: a thaw has a console and ports of its own.
"""

import os

from vestige.host.options import (
    AGENT_PORT,
    EMPTY,
    FIRMWARES,
    FLOPPY,
    IDE_IN_MEMORY,
    NOWHERE,
    PC,
    STDIO,
    TEMPORARY,
    VIRTIO,
    DiskOption,
    RunOptions,
)
from vestige.rows import ROWS


def words_of(asked: RunOptions, disc: DiskOption | None = None) -> list[str]:
    """Paths in them are absolute: the thaw may be asked for elsewhere. `disc`: what is in the drive
    by now; None: what was asked for.
    """
    words = [
        f"--machine={asked.machine}",
        f"--memory={asked.memory >> 10}K",
        f"--cpus={asked.cpus}",
    ]
    if asked.kernel is not None:
        words.append(f"--kernel={_absolute(asked.kernel)}")
    if asked.firmware is not None:
        is_name = asked.firmware in FIRMWARES
        words.append(f"--firmware={asked.firmware if is_name else _absolute(asked.firmware)}")
    if asked.machine == PC and asked.vga is not None:
        words.append(f"--vga={asked.vga}")
    if asked.ide == IDE_IN_MEMORY:
        words.append(f"--ide={asked.ide}")
    words += [
        _disk(disc if disk.is_optical and disc is not None else disk)
        for disk in asked.disks
        if disk.bus != FLOPPY
    ]
    words += [f"--floppy={_image(disk)}" for disk in asked.floppies]
    if asked.console.device == VIRTIO:
        words.append(f"--console={VIRTIO}{',early' if asked.console.early else ''}:{STDIO}")
    ports = [port.name for port in asked.ports if not (asked.agent and port.name == AGENT_PORT)]
    words += [f"--port={name}={NOWHERE}" for name in ports]
    for given, word in (
        (asked.agent, "--agent"),
        (asked.entropy, "--rng"),
        (asked.tablet, "--tablet"),
    ):
        words += [word] if given else []
    if asked.net is not None:
        words.append(f"--net={asked.net.words}")
    words += [place.option.name for place in ROWS if place.option and place.field in asked.devices]
    return words


def _disk(disk: DiskOption) -> str:
    if disk.is_optical:
        return f"--cdrom={_image(disk)}" + (",format=raw" if disk.raw else "")
    word = f"--disk={_image(disk)},bus={disk.bus}"
    word += ",discard=unmap" if disk.discard else ""
    word += ",format=raw" if disk.raw else ""
    if disk.overlay is not None:
        temporary = disk.overlay == TEMPORARY
        word += f",overlay={disk.overlay if temporary else doubled(_absolute(disk.overlay))}"
    return word


def _image(disk: DiskOption) -> str:
    if not disk.path:
        return EMPTY
    read_only = disk.read_only and not disk.is_optical
    return doubled(_absolute(disk.path)) + (",readonly" if read_only else "")


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - pathlib is slow to import


def doubled(path: str) -> str:
    """As an option has a path, whose other words stand behind commas."""
    return path.replace(",", ",,")
