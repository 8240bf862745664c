"""Which QEMU Vestige is compared with, by small package lists and stand-ins for Debian's tools."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bench.common import newest_qemu, results
from bench.common.newest_qemu import MICROVM
from tests.softhost.debian import deb
from vestige.errors import UsageError
from vestige.softhost import emulator, packages, suites
from vestige.softhost.emulator import PROGRAM, Version

CONFIGURATION = Path("later.conf")
SAYS_VERSION = 'echo "QEMU emulator version 11.1.3"'
# Stands in for the dynamic loader: lists what is needed, or runs the program.
STAND_IN = """\
while :; do case "$1" in
    --inhibit-cache) shift;;
    --library-path) library=$2; shift 2;;
    --list) printf '\\tlinux-vdso.so.1 (0x7)\\n\\tliba.so => %s (0x8)\\n' "$library/liba.so"; exit;;
    *) exec "$@";;
esac; done
"""


def package(name: str, version: str) -> packages.Package:
    """One of a list."""
    fields = {"Package": name, "Version": version, "Architecture": "all", "Size": 1_000_000}
    return packages.Package("\n".join(f"{key}: {value}" for key, value in fields.items()))


@pytest.fixture
def said() -> list[str]:
    """What was told."""
    return []


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Path:
    """QEMU 10.0.2."""
    program = Path("/nowhere/qemu")
    monkeypatch.setattr(emulator, "installed", lambda: (program, (10, 0, 2)))
    monkeypatch.setattr(emulator, "ensure", lambda _say: emulator.Emulator(program))
    monkeypatch.setattr(emulator, "version_of", lambda _program: (10, 0, 2))
    return program


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the mirror have QEMU of a version, in packages as Debian's."""
    files = {
        emulator.PACKAGE: deb(tmp_path, emulator.PACKAGE, {
            newest_qemu.LOADER: f"#!/bin/sh\n{STAND_IN}",
            f"usr/bin/{PROGRAM}": f"#!/bin/sh\n{SAYS_VERSION}\n",
            f"usr/bin/{MICROVM}": f"#!/bin/sh\n{SAYS_VERSION}\n",
            "usr/lib/x86_64-linux-gnu/liba.so": "a library",
            "usr/lib/x86_64-linux-gnu/libb.so": "one that nobody needs",
        }),
        "data": deb(tmp_path, "data", {
            "usr/share/qemu/qboot.rom": "small",
            "usr/share/seabios/bios-microvm.bin": "large",
        }),
    }  # fmt: skip

    def fetch(wanted: Iterable[packages.Package], configuration: Path) -> list[Path]:
        assert configuration == CONFIGURATION
        return [files[each.name] for each in wanted]

    def provide(version: str) -> None:
        both = [package("data", "1"), package(emulator.PACKAGE, version)]
        monkeypatch.setattr(suites, "configuration", lambda *_names: CONFIGURATION)
        monkeypatch.setattr(packages, "describe", lambda _names, _configuration: both[1:])
        monkeypatch.setattr(packages, "closure", lambda _names, _configuration: both)
        monkeypatch.setattr(packages, "fetch", fetch)

    return provide


@pytest.mark.usefixtures("installed")
def test_a_newer_qemu_is_kept_with_its_loader_its_libraries_and_its_firmware(
    tmp_path: Path, later: Callable[[str], None], said: list[str]
) -> None:
    later("1:11.1.3+ds-1")
    ready = tmp_path / "kept" / "qemu"
    found = newest_qemu.found(ready, said.append)
    assert found.version == "11.1.3"
    loader = [str(ready / "ld.so"), "--library-path", str(ready / "lib")]
    data = ["-L", str(ready / "firmware")]
    assert list(found.words) == [*loader, str(ready / PROGRAM), *data]
    assert list(found.microvm) == [*loader, str(ready / MICROVM), *data]
    assert [each.name for each in (ready / "lib").iterdir()] == ["liba.so"]
    assert (ready / "firmware" / "bios-microvm.bin").read_text() == "small"
    assert said == [
        "fetching QEMU 11.1.3 of Debian's later suites (2 MB, once)",
        "  2 of 2 packages",
    ]


