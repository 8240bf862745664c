"""Debian's packages as files, against stand-ins for apt and real .deb files."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.softhost.debian import deb, tool
from vestige.errors import UsageError
from vestige.softhost import packages

LISTS = """\
Package: nano
Version: 7.2-1
Architecture: amd64
Size: 7
SHA256: 00
Description: an editor
 with a second line: and a colon

Package: shell
Version: 1:2.0+b1
Architecture: all
Size: 5
SHA256: 5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5
"""
SHELL = "shell_1%3a2.0+b1_all.deb"  # its content is 12345
OTHER = 12345  # a user who is neither this one nor root


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH whose apt-cache prints the asked paragraphs of LISTS; a cache of its own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    lists = tmp_path / "lists"
    lists.mkdir()
    for paragraph in LISTS.strip().split("\n\n"):
        name = paragraph.splitlines()[0].removeprefix("Package: ")
        (lists / name).write_text(paragraph + "\n\n")
    show = f"shift 2; for name; do [ -e {lists}/$name ] && cat {lists}/$name; done; true"
    tool(tools, "apt-cache", show)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.usefixtures("machine")
def test_packages_come_sorted_by_name() -> None:
    nano, shell = packages.describe(["shell", "nano", "shell"])
    assert (nano.file_name, nano.size) == ("nano_7.2-1_amd64.deb", 7)
    assert shell.name == "shell"


@pytest.mark.usefixtures("machine")
def test_a_file_is_named_as_apt_names_it_with_the_epochs_colon_escaped() -> None:
    (shell,) = packages.describe(["shell"])
    assert shell.file_name == "shell_1%3a2.0+b1_all.deb"


@pytest.mark.usefixtures("machine")
def test_an_unknown_package_is_refused_with_the_next_step() -> None:
    with pytest.raises(UsageError, match="no package absent; run 'apt-get update'"):
        packages.describe(["shell", "absent"])


def test_a_closure_is_what_apt_would_install(machine: Path) -> None:
    tool(
        machine / "tools",
        "apt-get",
        'echo "Reading lists"; echo "Inst shell (1:2.0+b1 Debian [all])"; echo "Conf shell (1)"',
    )
    assert [each.name for each in packages.closure(["anything"])] == ["shell"]


def test_what_is_cached_is_not_downloaded_again(machine: Path) -> None:
    calls = machine / "calls"
    tool(
        machine / "tools",
        "apt-get",
        f'echo "$@" >> {calls}; printf 12345 > shell_1%3a2.0+b1_all.deb',
    )
    wanted = packages.describe(["shell"])
    (first,) = packages.fetch(wanted)
    (second,) = packages.fetch(wanted)
    assert first == second == machine / "cache/vestige/debian/shell_1%3a2.0+b1_all.deb"
    assert first.read_text() == "12345"
    assert calls.read_text() == "-q download shell=1:2.0+b1\n"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_cut_short_file_in_the_cache_is_downloaded_anew(machine: Path) -> None:
    tool(machine / "tools", "apt-get", "printf 12345 > shell_1%3a2.0+b1_all.deb")
    cached = machine / "cache/vestige/debian/shell_1%3a2.0+b1_all.deb"
    cached.parent.mkdir(parents=True)
    cached.write_text("123")
    packages.fetch(packages.describe(["shell"]))
    assert cached.read_text() == "12345"


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_of_another_content_than_the_lists_say_is_not_taken(
    machine: Path, cached: bool
) -> None:
    content = "12345" if cached else "54321"
    tool(machine / "tools", "apt-get", f"printf {content} > {SHELL}")
    file = machine / "cache/vestige/debian" / SHELL
    file.parent.mkdir(parents=True)
    if cached:
        file.write_text("54321")
        assert packages.fetch(packages.describe(["shell"])) == [file]
        assert file.read_text() == "12345"
    else:
        with pytest.raises(UsageError) as raised:
            packages.fetch(packages.describe(["shell"]))
        assert f"{SHELL} that is not as apt's lists describe it (SHA256 5994" in str(raised.value)
        assert not [*file.parent.iterdir()]


def test_a_package_whose_sha256_the_lists_do_not_give_is_not_taken(machine: Path) -> None:
    lists = machine / "lists" / "shell"
    lists.write_text(lists.read_text().replace("SHA256", "MD5sum"))
    tool(machine / "tools", "apt-get", f"printf 12345 > {SHELL}")
    with pytest.raises(UsageError, match=r"not as apt's lists describe it \(SHA256 none\)"):
        packages.fetch(packages.describe(["shell"]))


def give_away(path: Path) -> None:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def name_twice(path: Path) -> None:
    path.with_name("elsewhere").hardlink_to(path)


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
THEIRS = pytest.param(give_away, marks=AS_ROOT, id="another user's")
GROUPS = pytest.param(lambda path: path.chmod(0o770), id="the group's")
A_LINK = pytest.param(replace_by_link, id="a link")
TWICE = pytest.param(name_twice, id="a file with another name")


@pytest.mark.parametrize("attack", [THEIRS, GROUPS, A_LINK, TWICE])
def test_a_file_that_others_could_change_after_the_look_is_downloaded_anew(
    machine: Path, attack: Callable[[Path], None]
) -> None:
    tool(machine / "tools", "apt-get", f"printf 12345 > {SHELL}")
    (file,) = packages.fetch(packages.describe(["shell"]))
    attack(file)
    before = file.lstat().st_ino
    packages.fetch(packages.describe(["shell"]))
    status = file.lstat()
    assert status.st_ino != before
    assert (status.st_uid, status.st_nlink, status.st_mode & 0o022) == (os.geteuid(), 1, 0)


@pytest.mark.parametrize("attack", [THEIRS, GROUPS, A_LINK])
@pytest.mark.parametrize("name", ["debian", "softhost"])
def test_a_folder_that_others_could_change_is_refused(
    machine: Path, attack: Callable[[Path], None], name: str
) -> None:
    tool(machine / "tools", "apt-get", f"touch {machine}/called")
    folder = machine / "cache/vestige" / name
    folder.mkdir(parents=True)
    wanted = packages.describe(["shell"])
    filled: list[Path] = []
    uses: dict[str, Callable[[], object]] = {
        "debian": lambda: packages.fetch(wanted),
        "softhost": lambda: packages.keep(folder / "ready", filled.append, "room"),
    }
    attack(folder)
    with pytest.raises(UsageError) as raised:
        uses[name]()
    assert str(raised.value).startswith(f"{folder}: ")
    assert "; remove it, or set XDG_CACHE_HOME" in str(raised.value)
    assert not filled
    assert not (machine / "called").exists()


def test_a_failed_download_says_what_apt_said(machine: Path) -> None:
    tool(machine / "tools", "apt-get", 'echo "E: no route to the mirror" >&2; exit 100')
    with pytest.raises(UsageError, match="E: no route to the mirror"):
        packages.fetch(packages.describe(["shell"]))


def test_a_machine_without_apt_is_told_so(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    with pytest.raises(UsageError, match="needs a Debian machine"):
        packages.describe(["shell"])


def test_unpacking_keeps_the_links_of_a_merged_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "bin").symlink_to("usr/bin")
    archives = [
        deb(tmp_path, "first", {"bin/first": "1"}),
        deb(tmp_path, "second", {"usr/bin/second": "2"}),
    ]
    packages.unpack(archives, tree)
    assert (tree / "bin").is_symlink()
    assert sorted(path.name for path in (tree / "usr/bin").iterdir()) == ["first", "second"]


@pytest.fixture
def kept(machine: Path) -> Path:
    """A directory of the cache."""

    def fill(directory: Path) -> None:
        (directory / "folder").mkdir()
        (directory / "folder" / "file").write_bytes(bytes(100))
        (directory / "other").touch()

    ready = packages.cache_directory("softhost") / "ready"
    packages.keep(ready, fill, "it needs room")
    return ready


def test_what_is_kept_whole_is_used(kept: Path) -> None:
    packages.check(kept)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("rm folder/file", "folder/file: No such file or directory"),
        ("truncate -s 60 folder/file", "folder/file: 60 bytes, 100 expected"),
        ("echo x > other", "other: 2 bytes, 0 expected"),
        ("rm sizes", "sizes: No such file or directory"),
        ("truncate -s 0 sizes", "sizes: empty"),
        ("printf 'x\\377' > sizes", "sizes: not as it was written"),
    ],
)
def test_what_is_not_as_it_was_kept_is_refused_with_the_cure(
    kept: Path, script: str, found: str
) -> None:
    subprocess.run(["sh", "-c", script], cwd=kept, check=True)
    with pytest.raises(UsageError) as raised:
        packages.check(kept)
    assert str(raised.value) == f"{kept}/{found}; remove {kept.parent} to have it fetched anew"


@pytest.mark.parametrize("attack", [THEIRS, GROUPS, A_LINK])
@pytest.mark.parametrize("name", ["folder/file", "folder", "other", "sizes"])
def test_what_others_could_have_changed_is_refused_with_the_cure(
    kept: Path, attack: Callable[[Path], None], name: str
) -> None:
    attack(kept / name)
    with pytest.raises(UsageError) as raised:
        packages.check(kept)
    found, _, cure = str(raised.value).partition("; ")
    assert found.startswith(f"{kept}/{name}: ")
    assert "No such file" not in found
    assert cure == f"remove {kept.parent} to have it fetched anew"


@pytest.mark.parametrize("attack", [THEIRS, GROUPS, A_LINK])
def test_a_kept_directory_that_others_could_have_changed_is_refused(
    kept: Path, attack: Callable[[Path], None]
) -> None:
    attack(kept)
    with pytest.raises(UsageError) as raised:
        packages.check(kept)
    assert str(raised.value).startswith(f"{kept}: ")


@pytest.mark.usefixtures("machine")
def test_what_is_kept_is_nobody_elses_to_write_whatever_the_umask() -> None:
    def fill(directory: Path) -> None:
        (directory / "folder").mkdir()
        (directory / "folder" / "file").touch()

    ready = packages.cache_directory("softhost") / "ready"
    before = os.umask(0)
    try:
        packages.keep(ready, fill, "it needs room")
    finally:
        os.umask(before)
    packages.check(ready)


def test_what_debians_tools_leave_is_nobody_elses_to_write(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        packages.command(["touch", str(tmp_path / "file")], timeout=60)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_what_was_below_bin_is_found_where_the_package_has_it(tmp_path: Path) -> None:
    packages.unpack([deb(tmp_path, "early", {"bin/shell": ""})], tmp_path / "12")
    packages.unpack([deb(tmp_path, "late", {"usr/bin/shell": ""})], tmp_path / "13")
    assert packages.place(tmp_path / "12", "bin/shell") == tmp_path / "12/bin/shell"
    assert packages.place(tmp_path / "13", "bin/shell") == tmp_path / "13/usr/bin/shell"


def test_a_damaged_package_is_refused_by_name(tmp_path: Path) -> None:
    whole = deb(tmp_path, "whole", {"usr/file": "content"})
    damaged = tmp_path / "damaged.deb"
    damaged.write_bytes(whole.read_bytes()[:80])
    with pytest.raises(UsageError, match=r"damaged\.deb|tar"):
        packages.unpack([damaged], tmp_path / "tree")


def test_an_index_entry_names_the_file_where_it_is(machine: Path) -> None:
    (machine / "lists" / "shell").write_text("Package: shell\nFilename: pool/s/shell.deb\n")
    with (machine / "lists" / "shell").open("a") as file:
        file.write("Version: 1\nArchitecture: all\nSize: 5\n")
    (shell,) = packages.describe(["shell"])
    assert shell.index_entry("here/shell.deb").splitlines() == [
        *("Package: shell", "Version: 1", "Architecture: all", "Size: 5"),
        "Filename: here/shell.deb",
    ]


def test_packages_are_found_by_their_priority(machine: Path) -> None:
    paragraphs = [
        *("Package: login\nPriority: required", "Package: nano\nPriority: important"),
        *("Package: emacs\nPriority: optional", "Package: apt\nPriority: required"),
    ]
    text = "\n\n".join(paragraphs)
    tool(machine / "tools", "apt-cache", f"cat << END\n{text}\nEND")
    assert packages.of_priority("required") == ["apt", "login"]
    assert packages.of_priority("required", "important") == ["apt", "login", "nano"]


def test_sources_are_apts_own_without_their_passwords(machine: Path) -> None:
    lines = ["http://one.example/debian stable main", "https://me:secret@two.example/x y contrib"]
    text = "\n".join(lines)
    tool(machine / "tools", "apt-get", f"cat << END\n{text}\nEND")
    assert packages.sources() == [
        "deb http://one.example/debian stable main",
        "deb https://two.example/x y contrib",
    ]
