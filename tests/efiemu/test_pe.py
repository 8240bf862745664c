"""The file: judged by binutils, which reads PE32+ files by itself."""

import struct
import subprocess
from pathlib import Path

import pytest

from tests import compiling
from vestige.efiemu import pe
from vestige.efiemu.build import application, checks


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pe") / "efiemu.efi"
    made.write_bytes(compiling.kept("efiemu.efi", application))
    return made


def objdump(path: Path, word: str) -> str:
    words = ["objdump", word, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout


def test_it_is_an_application_that_may_lie_anywhere_and_run_nothing_else(path: Path) -> None:
    headers = objdump(path, "-p")
    assert "file format pei-x86-64" in headers
    assert "(PE32+)" in headers
    assert "(EFI application)" in headers
    for flag in ("NX_COMPAT", "DYNAMIC_BASE", "HIGH_ENTROPY_VA"):
        assert flag in headers


def test_no_section_is_both_written_and_executed(path: Path) -> None:
    rows = objdump(path, "-h").splitlines()
    flags = {
        row.split()[1]: rows[number + 1].strip().split(", ")
        for number, row in enumerate(rows)
        if row.strip()[:1].isdigit()
    }
    assert flags == {
        ".text": ["CONTENTS", "ALLOC", "LOAD", "READONLY", "CODE"],
        ".bss": ["ALLOC"],
        ".rdata": ["CONTENTS", "ALLOC", "LOAD", "READONLY", "DATA"],
    }


def test_the_same_sources_make_the_same_bytes(path: Path) -> None:
    assert application() == path.read_bytes()
    assert path.stat().st_size < 256 << 10


def test_sections_follow_each_other_in_memory() -> None:
    file = pe.application(b"\x90" * pe.PAGE, 7, 5000, b"constants")
    assert pe.constants_at(b"\x90" * pe.PAGE, 5000) == 3 * pe.PAGE
    assert file[:2] == b"MZ"
    assert file.count(b"constants") == 1


def test_the_table_of_checks_gives_each_its_line() -> None:
    table = checks([("", 0, ""), ("a.py", 7, "check failed: x")])
    file, line, reason = struct.unpack_from("<3H", table, 6)
    assert line == 7
    assert table[file : file + 5] == b"\x04a.py"
    assert table[reason : reason + 16] == b"\x0fcheck failed: x"


def test_the_table_of_checks_has_each_string_once() -> None:
    sites = [("a.py", number, "index outside") for number in range(100)]
    table = checks(sites)
    assert len(table) == 6 * 100 + 1 + len("a.py") + 1 + len("index outside")
