"""Programs of Debian's packages, with the shared libraries they need, for initial RAM disks."""

import shutil
from functools import cache
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from tests.guests.store import built
from vestige.softhost import packages

_MERGED = ("bin", "lib", "lib64", "sbin")  # into /usr, as Debian has them since 12
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "ld-linux-x86-64.so.2"
# Packages that have not the names of their programs.
_PACKAGES = {
    "acpidump": "acpica-tools",
    "qemu-ga": "qemu-guest-agent",
    "qemu-img": "qemu-utils",
}
_QUICK = 60.0  # seconds
_UNWINDER = "libgcc_s.so.1"  # which the C library loads by itself to cancel a thread


@cache
def floppy_formatter() -> Path:
    """A program for 32-bit x86: format_floppy.s. It has no library."""
    source = Path(__file__).with_name("format_floppy.s")

    def build(directory: Path) -> None:
        made, linked = directory / "made.o", directory / "format-floppy"
        packages.command(["as", "--32", "-o", str(made), str(source)], timeout=_QUICK)
        packages.command(["ld", "-m", "elf_i386", "-o", str(linked), str(made)], timeout=_QUICK)

    return built("format-floppy", (source.read_text(),), build) / "format-floppy"


@cache
def programs(*names: str) -> dict[str, Path]:
    """Programs of Debian's packages: files by their places in an archive.

    Programs are in bin/, the dynamic loader in lib64/, all libraries in lib/x86_64-linux-gnu/.
    Raises UsageError if apt can't fetch a package.
    """
    wanted = packages.closure([_PACKAGES.get(name, name) for name in names])

    def build(directory: Path) -> None:
        tree = directory / "tree"
        for merged in _MERGED:
            (tree / "usr" / merged).mkdir(parents=True)
            (tree / merged).symlink_to(f"usr/{merged}")
        packages.unpack(packages.fetch(wanted), tree)
        for place, file in _closure(tree, names).items():
            (directory / "files" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, directory / "files" / place)
        shutil.rmtree(tree)

    recipe = (names, tuple(package.file_name for package in wanted))
    directory = built(f"programs-{'-'.join(names)}", recipe, build) / "files"
    return {
        str(path.relative_to(directory)): path
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _closure(tree: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Places and files of the programs in `tree` and of all they are linked with."""
    libraries = {path.name: path for path in (tree / _LIBRARIES).rglob("*.so*")}
    found = {f"lib64/{_LOADER}": libraries[_LOADER].resolve()}
    waiting = []

    def add(library: str) -> None:
        place = f"lib/x86_64-linux-gnu/{library}"
        if place not in found:
            found[place] = libraries[library].resolve()
            waiting.append(found[place])

    for name in names:
        folder = next(each for each in ("bin", "sbin") if (tree / "usr" / each / name).exists())
        found[f"bin/{name}"] = tree / "usr" / folder / name
        waiting.append(found[f"bin/{name}"])
    add(_UNWINDER)
    while waiting:
        for library in _needed(waiting.pop()):
            add(library)
    return found


def _needed(path: Path) -> list[str]:
    """The shared libraries that an ELF file names."""
    with path.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        if not isinstance(dynamic, DynamicSection):
            return []
        return [str(vars(tag)["needed"]) for tag in dynamic.iter_tags("DT_NEEDED")]
