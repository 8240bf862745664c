"""Archives are read back by GNU cpio's and the kernel's rules, here by a second reader."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from vestige.softhost.cpio import Archive

FILES = st.dictionaries(
    st.text("abcdefgh/._-", min_size=1, max_size=30), st.binary(max_size=300), max_size=8
)


def read(data: bytes) -> list[tuple[str, int, bytes]]:
    """(name, mode, content) of each entry up to the trailer."""
    entries: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        header = data[at : at + 110]
        assert header[:6] == b"070701"
        fields = [int(header[6 + i * 8 : 14 + i * 8], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = (at + 110 + name_size + 3) & ~3
        at = (start + size + 3) & ~3
        if name == b"TRAILER!!!\0":
            return entries
        entries.append((name[:-1].decode(), mode, data[start : start + size]))


@given(FILES)
def test_files_come_back(files: dict[str, bytes]) -> None:
    archive = Archive()
    for name, content in files.items():
        archive.file(name, content)
    assert read(archive.finish()) == [(name, 0o100644, content) for name, content in files.items()]


def test_modes_say_what_an_entry_is() -> None:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/tool", b"x", executable=True)
    archive.link("bin/sh", "tool")
    assert read(archive.finish()) == [
        ("bin", 0o040755, b""),
        ("bin/tool", 0o100755, b"x"),
        ("bin/sh", 0o120777, b"tool"),
    ]


def test_archives_are_whole_words_so_that_they_can_be_concatenated() -> None:
    for size in range(5):
        archive = Archive()
        archive.file("name", bytes(size))
        assert len(archive.finish()) % 4 == 0


def test_the_same_input_gives_the_same_archive() -> None:
    def build() -> bytes:
        archive = Archive()
        archive.file("name", struct.pack("<Q", 7))
        return archive.finish()

    assert build() == build()
