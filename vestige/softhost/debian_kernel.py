"""A kernel as Debian packages it: which packages it is, and what is where in them.

Debian 12 has it in one package, linux-image-RELEASE: /boot/vmlinuz-RELEASE, and modules below
/lib/modules. Debian 13 moves these to /usr/lib/modules and packs each by xz. Debian 14, and 13's
backports, split it up: linux-image-RELEASE needs linux-binary-, linux-modules- and
linux-base-RELEASE, and the kernel is /usr/lib/modules/RELEASE/vmlinuz.
"""

import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vestige.errors import UsageError
from vestige.softhost import modules, packages

_PREFIX = "linux-image-"


class KernelPackages(NamedTuple):
    """`release` is such as 6.1.0-56-amd64; `all` begins with linux-image-RELEASE."""

    release: str
    all: list[packages.Package]


def current(flavour: str, configuration: Path | None = None) -> KernelPackages:
    """What linux-image-FLAVOUR stands for now.

    `flavour` is "amd64" or "cloud-amd64". Raises UsageError if apt knows no such kernel.
    """
    (meta,) = packages.describe([_PREFIX + flavour], configuration)
    for name in _names(meta.depends):
        if name.startswith(_PREFIX):
            release = name.removeprefix(_PREFIX)
            (image,) = packages.describe([name], configuration)
            parts = [each for each in _names(image.depends) if each.endswith(f"-{release}")]
            more = packages.describe(parts, configuration) if parts else []
            return KernelPackages(release, [image, *more])
    raise UsageError(
        f"{meta.name} {meta.version} names no kernel package (Depends: {meta.depends})"
    )


def _names(depends: str) -> list[str]:
    """The packages of a Depends field; of alternatives the first."""
    return [words[0] for each in depends.split(",") if (words := each.split())]


class Tree:
    """A kernel's packages, unpacked. Modules go by their names as the kernel has them."""

    def __init__(self, root: Path, release: str) -> None:
        """Raises UsageError if the kernel or its list of modules is in none of the known places."""
        self._release = release
        folder = packages.place(root, f"lib/modules/{release}")
        inside, beside = folder / "vmlinuz", root / "boot" / f"vmlinuz-{release}"
        self.image = inside if inside.exists() else beside
        self._paths = {
            modules.canonical(path.name.partition(".")[0]): path
            for path in (folder / "kernel").rglob("*.ko*")
        }
        built_in = folder / "modules.builtin"
        for file in (self.image, built_in):
            if not file.is_file():
                raise UsageError(
                    f"Debian's kernel {release} has no {file.relative_to(root)}; its packages are "
                    "laid out in an unknown way, use those of Debian 12, 13 or 14"
                )
        lines = built_in.read_text().splitlines()
        self._built_in = {modules.canonical(Path(line).stem) for line in lines}

    def load_order(self, names: Iterable[str], *, if_there: Iterable[str] = ()) -> list[str]:
        """The named modules and all they need, each after those it needs; not what is built in.

        Those of `if_there` may be unknown to this kernel. Raises UsageError for others that are.
        """
        optional = {modules.canonical(name) for name in if_there} - self._paths.keys()
        wanted = [
            name
            for name in map(modules.canonical, names)
            if name not in self._built_in and name not in optional
        ]
        try:
            return modules.load_order(wanted, self._needs)
        except modules.ModuleError as error:
            raise UsageError(
                f"Debian's kernel {self._release} is not as expected: {error}"
            ) from None

    def module(self, name: str) -> bytes:
        """A module's ELF file. Raises UsageError if it is packed in an unknown way."""
        path = self._paths[name]
        content = path.read_bytes()
        if path.suffix == ".ko":
            return content
        if path.suffix == ".xz":
            return lzma.decompress(content)
        raise UsageError(f"{path.name}: a kernel module is packed by xz or not at all")

    def _needs(self, name: str) -> list[str] | None:
        return modules.needs(self.module(name)) if name in self._paths else None
