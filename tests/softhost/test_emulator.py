"""Which QEMU the software host takes, against stand-ins for QEMU, apt and real .deb files."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.softhost.debian import deb, tool
from vestige.errors import UsageError
from vestige.softhost import emulator, packages

OLD = 'echo "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"'
NEW = 'echo "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)"'
OFFLINE = 'echo "E: no route to the mirror" >&2; exit 100'
FIRMWARE = "usr/share/qemu/pvh.bin"
TARGETS = "bookworm mirror:/here"

Provide = Callable[[str], None]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What apt-get was called with, a line each."""
    (tmp_path / "calls").touch()
    return tmp_path / "calls"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's programs: an old QEMU; an apt without a network; a cache of its own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    tool(tools, emulator.PROGRAM, OLD)
    tool(tools, "apt-get", OFFLINE)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tools


@pytest.fixture
def backports(tmp_path: Path, installed: Path, calls: Path) -> Provide:
    """Makes the backports have a QEMU that is such a shell script."""

    def provide(script: str) -> None:
        contents = {
            "qemu-system-x86": {f"usr/bin/{emulator.PROGRAM}": f"#!/bin/sh\n{script}\n"},
            "qemu-system-data": {FIRMWARE: "firmware"},
        }
        paragraphs, downloads = [], []
        for name, files in contents.items():
            file = deb(tmp_path, name, files)
            paragraphs += [f"Package: {name}", "Version: 1:10.0.2+ds-2~bpo12+1"]
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            size = file.stat().st_size
            paragraphs += ["Architecture: all", f"Size: {size}", f"SHA256: {digest}", ""]
            downloads.append(f"cp {file} {name}_1%3a10.0.2+ds-2~bpo12+1_all.deb")
        text, copies = "\n".join(paragraphs), "; ".join(downloads)
        tool(installed, "apt-cache", f'[ "$APT_CONFIG" ] && cat << END\n{text}\nEND')
        cases = f'indextargets*) echo "{TARGETS}";; "-q download"*) {copies};;'
        tool(installed, "apt-get", f'echo "$@" >> {calls}; case "$*" in {cases} esac')

    return provide


def test_a_sound_qemu_is_taken_as_it_is(installed: Path) -> None:
    tool(installed, emulator.PROGRAM, NEW)
    found = emulator.ensure(pytest.fail)
    assert found.words == [str(installed / emulator.PROGRAM)]


def test_in_place_of_an_old_one_that_of_the_backports_is_fetched_once(
    backports: Provide, calls: Path
) -> None:
    backports(NEW)
    said: list[str] = []
    found = emulator.ensure(said.append)
    kept = emulator.cached()
    assert found.program == kept / emulator.PROGRAM
    assert found.words == [str(found.program), "-L", str(kept / "firmware")]
    assert (kept / "firmware" / "pvh.bin").read_text() == "firmware"
    assert said == ["fetching QEMU 10.0.2 from Debian's backports (0 MB, once)"]
    source = packages.cache_directory("suites") / "bookworm-backports" / "sources.list"
    assert source.read_text().split()[2:] == ["mirror:/here", "bookworm-backports", "main"]

    asked = calls.read_text()
    assert emulator.ensure(pytest.fail).words == found.words
    assert calls.read_text() == asked


def test_without_backports_the_old_one_is_taken_and_that_is_said(installed: Path) -> None:
    said: list[str] = []
    found = emulator.ensure(said.append)
    assert found.words == [str(installed / emulator.PROGRAM)]
    complaint, consequence = said
    assert "no route to the mirror" in complaint
    assert "guests may stand still at times in QEMU 7.2: 10.0 or newer is wanted" in consequence


def test_backports_that_could_not_be_had_are_tried_again_after_a_day(
    installed: Path, backports: Provide
) -> None:
    emulator.ensure(lambda _line: None)
    backports(NEW)
    said: list[str] = []
    assert emulator.ensure(said.append).program == installed / emulator.PROGRAM
    assert len(said) == 1
    (stamp,) = emulator.cached().parent.glob("*.failed")
    yesterday = time.time() - 25 * 3600
    os.utime(stamp, (yesterday, yesterday))
    assert emulator.ensure(said.append).program == emulator.cached() / emulator.PROGRAM