@pytest.mark.usefixtures("installed")
def test_what_is_kept_is_taken_without_a_look_at_the_mirror(
    tmp_path: Path,
    later: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    later("1:11.1.3+ds-1")
    first = newest_qemu.found(tmp_path / "qemu", said.append)

    def unreachable(*_names: str) -> Path:
        raise UsageError("no network")

    monkeypatch.setattr(suites, "configuration", unreachable)
    assert newest_qemu.found(tmp_path / "qemu", said.append) == first


def test_without_later_suites_the_one_that_is_here_is_taken_and_a_line_says_so(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def missing(*_names: str) -> Path:
        raise UsageError("apt-get -q failed: E: no Release file")

    monkeypatch.setattr(suites, "configuration", missing)
    found = newest_qemu.found(tmp_path / "qemu", said.append)
    assert found == newest_qemu.Qemu("10.0.2", (str(installed),), (str(installed),))
    [line] = said
    assert line.startswith("apt-get -q failed: E: no Release file: no QEMU of a later suite; ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["1:10.0.2+ds-1", "1:9.2.0+ds-1"])
def test_one_that_is_no_newer_is_not_fetched(
    tmp_path: Path,
    installed: Path,
    later: Callable[[str], None],
    said: list[str],
    version: str,
) -> None:
    later(version)
    assert newest_qemu.found(tmp_path / "qemu", said.append).words == (str(installed),)
    assert not said


@pytest.mark.usefixtures("installed", "later")
def test_a_library_that_no_package_has_leaves_nothing_half_kept(
    tmp_path: Path, later: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    later("1:11.1.3+ds-1")
    monkeypatch.setattr(packages, "command", lambda *_words, **_more: "\tlibz.so => not found\n")
    monkeypatch.setattr(packages, "unpack", unpack_without_a_command)
    assert newest_qemu.found(tmp_path / "kept" / "qemu", said.append).version == "10.0.2"
    assert said[-1].startswith("libz.so: no package of QEMU's has this library")
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["qemu.lock"]


def unpack_without_a_command(_files: object, tree: Path) -> None:
    """As much as is looked at before the libraries are."""
    for name in (newest_qemu.LOADER, f"usr/bin/{PROGRAM}", f"usr/bin/{MICROVM}"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()


def test_a_download_that_was_interrupted_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    asked: list[int] = []

    def fetch(wanted: list[packages.Package], _configuration: Path) -> list[Path]:
        asked.append(len(wanted))
        return [Path(each.name) for each in wanted]

    monkeypatch.setattr(packages, "fetch", fetch)
    wanted = [package(f"p{number}", "1") for number in range(newest_qemu.AT_ONCE + 1)]
    files = newest_qemu.fetched(wanted, CONFIGURATION, said.append)
    assert [each.name for each in files] == [each.name for each in wanted]
    assert asked == [newest_qemu.AT_ONCE, 1]
    assert said == ["  8 of 9 packages", "  9 of 9 packages"]


@pytest.mark.parametrize(
    ("package_version", "version"),
    [("1:11.1.3+ds-1", (11, 1, 3)), ("2:12.0~rc1-1", (12, 0)), ("7.2+dfsg-7+deb12u18", (7, 2))],
)
def test_qemus_version_is_part_of_its_packages(package_version: str, version: Version) -> None:
    assert newest_qemu.upstream(package_version) == version


def test_a_package_without_a_version_of_qemus_is_refused() -> None:
    with pytest.raises(UsageError, match="qemu-system-x86 sid: no version of QEMU's"):
        newest_qemu.upstream("sid")


def test_the_machines_firmware_goes_before_qemus_own() -> None:
    words = ["ld.so", "--library-path", "lib", "qemu", "-L", "own"]
    assert newest_qemu.with_firmware(words, Path("ours"))[3:] == ["qemu", "-L", "ours", "-L", "own"]
    assert newest_qemu.with_firmware(["qemu"], Path("ours")) == ["qemu", "-L", "ours"]


def test_a_table_names_the_version_where_it_was_noted() -> None:
    assert results.taken({"date": "2026-12-01", "qemu": "11.1.3"}) == (
        "Taken on 2026-12-01, QEMU 11.1.3."
    )
    assert results.taken({"date": "2026-11-27"}) == "Taken on 2026-11-27."
