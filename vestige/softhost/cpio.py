"""Writes initial RAM file systems: cpio archives of the "newc" kind.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat

_ALIGNMENT = 4


class Archive:
    """A cpio archive in the making. Archives may be concatenated: later files replace earlier."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def directory(self, name: str) -> None:
        """Add a directory. Its parents must have been added before."""
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, content: bytes, *, executable: bool = False) -> None:
        """Add a regular file of mode 0644, or 0755."""
        self._entry(name, stat.S_IFREG | (0o755 if executable else 0o644), content)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def finish(self) -> bytes:
        """The archive with its trailer."""
        self._inode = -1
        self._entry("TRAILER!!!", 0, b"")
        return bytes(self._data)

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (
            self._inode,
            mode,
            0,  # user
            0,  # group
            links,
            0,  # modification time: the same input gives the same archive
            len(content),
            0,  # device, major
            0,  # device, minor
            0,  # rdev, major
            0,  # rdev, minor
            len(encoded),
            0,  # checksum, unused in newc
        )
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % _ALIGNMENT)
