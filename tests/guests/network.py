"""A guest with a network interface: an initial RAM file system with Debian's tools for that."""

import shutil
from functools import cache
from pathlib import Path

from tests.guests.initramfs import SCRIPTS, busybox
from tests.guests.kernels import Flavour, modules_for
from tests.guests.store import built
from vestige.softhost import packages
from vestige.softhost.cpio import Archive

# The programs, and of all that apt adds the libraries they are linked with.
_PROGRAMS = ("ethtool", "iperf3")
_LIBRARIES = ("libc6", "libgcc-s1", "libiperf0", "libmnl0", "libsctp1", "libssl3")
_MODULES = ("virtio_pci", "virtio_net", "af_packet")  # DHCP needs af_packet
_APPLETS = (
    *("awk", "cat", "grep", "head", "insmod", "ip", "ls", "mount", "nc", "ping", "poweroff"),
    *("sed", "sh", "sha256sum", "sleep", "timeout", "udhcpc", "wget"),
)


@cache
def tools() -> Path:
    """A directory with the programs and their libraries, laid out as they are installed."""
    wanted = [
        package
        for package in packages.closure(_PROGRAMS)
        if package.name in (*_PROGRAMS, *_LIBRARIES)
    ]

    def build(directory: Path) -> None:
        packages.unpack(packages.fetch(wanted), directory)
        shutil.rmtree(directory / "usr" / "share", ignore_errors=True)

    return built("network-tools", tuple(package.file_name for package in wanted), build)


@cache
def base(flavour: Flavour) -> Path:
    """Loads the modules, gives eth0 a name and a carrier, and runs /job of another archive."""
    shell, programs = busybox(), tools()
    modules = modules_for(flavour, *_MODULES)

    def build(directory: Path) -> None:
        archive = Archive()
        for folder in ("bin", "dev", "modules", "proc", "sys", "tmp", "usr"):
            archive.directory(folder)
        _add_tree(archive, programs)
        archive.file("bin/busybox", shell.read_bytes(), executable=True)
        for applet in _APPLETS:
            archive.link(f"bin/{applet}", "busybox")
        for module in modules:
            archive.file(f"modules/{module.name}", module.read_bytes())
        archive.file("modules/order", "".join(f"{each.stem}\n" for each in modules).encode())
        for name, script in (("init", "network-init"), ("dhcp", "network-dhcp")):
            archive.file(name, (SCRIPTS / script).read_bytes(), executable=True)
        (directory / "initramfs.cpio").write_bytes(archive.finish())

    recipe = (str(shell), str(programs), tuple(str(module) for module in modules))
    return built(f"initramfs-network-{flavour}", recipe, build) / "initramfs.cpio"


def with_job(flavour: Flavour, job: str, path: Path) -> Path:
    """The initial RAM file system at `path`, whose init runs `job`, a shell script."""
    archive = Archive()
    archive.file("job", job.encode(), executable=True)
    path.write_bytes(base(flavour).read_bytes() + archive.finish())
    return path


def _add_tree(archive: Archive, tree: Path) -> None:
    """All of a tree, links as links."""
    for place in sorted(tree.rglob("*")):
        name = str(place.relative_to(tree))
        if place.is_symlink():
            archive.link(name, str(place.readlink()))
        elif place.is_dir():
            archive.directory(name)
        elif place.is_file():
            archive.file(name, place.read_bytes(), executable=bool(place.stat().st_mode & 0o100))
