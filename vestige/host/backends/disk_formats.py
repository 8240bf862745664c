"""Images that are not raw: to a guest a tiny broken disk, which its first write ruins.

They are known by their first bytes, as QEMU's block/*.c and file(1)'s magic know them; an ISO 9660
image by its volume descriptor (ECMA-119, 8.1), a VHD of fixed size by its last sector (Virtual Hard
Disk Image Format Specification, "Hard Disk Footer Format").

Threat: a guest can write such bytes onto a raw disk of its own, and its next start is refused. Who
gives format=raw is not asked.
"""

import os
import stat

from vestige.errors import UsageError

HEAD = 4096  # bytes that are looked at
FOOTER = 512
VHD = b"conectix"
ISO_9660, ISO_9660_AT = b"CD001", 0x8001
BLOCKS_AT, BLOCK_SIZE_AT = 0x8050, 0x8080  # of its primary volume descriptor, 8.4.8 and 8.4.12
UDF = b"BEA01"  # at the same place, ECMA-167 2/9.2
DISCS = {ISO_9660: "an ISO 9660", UDF: "a UDF"}
OVERLAY = b"VESTIGE OVERLAY\n"
SYNC = b"\0" + 10 * b"\xff" + b"\0"  # of a CD's whole sector, ECMA-130 14.1
VDI_AT = 0x40

CONVERTED = (  # by qemu-img: offset, bytes there, name
    (0, b"QFI\xfb", "qcow2"),
    (0, b"QED\0", "QED"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (VDI_AT, b"\x7f\x10\xda\xbe", "VDI"),
    (0, VHD, "VHD"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
)
UNPACKED = (  # bytes at the start, what unpacks it
    (b"\x1f\x8b\x08", "gzip -d"),
    (b"\xfd7zXZ\0", "xz -d"),
    (b"\x28\xb5\x2f\xfd", "zstd -d"),
    (b"\x04\x22\x4d\x18", "lz4 -d"),
    (b"BZh", "bzip2 -d"),
    (b"PK\x03\x04", "unzip"),
)


def check(descriptor: int, path: str, read_only: bool) -> None:
    """Raise UsageError for an image, open at `descriptor`, that is not raw, with what makes it so.

    A CD's or DVD's that is only read is as good as a raw one.
    """
    head = os.pread(descriptor, HEAD, 0)
    if head.startswith(OVERLAY):
        raise UsageError(
            f"{path}: an overlay of a disk, not a raw image; give that disk with"
            f" ,overlay={path.replace(',', ',,')}, or add ,format=raw to have its bytes as they are"
        )
    if form := _converted(descriptor, head):
        raise UsageError(
            f"{path}: a {form} image, not a raw one: its first write would ruin it; convert it:"
            f" {_command('qemu-img convert -O raw', path, f'{path}.raw')} (Debian's qemu-utils), or"
            " add ,format=raw to have its bytes as they are"
        )
    for magic, program in UNPACKED:
        if head.startswith(magic):
            raise UsageError(
                f"{path}: packed, not a raw image; unpack it: {_command(program, path)}, or add"
                " ,format=raw to have its bytes as they are"
            )
    disc = DISCS.get(os.pread(descriptor, len(ISO_9660), ISO_9660_AT))
    if disc is not None and not read_only:
        raise UsageError(
            f"{path}: {disc} image, which a write would ruin; give it as a CD,"
            f" {_command('--cdrom', path)}, or add ,readonly, or ,format=raw to let the guest write"
            " it"
        )


def check_disc(descriptor: int, path: str) -> None:
    """Raise UsageError for what is open at `descriptor` and no image of a disc, as drives read it:
    blocks of 2,048 bytes, with a file system of CDs (ECMA-119) or DVDs (ECMA-167) on them.
    """
    head = os.pread(descriptor, HEAD, 0)
    as_it_is = "add ,format=raw to have its bytes as they are"
    if head.startswith(SYNC):
        raise UsageError(
            f"{path}: sectors of 2352 bytes, as .bin files have them, not an ISO image; convert it:"
            f" {_command('iat', path, f'{path}.iso')} (Debian's iat)"
        )
    for magic, program in UNPACKED:
        if head.startswith(magic):
            raise UsageError(f"{path}: packed; unpack it: {_command(program, path)}, or {as_it_is}")
    magic = os.pread(descriptor, len(ISO_9660), ISO_9660_AT)
    if magic == ISO_9660:
        blocks, block = (
            int.from_bytes(os.pread(descriptor, size, place), "little")
            for place, size in ((BLOCKS_AT, 4), (BLOCK_SIZE_AT, 2))
        )
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size < blocks * block:
            raise UsageError(
                f"{path}: {size} bytes of an ISO image of {blocks * block}; is all of it there? Or"
                f" {as_it_is}"
            )
    if magic in DISCS:
        return
    form = _converted(descriptor, head)
    what = "no ISO image" if form is None else f"a {form} image, no ISO image"
    raise UsageError(
        f'{path}: {what} (no "CD001" at byte {ISO_9660_AT}); is it a disk, --disk {path}? Or'
        f" {as_it_is}"
    )


def _converted(descriptor: int, head: bytes) -> str | None:
    """The format that qemu-img makes a raw image of."""
    for offset, magic, form in CONVERTED:
        if head.startswith(magic, offset):
            return form
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size > FOOTER:
        if os.pread(descriptor, len(VHD), status.st_size - FOOTER) == VHD:
            return "VHD"
    return None


def _command(*words: str) -> str:
    """What is typed into a shell."""
    import shlex  # noqa: PLC0415 - for an error alone

    program, *paths = words
    return " ".join([program, *map(shlex.quote, paths)])
