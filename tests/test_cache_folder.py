"""Where the cache is, whoever the user is and whatever home there is."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from vestige import cache_folder
from vestige.errors import UsageError
from vestige.host import images
from vestige.softhost import packages

NOBODY = 12345  # no entry in the password file


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache is chosen, and temporary files are the test's own."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # Set and deleted: what a call puts there is taken away again after the test.
    monkeypatch.setenv(cache_folder.TEMPORARY, "")
    monkeypatch.delenv(cache_folder.TEMPORARY)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the cache is among the temporary files."""
    return tmp_path / f"vestige-{os.geteuid()}"


def test_the_chosen_cache_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/chosen")
    assert cache_folder.folder("images") == "/chosen/vestige/images"
    assert packages.cache_directory("debian") == Path("/chosen/vestige/debian")


@pytest.mark.parametrize("chosen", ["", "relative", "~/cache"])
def test_a_relative_choice_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", chosen)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder.folder("images") == f"{tmp_path}/.cache/vestige/images"


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_in_the_environment_the_password_files_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    import pwd  # noqa: PLC0415

    entry = pwd.struct_passwd(("user", "x", os.getuid(), 0, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _user: entry)
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    assert cache_folder.folder("images") == f"{tmp_path}/.cache/vestige/images"


def test_a_cache_that_is_only_read_is_still_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".cache" / "vestige").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert cache_folder.folder("images") == f"{tmp_path}/.cache/vestige/images"


@pytest.mark.parametrize("home", ["missing", "file", "full/of/a/file", "locked"])
def test_a_home_without_room_is_told_once_and_replaced_by_a_private_folder(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    home: str,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full" / "of" / "a" / "file").mkdir(parents=True)
    (tmp_path / "full" / "of" / "a" / "file" / ".cache").touch()
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "locked" not in str(path) and access(path, mode)
    )
    monkeypatch.setenv("HOME", str(tmp_path / home))
    assert cache_folder.folder("images") == f"{temporary}/images"
    assert packages.cache_directory("debian") == temporary / "debian"
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    assert capsys.readouterr().err == (
        f"vestige: no cache can be made in {tmp_path / home}: the cache is {temporary}; "
        f"{cache_folder.CURE}\n"
    )
    assert not (tmp_path / "missing").exists()


def test_a_place_in_which_no_folder_can_be_made_is_not_called_the_cache(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    place = f"{tmp_path}/file/{temporary.name}"
    assert cache_folder.folder("images") == f"{place}/images"
    assert capsys.readouterr().err == (
        f"vestige: no cache can be made in /nonexistent, nor as {place}: there is none; "
        f"{cache_folder.CURE}\n"
    )


@pytest.mark.parametrize("kind", ["others may look", "link", "file"])
def test_a_folder_that_others_could_fill_is_no_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path, kind: str
) -> None:
    if kind == "others may look":
        temporary.mkdir()
        temporary.chmod(0o755)
    elif kind == "link":
        (tmp_path / "mine").mkdir(mode=0o700)
        temporary.symlink_to("mine")
    else:
        temporary.touch(mode=0o600)
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match=r"not a folder of this user alone.*XDG_CACHE_HOME"):
        cache_folder.folder("images")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_another_users_folder_is_no_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path
) -> None:
    temporary.mkdir(mode=0o700)
    os.chown(temporary, NOBODY, NOBODY)
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="not a folder of this user alone"):
        cache_folder.folder("images")


def told(temporary: Path, problem: str) -> str:
    """The line of a run whose cache is among the temporary files."""
    return f"vestige: {problem}: the cache is {temporary}; {cache_folder.CURE}\n"


THEIRS = pytest.param(
    "theirs", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it away")
)


def spoil(path: Path, how: str) -> str:
    """Have others be able to change the folder; why it is refused."""
    if how == "theirs":
        os.chown(path, NOBODY, NOBODY)
        return f"{path}: belongs to user {NOBODY}, not to this one or root"
    if how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
        return f"{path}: a symbolic link, not a folder"
    path.chmod(0o770)
    return f"{path}: others may write there (chmod go-w)"


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("level", ["cache", "above", "further above"])
@pytest.mark.parametrize("how", [THEIRS, "group's"])
def test_a_cache_that_others_could_change_is_replaced_by_a_private_folder(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    level: str,
    how: str,
) -> None:
    home = tmp_path / "homes" / "home"
    cache = home / ".cache" / "vestige" if variable == "HOME" else home / "vestige"
    (cache / "images").mkdir(parents=True)
    monkeypatch.setenv(variable, str(home))
    problem = spoil({"cache": cache, "above": cache.parent}.get(level, home.parent), how)
    for _ in range(2):
        assert cache_folder.folder("images") == f"{temporary}/images"
    assert packages.cache_directory("debian") == temporary / "debian"
    assert capsys.readouterr().err == told(temporary, problem)
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


