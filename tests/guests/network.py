"""A guest with a network interface: an initial RAM file system with Debian's tools for that."""

from functools import cache
from pathlib import Path

from tests.guests.initramfs import SCRIPTS, busybox
from tests.guests.kernels import Flavour, modules_for
from tests.guests.programs import programs
from tests.guests.store import built
from vestige.softhost.cpio import Archive

TOOLS = ("ethtool", "iperf3")
MODULES = ("virtio_pci", "virtio_net", "af_packet")  # DHCP needs af_packet
_APPLETS = (
    *("awk", "blkdiscard", "cat", "cut", "dd", "fstrim", "grep", "head", "insmod", "ip", "ls"),
    *("mkdir", "mount", "nc", "ping", "poweroff", "rm", "sed", "sh", "sha256sum", "sleep", "sync"),
    *("tail", "timeout", "tr", "udhcpc", "umount", "wget", "yes"),
)


@cache
def base(flavour: Flavour, tools: tuple[str, ...], modules: tuple[str, ...]) -> Path:
    """Loads the modules, gives eth0 a name and a carrier, and runs /job of another archive."""
    shell, files = busybox(), programs(*tools)
    loaded = modules_for(flavour, *modules)

    def build(directory: Path) -> None:
        archive = Archive()
        folders = {str(parent) for place in files for parent in Path(place).parents}
        fixed = {"bin", "dev", "mnt", "modules", "proc", "sys", "tmp"}
        for folder in sorted({*folders, *fixed} - {"."}):
            archive.directory(folder)
        archive.file("bin/busybox", shell.read_bytes(), executable=True)
        for applet in _APPLETS:
            archive.link(f"bin/{applet}", "busybox")
        for place, path in files.items():
            archive.file(place, path.read_bytes(), executable=True)
        for module in loaded:
            archive.file(f"modules/{module.name}", module.read_bytes())
        archive.file("modules/order", "".join(f"{each.stem}\n" for each in loaded).encode())
        for name, script in (("init", "network-init"), ("dhcp", "network-dhcp")):
            archive.file(name, (SCRIPTS / script).read_bytes(), executable=True)
        (directory / "initramfs.cpio").write_bytes(archive.finish())

    recipe = (str(shell), tuple(map(str, files.values())), tuple(map(str, loaded)))
    name = f"initramfs-network-{flavour}-{'-'.join(tools)}"
    return built(name, recipe, build) / "initramfs.cpio"


def with_job(
    flavour: Flavour,
    job: str,
    path: Path,
    tools: tuple[str, ...] = TOOLS,
    modules: tuple[str, ...] = MODULES,
) -> Path:
    """The initial RAM file system at `path`, whose init runs `job`, a shell script."""
    archive = Archive()
    archive.file("job", job.encode(), executable=True)
    path.write_bytes(base(flavour, tools, modules).read_bytes() + archive.finish())
    return path
