"""A compiled image: code, symbols, check sites and source lines. Loading one needs no compiler.

File format: MAGIC, the 32-byte BLAKE2 digest of the rest, then a marshalled tuple. Only files
this user's cache wrote are loaded.
"""
# This is on the way to every run: what is not always needed is not imported.
# ruff: noqa: PTH123, PLC0415

import marshal

from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAGIC = b"vestige image 2\n"
MARSHAL = 0  # the version whose output depends on values only

Site = tuple[str, int, str]  # file, line, reason


class ImageError(Exception):
    """A saved image is damaged, or of another version."""


class Image:
    """Position-independent (or linked at `base`) x86-64 code with all that explains it.

    code: read-only part, whole pages; memory_size: code and zeroed memory behind it, bytes.
    symbols: offsets. sites: what each failed check was, by number; 0 is unused.
    files, rows: the line table: (offset, index into files, line) as 32-bit words, by offset.
    signatures: of the entries: kinds of the parameters, kind of the result.
    """

    __slots__ = (
        "_files", "_rows", "base", "code", "memory_size", "runtime", "signatures", "sites",
        "symbols",
    )  # fmt: skip

    def __init__(
        self,
        *,
        base: int | None,
        runtime: str,
        code: bytes,
        memory_size: int,
        symbols: dict[str, int],
        sites: tuple[Site, ...],
        signatures: dict[str, tuple[tuple[str, ...], tuple[str, ...]]],
        files: tuple[str, ...],
        rows: bytes,
    ) -> None:
        self.base, self.runtime, self.code, self.memory_size = base, runtime, code, memory_size
        self.symbols, self.sites, self.signatures = symbols, sites, signatures
        self._files, self._rows = files, rows

    @property
    def code_size(self) -> int:
        """Bytes that can be mapped read-only; a multiple of the page size."""
        return len(self.code)

    def line_of(self, offset: int) -> tuple[str, int] | None:
        """The source file and line of the code at `offset`; None for the runtime's own."""
        words = memoryview(self._rows).cast("I")
        first, last = 0, len(words) // 3  # bisect is a library that each run would load for this
        while first < last:
            row = (first + last) // 2
            first, last = (row + 1, last) if words[3 * row] <= offset else (first, row)
        if not 0 <= offset < self.memory_size or not first:
            return None
        file, line = words[3 * first - 2], words[3 * first - 1]
        return (self._files[file], line) if line else None

    def lines(self) -> "Iterator[tuple[int, str, int]]":
        """From where on code is of which file and line, by offset; line 0: the runtime's own."""
        words = iter(memoryview(self._rows).cast("I"))
        for offset, file, line in zip(words, words, words, strict=True):
            yield offset, self._files[file], line

    def _fields(self) -> "tuple[Any, ...]":
        return (
            self.base, self.runtime, self.code, self.memory_size, self.symbols, self.sites,
            self.signatures, self._files, self._rows,
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """The saved form."""
        from _blake2 import blake2b

        body = marshal.dumps(self._fields(), MARSHAL)
        return MAGIC + blake2b(body, digest_size=32).digest() + body

    def save(self, path: str) -> None:
        """Write the image to `path`."""
        with open(path, "wb") as file:
            file.write(self.to_bytes())

    @classmethod
    def load(cls, path: str) -> "Image":
        """Read an image. Raises ImageError if it is damaged, OSError if it can't be read."""
        with open(path, "rb") as file:
            return cls.from_bytes(file.read())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Image":
        """The image a saved form holds. Raises ImageError if it is damaged."""
        from _blake2 import blake2b

        start = len(MAGIC)
        digest, body = data[start : start + 32], memoryview(data)[start + 32 :]  # no copy of that
        if not data.startswith(MAGIC) or blake2b(body, digest_size=32).digest() != digest:
            raise ImageError("damaged, or of another version")
        fields = marshal.loads(body)
        base, runtime, code, memory_size, symbols, sites, signatures, files, rows = fields
        return cls(
            base=base, runtime=runtime, code=code, memory_size=memory_size, symbols=symbols,
            sites=sites, signatures=signatures, files=files, rows=rows,
        )  # fmt: skip
