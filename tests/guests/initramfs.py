"""Initial RAM file systems: one that only says that init was reached, one that mounts a root."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from tests.guests.kernels import ROOT_MODULES, UNTIL_LATELY, Flavour, kernel, modules_for
from tests.guests.programs import programs
from tests.guests.store import built
from vestige.softhost import packages
from vestige.softhost.cpio import Archive

SCRIPTS = Path(__file__).parent / "scripts"

# Applets that the scripts call by their bare names.
_APPLETS = (
    *("cat", "dd", "dmesg", "findfs", "grep", "insmod", "mount", "poweroff", "reboot", "sed"),
    *("setsid", "sh", "sha256sum", "sleep", "stty", "switch_root", "tr", "umount"),
)

_FOLDERS = ("bin", "dev", "modules", "proc", "root", "sys")


@cache
def busybox(configuration: Path | None = None) -> Path:
    """Debian's statically linked busybox, of the machine's apt or of another."""
    (package,) = packages.describe(["busybox-static"], configuration)

    def build(directory: Path) -> None:
        packages.unpack(packages.fetch([package], configuration), directory)

    name = "busybox" if configuration is None else f"busybox-{configuration.parent.name}"
    return packages.place(built(name, (package.file_name,), build), "bin/busybox")


@cache
def reached(configuration: Path | None = None) -> Path:
    """The smallest guest: prints "INIT-REACHED" among a few facts and powers off. Any kernel of the
    machine's architecture, or of that of an apt with this configuration.
    """
    name = "reached" if configuration is None else f"reached-{configuration.parent.name}"
    return _archive(name, SCRIPTS / "reached-init", (), shell=busybox(configuration))


@cache
def root(flavour: Flavour) -> Path:
    """Mounts the command line's root= on an IDE disk (ro or rw) and runs its init=."""
    return _archive(f"root-{flavour}", SCRIPTS / "root-init", kernel(flavour).modules)


def root_of(name: str, modules: tuple[Path, ...], shell: Path | None = None) -> Path:
    """The same for any kernel, with these modules of it, and a busybox for its processor."""
    return _archive(f"root-{name}", SCRIPTS / "root-init", modules, shell=shell)


@cache
def debian(flavour: Flavour) -> Path:
    """As root(), with what a whole Debian wants of a kernel besides: console, network, entropy."""
    more = ("virtio_console", "virtio_net", "virtio_rng", "af_packet")
    modules = modules_for(flavour, *ROOT_MODULES, *more)
    return _archive(f"debian-{flavour}", SCRIPTS / "root-init", modules)


@cache
def debian_pc() -> Path:
    """As root(), with what a whole Debian wants of a PC: its IDE disk and its mouse."""
    modules = modules_for("standard", *UNTIL_LATELY, "sd_mod", "ata_piix", "ext4", "psmouse")
    return _archive("debian-pc", SCRIPTS / "root-init", modules)


@cache
def debian_efi() -> Path:
    """As root(), with what a whole Debian wants of a disk that is an NVMe's or an IDE's.

    systemd mounts the firmware's variables, and would load efivarfs, but no module is on the root.
    """
    wanted = ("sd_mod", "ata_piix", "nvme", "ext4", "efivarfs")
    modules = modules_for("cloud", *UNTIL_LATELY, *wanted)
    return _archive("debian-efi", SCRIPTS / "root-init", modules)


@cache
def reads(flavour: Flavour) -> Path:
    """Reads an IDE or virtio disk as the command line's reads= says, and powers off."""
    return _archive(f"reads-{flavour}", SCRIPTS / "reads-init", kernel(flavour).modules)


@cache
def platform(flavour: Flavour) -> Path:
    """Reboots, or whatever else the command line's do= says; see the script."""
    modules = modules_for(flavour, "sd_mod", "ata_piix", "pvpanic_mmio")
    return _archive(f"platform-{flavour}", SCRIPTS / "platform-init", modules)


