"""`vestige efiemu build`: the file, and what is in its way."""

from pathlib import Path

import pytest

from vestige.cli import main
from vestige.efiemu import build


def test_the_application_is_written_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(["efiemu", "build"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "efiemu.efi\n"
    made = Path("efiemu.efi").read_bytes()
    assert f"vestige: {len(made)} bytes, built in " in shown.err
    Path("older.efi").write_bytes(made[:1000])  # of another day
    monkeypatch.setattr(build, "application", lambda: made)
    assert main.main(["efiemu", "build", "-o", "older.efi"]) == 0
    assert Path("older.efi").read_bytes() == made
    assert {each.name for each in tmp_path.iterdir()} == {"efiemu.efi", "older.efi"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "give what to do: there is build; see `vestige efiemu --help`"),
        (["test"], "'test' is nothing that can be done: there is build; see `vestige efiemu"),
        (["build", "x", "y"], "build takes no word, not 'x y'; see `vestige efiemu --help`"),
        (["build", "-ox.efi"], "unrecognized arguments: -ox.efi; see `vestige efiemu --help`"),
        (["build", "-o", "disk.img"], "-o disk.img: a file that is no efiemu is there, and is"),
        (["build", "-o", "other.efi"], "-o other.efi: a file that is no efiemu is there, and is"),
        (["build", "-o", ""], "-o '': a file is made; give the name of one"),
        (["build", "-o", "none/"], "-o none/: No such file or directory; give a file"),
        (["build", "-o", "none/x.efi"], "-o none/x.efi: No such file or directory; give a file"),
    ],
)
def test_bad_words_make_nothing(
    words: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("disk.img").write_bytes(b"a disk")
    Path("other.efi").write_bytes(b"MZ".ljust(1000, b"\0"))
    assert main.main(["efiemu", *words]) == main.EXIT_USAGE
    assert capsys.readouterr().err.startswith(f"vestige: {line}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["disk.img", "other.efi"]
    assert Path("disk.img").read_bytes() == b"a disk"


def test_the_help_spells_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["efiemu", "--help"]) == 0
    assert "\nMake an EFI application " in capsys.readouterr().out