def test_a_link_in_the_caches_place_is_replaced_by_a_private_folder(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "vestige"
    cache.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    problem = spoil(cache, "link")
    assert cache_folder.make("images") == f"{temporary}/images"
    assert capsys.readouterr().err == told(temporary, problem)
    assert not [*cache.iterdir()]


@pytest.mark.parametrize("how", [THEIRS, "group's", "link"])
def test_a_folder_of_the_cache_that_others_could_change_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "vestige" / "images"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    problem = spoil(folder, how)
    for use in (cache_folder.folder, cache_folder.make):
        with pytest.raises(UsageError) as raised:
            use("images")
        assert str(raised.value) == f"{problem}; remove it, or {cache_folder.CURE}"
    with pytest.raises(UsageError):
        cache_folder.write("images", "file", b"")
    with pytest.raises(UsageError):
        cache_folder.open_file("images", "file")


def test_a_home_that_is_a_link_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "volume" / "home").mkdir(parents=True)
    (tmp_path / "home").symlink_to("volume/home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder.make("images") == f"{tmp_path}/home/.cache/vestige/images"
    assert (tmp_path / "volume/home/.cache/vestige/images").is_dir()


def test_temporary_files_that_others_could_swap_are_no_place_for_a_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path
) -> None:
    temporary.mkdir(mode=0o700)
    tmp_path.chmod(0o777)  # not sticky
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UsageError, match=r"others may write there.*no place for a cache"):
        cache_folder.folder("images")
    monkeypatch.setenv(cache_folder.TEMPORARY, str(temporary))
    with pytest.raises(UsageError, match=r"others may write there.*no place for a cache"):
        cache_folder.folder("images")


@pytest.mark.parametrize("umask", [0o002, 0o077, 0])
def test_nobody_else_can_write_what_is_made_in_a_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, umask: int
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(umask)
    try:
        cache_folder.write("images", "file", b"whole")
    finally:
        os.umask(before)
    made = [*(tmp_path / ".cache").rglob("*"), tmp_path / ".cache"]
    assert len(made) == 4
    assert not [path for path in made if path.stat().st_mode & 0o077]
    with os.fdopen(cache_folder.open_file("images", "file"), "rb") as file:
        assert file.read() == b"whole"


def test_a_file_that_can_not_be_written_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "vestige" / "images" / "file" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        cache_folder.write("images", "file", b"whole")
    assert [path.name for path in (tmp_path / "vestige" / "images").iterdir()] == ["file"]


def test_what_is_there_under_the_name_of_a_temporary_file_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"as it was")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "urandom", bytes)
    link = Path(cache_folder.make("images")) / f"{cache_folder.INCOMING}{bytes(8).hex()}"
    link.symlink_to(victim)
    with pytest.raises(FileExistsError):
        cache_folder.write("images", "file", b"whole")
    assert victim.read_bytes() == b"as it was"


TO_COMPILE = """
from vestige.host import images
print(*images.not_cached(), sep="\\n")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_root_does_not_run_what_another_user_has_in_a_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    fill(theirs / "vestige")
    os.chown(theirs, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", TO_COMPILE],
        env=os.environ | {"XDG_CACHE_HOME": str(theirs)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (told,) = done.stderr.splitlines()
    assert f"{theirs}: belongs to user {NOBODY}" in told
    assert done.returncode == 0
    places = {Path(line) for line in done.stdout.splitlines()}
    assert {place.parent for place in places} == {tmp_path / "vestige-0" / "images"}
    assert {place.name for place in places} == {Path(each).name for each in images.locations()}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder as /tmp is, that every user can reach and write, unlike pytest's own."""
    with TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def fill(cache: Path) -> None:
    """Put what this user has compiled into `cache`, which becomes NOBODY's."""
    images.ensure()
    cache.mkdir(mode=0o700)
    (cache / "images").mkdir()
    for image in images.locations():
        shutil.copy(image, cache / "images")
    for path in (cache, *cache.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
@pytest.mark.parametrize("words", [["build"], ["doctor"], ["run", "--help"]])
def test_a_user_without_any_home_has_every_command(open_folder: Path, words: list[str]) -> None:
    place = open_folder / "here"
    place.mkdir()
    place.chmod(0o777)
    fill(open_folder / f"vestige-{NOBODY}")
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # Python may be in a folder that is root's alone.
    user += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        [*user, "env", "-u", "HOME", sys.executable, "-m", "vestige.cli.main", *words],
        cwd=place,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(open_folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in ((0, 1) if words == ["doctor"] else (0,)), done.stderr
    assert "Traceback" not in done.stderr
    line = f"this user has no home: the cache is {open_folder}/vestige-{NOBODY}; "
    assert done.stderr.count(line) == (0 if "--help" in words else 1)
    assert not list(place.iterdir())