@cache
def pc(flavour: Flavour) -> Path:
    """Says what a kernel has found of a PC's chips and of its disks, and powers off."""
    more = ["psmouse", "bochs"] if flavour == "standard" else []
    modules = modules_for(flavour, "sd_mod", "ata_piix", "virtio_pci", "virtio_blk", *more)
    return _archive(f"pc-{flavour}", SCRIPTS / "pc-init", modules)


@cache
def discs(flavour: Flavour) -> Path:
    """Says what a kernel reads of discs, while they are changed, and powers off; see the script."""
    modules = modules_for(flavour, "sr_mod", "ata_piix", "isofs")
    return _archive(f"discs-{flavour}", SCRIPTS / "discs-init", modules)


def planes(modules: tuple[Path, ...]) -> Path:
    """Draws by vga16fb, one of these modules of a kernel, and powers off; see the script."""
    return _archive("planes", SCRIPTS / "planes-init", modules)


@cache
def tablet(flavour: Flavour) -> Path:
    """Says what events come of a tablet, and powers off; see the script."""
    modules = modules_for(flavour, "virtio_pci", "virtio_input", "evdev")
    return _archive(f"tablet-{flavour}", SCRIPTS / "tablet-init", modules)


@cache
def efiemu(flavour: Flavour) -> Path:
    """Uses the IDE disk of a machine that was taken over, and powers off; see the script."""
    files = {"efiemu.fio": SCRIPTS / "efiemu.fio"}
    return _archive(f"efiemu-{flavour}", SCRIPTS / "efiemu-init", kernel(flavour).modules, files)


@cache
def consoles(flavour: Flavour) -> Path:
    """A root shell on the virtio console, with the entropy device beside it."""
    modules = modules_for(flavour, "virtio_pci", "virtio_console", "virtio_rng")
    return _archive(f"consoles-{flavour}", SCRIPTS / "consoles-init", modules)


@cache
def agent(flavour: Flavour) -> Path:
    """QEMU's guest agent, of Debian's package, at a virtio port; see the script."""
    modules = modules_for(flavour, "virtio_pci", "virtio_console")
    return _archive(f"agent-{flavour}", SCRIPTS / "agent-init", modules, programs("qemu-ga"))


def with_programs(
    name: str,
    init: Path,
    flavour: Flavour,
    programs: Mapping[str, Path],
    modules: tuple[Path, ...] = (),
) -> Path:
    """Has `init`, executable files by their places in the archive, and modules: a disk's if none
    are given."""
    return _archive(name, init, modules or kernel(flavour).modules, programs)


def _archive(
    name: str,
    init: Path,
    modules: tuple[Path, ...],
    programs: Mapping[str, Path] | None = None,
    shell: Path | None = None,
) -> Path:
    """A cpio archive of busybox, `init` as /init, modules with their order, and programs."""
    shell = busybox() if shell is None else shell
    more = {} if programs is None else dict(programs)

    def build(directory: Path) -> None:
        archive = Archive()
        folders = {str(parent) for place in more for parent in Path(place).parents}
        for folder in sorted({*_FOLDERS, *folders} - {"."}):
            archive.directory(folder)
        archive.file("bin/busybox", shell.read_bytes(), executable=True)
        for applet in _APPLETS:
            archive.link(f"bin/{applet}", "busybox")
        for module in modules:
            archive.file(f"modules/{module.name}", module.read_bytes())
        order = "".join(f"{module.stem}\n" for module in modules)
        archive.file("modules/order", order.encode())
        archive.file("init", init.read_bytes(), executable=True)
        for place, path in more.items():
            archive.file(place, path.read_bytes(), executable=True)
        (directory / "initramfs.cpio").write_bytes(archive.finish())

    recipe = (
        (str(shell), *(str(module) for module in modules)),
        tuple((place, sha256(path.read_bytes()).digest()) for place, path in more.items()),
        init.read_bytes(),
    )
    return built(f"initramfs-{name}", recipe, build) / "initramfs.cpio"
