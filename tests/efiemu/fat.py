"""A disk with one FAT16 partition. Source: Microsoft FAT specification, 2005; UEFI 2.10, 13.3."""

import struct
from collections.abc import Mapping
from math import ceil
from pathlib import Path

SECTOR, CLUSTER_SECTORS, ROOT_ENTRIES = 512, 8, 512
CLUSTER = SECTOR * CLUSTER_SECTORS
FIRST = 2048  # sector of the partition
PARTITION_MEBIBYTES = 64
SYSTEM_PARTITION = 0xEF
FOLDER, FILE, LAST = 0x10, 0x20, 0xFFFF


class _Partition:
    """Clusters, from number 2 on, given away one after the other."""

    def __init__(self) -> None:
        self.sectors = PARTITION_MEBIBYTES << 11
        self.table_sectors = ceil((self.sectors // CLUSTER_SECTORS + 2) * 2 / SECTOR)
        self.table = [0xFFF8, LAST]
        self.data = bytearray()

    def store(self, data: bytes) -> int:
        """The first cluster of a copy."""
        first, count = len(self.table), max(1, ceil(len(data) / CLUSTER))
        self.table += [*range(first + 1, first + count), LAST]
        self.data += data.ljust(count * CLUSTER, b"\0")
        return first

    def entries(self, files: Mapping[str, bytes]) -> bytes:
        """Of a folder; the files of those in it have longer names."""
        found = b""
        for name in dict.fromkeys(path.partition("/")[0] for path in files):
            inside = {
                path.partition("/")[2]: data
                for path, data in files.items()
                if path.startswith(f"{name}/")
            }
            data = self.entries(inside) if inside else files[name]
            first = self.store(data)
            stem, _, end = name.upper().partition(".")
            assert len(stem) <= 8
            assert len(end) <= 3
            found += struct.pack(
                "<8s3sB14xHI", stem.encode().ljust(8), end.encode().ljust(3),
                FOLDER if inside else FILE, first, 0 if inside else len(data),
            )  # fmt: skip
        return found


def disk(image: Path, files: Mapping[str, bytes], mebibytes: int) -> None:
    """Write it: names are of 8 and 3 letters, with / between folders."""
    partition = _Partition()
    root = partition.entries(files).ljust(32 * ROOT_ENTRIES, b"\0")
    boot = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s", b"\xeb\x3c\x90", b"vestige ", SECTOR, CLUSTER_SECTORS, 1, 2,
        ROOT_ENTRIES, 0, 0xF8, partition.table_sectors, 63, 16, FIRST, partition.sectors, 0x80, 0,
        0x29, 0x7E571CE0, b"NO NAME    ", b"FAT16   ",
    )  # fmt: skip
    table = struct.pack(f"<{len(partition.table)}H", *partition.table)
    table = table.ljust(partition.table_sectors * SECTOR, b"\0")
    row = struct.pack(
        "<B3sB3sII", 0, b"\xfe" * 3, SYSTEM_PARTITION, b"\xfe" * 3, FIRST, partition.sectors
    )
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
        file.seek(446)
        file.write(row)
        file.seek(510)
        file.write(b"\x55\xaa")
        file.seek(FIRST * SECTOR)
        file.write(boot.ljust(510, b"\0") + b"\x55\xaa" + table + table + root + partition.data)
