"""Kernel modules: what they need, and the order in which they load."""

import struct

import pytest

from vestige.softhost import modules


def module(modinfo: bytes, *, section: bytes = b".modinfo") -> bytes:
    """A minimal ELF-64 object with one section of interest."""
    names = b"\0" + section + b"\0.shstrtab\0"
    content_at = 64
    names_at = content_at + len(modinfo)
    table_at = names_at + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), 1, 62, 1, 0, 0, table_at, 0, 64, 0, 0, 64, 3, 2,
    )  # fmt: skip

    def entry(name: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)

    table = (
        bytes(64)
        + entry(1, content_at, len(modinfo))
        + entry(2 + len(section), names_at, len(names))
    )
    return header + modinfo + names + table


def test_a_module_names_what_it_needs() -> None:
    image = module(b"license=GPL\0depends=kvm,irqbypass,snd-pcm\0name=kvm_amd\0")
    assert modules.needs(image) == ["kvm", "irqbypass", "snd_pcm"]


def module_32(modinfo: bytes) -> bytes:
    """The same, an ELF-32 object."""
    names = b"\0.modinfo\0.shstrtab\0"
    names_at = 52 + len(modinfo)
    table_at = names_at + len(names)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), 1, 3, 1, 0, 0, table_at, 0, 52, 0, 0, 40, 3, 2,
    )  # fmt: skip
    entries = ((1, 52, len(modinfo)), (10, names_at, len(names)))
    table = bytes(40) + b"".join(
        struct.pack("<10I", name, 1, 0, 0, offset, size, 0, 0, 1, 0)
        for name, offset, size in entries
    )
    return header + modinfo + names + table


def test_a_module_for_32_bits_says_it_too() -> None:
    assert modules.needs(module_32(b"license=GPL\0depends=libata,scsi_mod\0")) == [
        "libata",
        "scsi_mod",
    ]


def test_a_module_may_need_nothing() -> None:
    assert modules.needs(module(b"depends=\0name=x\0")) == []


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "not a little-endian ELF"),
        (b"#!/bin/sh\n", "not a little-endian ELF"),
        (module(b"depends=\0")[:100], "damaged"),
        (module(b"depends=\0", section=b".other"), "no .modinfo"),
        (module(b"license=GPL\0"), "without 'depends'"),
    ],
)
def test_what_is_no_module_is_refused(image: bytes, reason: str) -> None:
    with pytest.raises(modules.ModuleError, match=reason):
        modules.needs(image)


def test_each_module_comes_after_what_it_needs_and_once() -> None:
    requirements = {
        "kvm_amd": ["kvm", "ccp"],
        "kvm": ["irqbypass"],
        "irqbypass": [],
        "ccp": [],
        "vfio_pci": ["vfio", "irqbypass"],
        "vfio": [],
        "unwanted": [],
    }
    order = modules.load_order(["kvm-amd", "vfio-pci"], requirements.get)
    assert order == ["irqbypass", "kvm", "ccp", "kvm_amd", "vfio", "vfio_pci"]


def test_a_missing_module_is_named_with_its_needer() -> None:
    with pytest.raises(modules.ModuleError, match="no module ccp, needed by kvm_amd"):
        modules.load_order(["kvm_amd"], {"kvm_amd": ["ccp"]}.get)


def test_a_circle_is_refused() -> None:
    with pytest.raises(modules.ModuleError, match="a -> b -> a"):
        modules.load_order(["a"], {"a": ["b"], "b": ["a"]}.get)
