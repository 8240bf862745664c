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


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach and write, unlike pytest's own."""
    with TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
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