def fetched(backports: Provide) -> Path:
    """The newer one's program, in the cache."""
    backports(NEW)
    emulator.ensure(lambda _line: None)
    return emulator.cached() / emulator.PROGRAM


def test_a_fetched_qemu_that_does_not_run_is_refused_with_the_cure(
    installed: Path, backports: Provide
) -> None:
    program = fetched(backports)
    program.chmod(0o644)
    with pytest.raises(UsageError) as raised:
        emulator.ensure(pytest.fail)
    assert str(raised.value) == (
        f"{program}: it does not run (Permission denied); remove {program.parents[1]} to have it"
        " fetched anew"
    )


@pytest.mark.usefixtures("installed")
def test_a_fetched_qemu_that_others_could_have_changed_is_not_run(
    tmp_path: Path, backports: Provide
) -> None:
    program = fetched(backports)
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n{NEW}\n")
    (emulator.cached() / "sizes").unlink()
    packages.note_sizes(emulator.cached())
    program.chmod(0o775)
    with pytest.raises(UsageError) as raised:
        emulator.ensure(pytest.fail)
    assert str(raised.value) == (
        f"{program}: others may write there (chmod go-w); remove {program.parents[1]} to have it"
        " fetched anew"
    )
    assert not (tmp_path / "executed").exists()
    program.chmod(0o755)
    emulator.ensure(pytest.fail)
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("script", [OLD, "echo 'libmissing.so.1: not found' >&2; exit 127"])
def test_backports_whose_qemu_is_old_or_does_not_run_are_none(
    installed: Path, backports: Provide, script: str
) -> None:
    backports(script)
    said: list[str] = []
    assert emulator.ensure(said.append).program == installed / emulator.PROGRAM
    assert "too old as well" in said[1] or "libmissing.so.1" in said[1]
    assert not emulator.cached().exists()
    assert sorted(path.name for path in emulator.cached().parent.iterdir()) == [
        "lock",
        f"{emulator.cached().name}.failed",
    ]


def test_a_qemu_that_says_no_version_is_refused(installed: Path) -> None:
    tool(installed, emulator.PROGRAM, "echo 'Bus error' >&2; exit 135")
    with pytest.raises(UsageError, match=r"says no version \(Bus error\); install"):
        emulator.ensure(pytest.fail)


@pytest.mark.parametrize(
    ("version", "ends"), [("7.2.22", True), ("10.0.2", True), ("11.1.3", True), ("11.2.0", False)]
)
def test_a_write_of_cr8_ends_each_version_that_was_tried(
    installed: Path, version: str, ends: bool
) -> None:
    """Nothing is fetched to know that."""
    tool(installed, emulator.PROGRAM, f'echo "QEMU emulator version {version}"')
    assert emulator.ends_by_cr8() == ends
    assert not emulator.cached().exists()


def take_out(program: Path) -> None:
    """The assertion, of a program that ends before it comes to that."""
    with program.open("r+b") as file:
        file.seek(emulator.CR8_ASSERTION.offset)
        file.write(emulator.CR8_ASSERTION.after)


def test_a_write_of_cr8_does_not_end_a_copy_without_the_assertion(installed: Path) -> None:
    tool(installed, emulator.PROGRAM, f"{NEW}; exit")
    assert emulator.ends_by_cr8()
    take_out(installed / emulator.PROGRAM)
    assert not emulator.ends_by_cr8()


def test_in_place_of_an_old_one_the_kept_one_is_asked_and_has_to_be_as_it_was_kept(
    backports: Provide,
) -> None:
    backports(f"{NEW}; exit")
    program = emulator.ensure(lambda _line: None).program
    assert emulator.ends_by_cr8()
    take_out(program)
    with pytest.raises(UsageError, match="to have it fetched anew"):
        emulator.ends_by_cr8()
    (emulator.cached() / "sizes").unlink()
    packages.note_sizes(emulator.cached())
    assert not emulator.ends_by_cr8()
