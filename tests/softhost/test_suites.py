"""apt configurations for other suites, against stand-ins for apt-get."""

import os
from pathlib import Path

import pytest

from tests.softhost.debian import tool
from vestige.errors import UsageError
from vestige.softhost import packages, suites

TARGETS = "bookworm-updates mirror:/updates\\nbookworm mirror:/here\\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH whose apt-get has Debian 12's lists, and writes down what else it is asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    note = f'echo "$@" "$APT_CONFIG" >> {tmp_path}/calls'
    tool(tools, "apt-get", f"case $1 in indextargets) printf '{TARGETS}';; *) {note};; esac")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.usefixtures("machine")
def test_the_machines_release_is_the_one_apt_has_lists_of() -> None:
    assert suites.release() == ("bookworm", "mirror:/here")
    assert suites.backports() == "bookworm-backports"


def test_a_machine_whose_apt_has_no_lists_of_debian_is_told_so(machine: Path) -> None:
    tool(machine / "tools", "apt-get", "true")
    with pytest.raises(UsageError, match="no lists of any Debian release; run 'apt-get update'"):
        suites.configuration("sid")


def test_suites_come_from_the_mirror_of_the_release_and_the_newest_package_counts(
    machine: Path,
) -> None:
    file = suites.configuration("trixie-backports", "sid")
    folder = packages.cache_directory("suites") / "trixie-backports-sid"
    assert file == folder / "apt.conf"
    lines = (folder / "sources.list").read_text().splitlines()
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert lines == [
        f"deb {keys} mirror:/here trixie-backports main",
        f"deb {keys} mirror:/here sid main",
    ]
    assert "Pin-Priority: 500" in (folder / "preferences").read_text()
    assert (machine / "calls").read_text() == f"-q update {file}\n"


def test_a_suite_that_is_not_there_is_told_with_apts_words(machine: Path) -> None:
    cases = f"""indextargets*) printf '{TARGETS}';; *) echo 'E: no Release file' >&2; exit 100;;"""
    tool(machine / "tools", "apt-get", f'case "$*" in {cases} esac')
    with pytest.raises(UsageError, match="E: no Release file"):
        suites.configuration("sid-backports")


@pytest.mark.usefixtures("machine")
def test_lists_that_others_could_have_changed_are_refused_with_the_cure() -> None:
    folder = suites.configuration("sid").parent
    lists = folder / "lists" / "Packages"
    lists.touch(0o600)
    suites.configuration("sid")
    lists.chmod(0o620)
    with pytest.raises(UsageError) as raised:
        suites.configuration("sid")
    assert str(raised.value) == (
        f"{lists}: others may write there (chmod go-w); remove {folder} to have apt's lists fetched"
        " anew"
    )


@pytest.mark.usefixtures("machine")
def test_what_is_written_for_apt_is_nobody_elses_whatever_the_umask() -> None:
    before = os.umask(0)
    try:
        folder = suites.configuration("sid").parent
    finally:
        os.umask(before)
    assert not [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]
    suites.configuration("sid")


def test_a_cache_that_can_not_be_written_is_named(machine: Path) -> None:
    (machine / "cache").write_text("a file")
    with pytest.raises(UsageError, match="lists of other suites are kept here"):
        suites.configuration("sid")
