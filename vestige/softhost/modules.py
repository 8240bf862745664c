"""Which kernel modules need which, from the modules themselves.

Debian's package holds no modules.dep (depmod writes it at installation), but each module names
the ones it needs in its `.modinfo` section. Sources: ELF-64 object file format; System V
ABI, "Object Files" (32-bit files); Linux, include/linux/module.h (MODULE_INFO).
"""

import struct
from collections.abc import Callable, Iterable

# By a file's first bytes: where e_shoff, e_shentsize, e_shnum and e_shstrndx are, and a section's
# sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size.
_FORMS = {
    b"\x7fELF\x01\x01": (struct.Struct("<32xI10xHHH"), struct.Struct("<6I")),
    b"\x7fELF\x02\x01": (struct.Struct("<40xQ10xHHH"), struct.Struct("<IIQQQQ")),
}


class ModuleError(Exception):
    """A module is missing, or is not a kernel module."""


def _section(image: bytes, wanted: bytes) -> bytes:
    """The content of one section of an ELF object."""
    form = _FORMS.get(image[:6])
    if form is None:
        raise ModuleError("not a little-endian ELF file")
    header, section = form
    try:
        table, entry_size, count, names_index = header.unpack_from(image)
        sections = [section.unpack_from(image, table + i * entry_size) for i in range(count)]
        names = sections[names_index][4]
        for name, _, _, _, offset, size in sections:
            start = names + name
            if image[start : image.index(b"\0", start)] == wanted:
                return image[offset : offset + size]
    except (struct.error, IndexError, ValueError) as error:
        raise ModuleError(f"a damaged ELF file: {error}") from None
    raise ModuleError(f"no {wanted.decode()} section")


def needs(image: bytes) -> list[str]:
    """The names of the modules that this module needs, dashes as underscores.

    Raises ModuleError if `image` is not a module.
    """
    for entry in _section(image, b".modinfo").split(b"\0"):
        key, _, value = entry.partition(b"=")
        if key == b"depends":
            return [canonical(name) for name in value.decode().split(",") if name]
    raise ModuleError("a .modinfo section without 'depends'")


def canonical(name: str) -> str:
    """A module's name as the kernel has it: `kvm-amd` is `kvm_amd`."""
    return name.replace("-", "_")


def load_order(wanted: Iterable[str], needs_of: Callable[[str], list[str] | None]) -> list[str]:
    """`wanted` and all they need, each after what it needs.

    `needs_of` says what a module needs; None: there is no such module, which is an error
    (ModuleError), as is a circle.
    """
    order: list[str] = []
    open_names: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in open_names:
            raise ModuleError("modules need each other: " + " -> ".join([*open_names, name]))
        needs = needs_of(name)
        if needs is None:
            needer = f", needed by {open_names[-1]}" if open_names else ""
            raise ModuleError(f"the kernel package has no module {name}{needer}")
        open_names.append(name)
        for need in needs:
            visit(need)
        open_names.pop()
        order.append(name)

    for name in wanted:
        visit(canonical(name))
    return order
