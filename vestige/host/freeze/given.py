"""What a thaw is given in the place of what its guest was run with: it is to be the same kind.

Here that is told of the options' words alone, before any file is opened: by the option, what was
given, what the guest has, and what to give. Of what only opening tells, a disk's size and date,
marks.py does.
"""

from collections.abc import Callable, Sequence

from vestige.errors import UsageError
from vestige.host.freeze.words import doubled
from vestige.host.options import (
    EMPTY,
    FLOPPY,
    TAP,
    TEMPORARY,
    UART,
    VIRTIO,
    DiskOption,
    PortOption,
    RunOptions,
)


def check_kinds(path: str, before: RunOptions, given: Callable[[str], str | None]) -> None:
    """Raise UsageError where a word is `given` with the option of a device that the guest of the
    snapshot `path`, which was run with `before`, has not.
    """
    for option, is_there, device in (
        ("--keys", before.has_events, "keyboard and no tablet"),
        ("--display", before.has_vga, "screen"),
        ("--disk", bool(_plain(before)), "disk"),
        ("--cdrom", before.drive is not None, "drive for discs"),
        ("--floppy", bool(before.floppies), "floppy drive"),
        ("--port", bool(_named(before)), "port"),
        ("--agent", before.agent, "port of --agent"),
        ("--net", before.net is not None, "network interface"),
    ):
        word = given(option)
        if word is not None and not is_there:
            raise UsageError(
                f"{f'{option} {word}'.rstrip()}: the guest of {path} has no {device}; leave it out"
            )


def check_same(path: str, before: RunOptions, now: RunOptions) -> None:
    """Raise UsageError where what there is `now` of a kind is not as it was `before`.

    The ports of `now` get the order that they had.
    """
    _check_number(path, "--disk", _plain(before), _plain(now))
    _check_number(path, "--floppy", before.floppies, now.floppies)
    for kind in (_plain, _drives, _floppies):
        for had, have in zip(kind(before), kind(now), strict=True):
            _check_disk(path, had, have)
    _check_ports(path, _named(before), _named(now))
    order = [port.name for port in before.ports]
    now.ports = tuple(sorted(now.ports, key=lambda port: order.index(port.name)))
    _check_console(path, before, now)
    if now.net is not None and before.net is not None:
        if now.net.way.startswith(TAP) != before.net.way.startswith(TAP):
            cure = "tap:NAME" if before.net.way.startswith(TAP) else before.net.way
            raise UsageError(
                f"--net {now.net.words}: the guest of {path} was frozen with --net"
                f" {before.net.way}; give --net {cure}"
            )


def _plain(asked: RunOptions) -> list[DiskOption]:
    """The disks of --disk."""
    return [disk for disk in asked.disks if not disk.is_optical and disk.bus != FLOPPY]


def _drives(asked: RunOptions) -> list[DiskOption]:
    """The drive of --cdrom, if there is one."""
    return [disk for disk in asked.disks if disk.is_optical]


def _floppies(asked: RunOptions) -> list[DiskOption]:
    """The drives of --floppy, also without a disk."""
    return list(asked.floppies)


def _named(asked: RunOptions) -> list[PortOption]:
    """The ports of --port."""
    return list(asked.ports[:-1] if asked.agent else asked.ports)


def _check_number(
    path: str, option: str, had: Sequence[DiskOption], have: Sequence[DiskOption]
) -> None:
    if len(had) != len(have):
        names = ", ".join(disk.path or EMPTY for disk in had)
        raise UsageError(
            f"{option} {', '.join(disk.path or EMPTY for disk in have)}: {len(have)} given, and the"
            f" guest of {path} was frozen with {len(had)}, {names}; give as many {option}, in that"
            " order, or none"
        )


def _check_disk(path: str, had: DiskOption, have: DiskOption) -> None:
    """Raise UsageError where one is not of the kind of the other."""
    cure = _in_words(_like(had, have))
    if have.controller is not None:
        problem = "no frozen guest has a controller"
        cure = f"the disk that {path} was frozen with, {had.path}"
    elif bool(have.path) != bool(had.path):
        problem = f"the drive had {had.path or 'nothing'} in it when {path} was frozen"
        cure = _in_words(had) + (", and change it then" if had.is_optical else "")
    elif have.bus != had.bus:
        problem = f"bus={have.bus}, and in {path} it is on {had.bus}"
    elif have.read_only != had.read_only:
        problem = f"{'readonly' if have.read_only else 'to be written'}, and in {path} it is "
        problem += _written(had)
    elif have.discard != had.discard:
        problem = f"{'' if have.discard else 'no '}discard=unmap, and in {path} it is "
        problem += f"with{'' if had.discard else 'out'}"
    elif _overlay(have) != _overlay(had):
        problem = f"overlay={have.overlay}" if have.overlay is not None else "no overlay"
        problem += f", and in {path} it has "
        problem += f"overlay={had.overlay}" if had.overlay is not None else "none"
    else:
        return
    raise UsageError(f"{have.words}: {problem}; give {cure}")


def _written(disk: DiskOption) -> str:
    if disk.overlay is not None:
        return f"written, to overlay={disk.overlay}"
    return "readonly" if disk.read_only else "to be written"


def _like(had: DiskOption, have: DiskOption) -> DiskOption:
    """The disk that `have` is, as `had` was."""
    overlay = have.overlay if _overlay(have) == _overlay(had) else had.overlay
    return DiskOption(
        have.path, had.bus, had.read_only, had.discard, have.raw, had.is_optical, overlay
    )


def _in_words(disk: DiskOption) -> str:
    """All of the option that asks for it."""
    if not disk.path:
        return disk.words
    words = f"{disk.words.split()[0]} {doubled(disk.path)}"
    words += f",bus={disk.bus}" if disk.bus not in (VIRTIO, FLOPPY) and not disk.is_optical else ""
    words += ",readonly" if disk.read_only and not disk.is_optical else ""
    words += ",discard=unmap" if disk.discard else ""
    words += ",format=raw" if disk.raw else ""
    return words + ("" if disk.overlay is None else f",overlay={doubled(disk.overlay)}")


def _overlay(disk: DiskOption) -> str | None:
    """Of which kind it is: it may have moved."""
    return disk.overlay if disk.overlay in (None, TEMPORARY) else "FILE"


def _check_ports(path: str, had: Sequence[PortOption], have: Sequence[PortOption]) -> None:
    names = [port.name for port in had]
    words = ", ".join(f"--port {name}=…" for name in names)
    for port in have:
        if port.name not in names:
            raise UsageError(
                f"--port {port.name}={port.backend}: the guest of {path} has no such port; give"
                f" {words}, or none"
            )
    for name in names:
        if name not in [port.name for port in have]:
            raise UsageError(
                f"--port {have[0].name}={have[0].backend}: the guest of {path} has port {name},"
                f" too; give {words}, or none"
            )


def _check_console(path: str, before: RunOptions, now: RunOptions) -> None:
    device, backend = now.console.device, now.console.backend
    if device != before.console.device:
        had = f"{VIRTIO}:{backend}" if before.console.device == VIRTIO else backend
        given = f"{VIRTIO}:{backend}" if device == VIRTIO else backend
        kind = "serial port" if before.console.device == UART else "virtio console"
        raise UsageError(
            f"--console {given}: the guest of {path} has its console on a {kind}; give"
            f" --console {had}"
        )
