"""The cache of images: hit, miss, damage, and what a hit does not import."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from vestige.cache_folder import INCOMING
from vestige.lang import cache
from vestige.lang.image import Image

RUN = """
import sys
from vestige.lang import cache
from vestige.lang.native import NativeImage

def build():
    from tests.lang import payload
    from vestige.lang.build import compile_functions
    print("built")
    return compile_functions([payload.moved], base=None, runtime="process")

image = cache.image("payload", cache.key(["monitor"]), build)
from tests.lang.payload import Scratch
print(hex(NativeImage(image)["moved"](Scratch())))
heavy = ("llvmlite", "elftools", "vestige.lang.compiler", "vestige.lang.build", "dataclasses")
print([name for name in sys.modules if name.startswith(heavy)])
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def image(code: bytes = bytes(4096)) -> Image:
    return Image(
        base=None, runtime="process", code=code, memory_size=len(code), symbols={}, sites=(),
        signatures={}, files=(), rows=b"",
    )  # fmt: skip


def unexpected() -> NoReturn:
    raise AssertionError("built again")


def test_the_second_run_imports_no_compiler() -> None:
    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", RUN], capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout.splitlines()

    first, second = run(), run()
    assert first[0] == "built"
    assert second[0] == first[1]
    assert second[1] == "[]"


def test_what_is_kept_is_found(home: Path) -> None:
    cache.image("a", cache.key(["abi"]), lambda: image(b"x" * 4096))
    assert cache.image("a", cache.key(["abi"]), unexpected).code == b"x" * 4096
    assert Path(cache.location("a", cache.key(["abi"]))).is_relative_to(home / "vestige")


def test_other_sources_are_another_image() -> None:
    assert cache.key(["monitor"]) != cache.key(["host/loop/runloop.py"])
    assert cache.key(["monitor"]) == cache.key(["monitor"])


@pytest.mark.parametrize(
    "edited", ["monitor/model.py", "lang/compiler/emit.py", "lang/runtime/x.s", "abi/layout.py"]
)
def test_an_edited_source_is_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    package = tmp_path / "vestige"
    for name in ("monitor/model.py", "lang/compiler/emit.py", "lang/runtime/x.s", "abi/layout.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("one")
    monkeypatch.setattr(cache, "PACKAGE", str(package))
    before = cache.key(["monitor"])
    (package / edited).write_text("two")
    assert cache.key(["monitor"]) != before


def test_settled_sources_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lang").mkdir()
    (tmp_path / "abi").mkdir()
    (tmp_path / "abi" / "layout.py").write_text("one")
    monkeypatch.setattr(cache, "PACKAGE", str(tmp_path))
    monkeypatch.setattr(cache, "SETTLED", -3600 * 10**9)  # as if an hour had gone by
    before = cache.key(["abi"])
    monkeypatch.setattr(cache, "_digest", lambda names, versions: "read again")
    assert cache.key(["abi"]) == before
    (tmp_path / "abi" / "layout.py").write_text("three")
    assert cache.key(["abi"]) == "read again"


@pytest.mark.parametrize("damage", [b"\xff" * 32, b"a\0b", b"../../elsewhere", b""])
def test_a_kept_key_that_is_none_is_made_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    monkeypatch.setattr(cache, "SETTLED", -3600 * 10**9)
    expected = cache.key(["abi"])
    (file,) = (home / "vestige" / "images").glob("sources-*.key")
    stamp, _, _ = file.read_bytes().partition(b" ")
    file.write_bytes(stamp + b" " + damage)
    assert cache.key(["abi"]) == expected
    assert file.read_bytes() == stamp + b" " + expected.encode()


def test_another_llvmlite_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key(["abi"])
    (tmp_path / "llvmlite-0.1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert cache.llvmlite_version() == "0.1.0"
    assert cache.key(["abi"]) != before


def test_llvmlites_version_is_the_real_one() -> None:
    import llvmlite  # noqa: PLC0415  (only this test needs it)

    assert cache.llvmlite_version() == llvmlite.__version__


def test_new_images_replace_old_ones_of_their_name(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    cache.image("b", cache.key(["abi"]), image)
    for version in range(cache.KEPT + 2):
        monkeypatch.setattr(cache, "llvmlite_version", lambda version=version: str(version))
        cache.image("a", cache.key(["abi"]), image)
    place = home / "vestige" / "images"
    names = [path.name.split("-")[0] for path in place.iterdir()]
    assert (names.count("a"), names.count("b")) == (cache.KEPT, 1)
    assert cache.image("a", cache.key(["abi"]), unexpected).code == image().code


@pytest.mark.parametrize("of_bytes", [False, True])
def test_what_is_used_is_kept_and_what_is_not_is_replaced(home: Path, of_bytes: bool) -> None:
    def keep(key: str) -> None:
        if of_bytes:
            cache.data("a", key, lambda: b"some")
        else:
            cache.image("a", key, image)

    def use(key: str) -> None:
        if of_bytes:
            cache.data("a", key, unexpected)
        else:
            cache.image("a", key, unexpected)

    for number in range(cache.KEPT):
        keep(f"{number}")
        os.utime(cache.location("a", f"{number}"), (number, number))
    use("0")
    keep("new")
    left = {path.stem for path in (home / "vestige" / "images").iterdir()}
    assert left == {"a-0", "a-new", *(f"a-{number}" for number in range(2, cache.KEPT))}


def test_a_damaged_image_is_built_again() -> None:
    cache.image("a", cache.key(["abi"]), image)
    Path(cache.location("a", cache.key(["abi"]))).write_bytes(b"damaged")
    assert cache.image("a", cache.key(["abi"]), lambda: image(b"y" * 4096)).code == b"y" * 4096
    assert cache.image("a", cache.key(["abi"]), unexpected).code == b"y" * 4096


def give_away(file: Path) -> None:
    os.chown(file, 12345, 12345)


def replace_by_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def name_twice(file: Path) -> None:
    file.with_name("elsewhere").hardlink_to(file)


ATTACKS = {
    "another user's": give_away,
    "the group's": lambda file: file.chmod(0o620),
    "everybody's": lambda file: file.chmod(0o602),
    "a link": replace_by_link,
    "a file with another name": name_twice,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_image_that_others_could_have_written_is_built_again(attack: str) -> None:
    if attack == "another user's" and os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    cache.image("a", "key", image)
    file = Path(cache.location("a", "key"))
    ATTACKS[attack](file)
    assert cache.kept("a", "key") is None
    assert cache.image("a", "key", lambda: image(b"y" * 4096)).code == b"y" * 4096
    assert cache.image("a", "key", unexpected).code == b"y" * 4096
    assert (file.stat().st_uid, file.stat().st_mode & 0o7777) == (os.geteuid(), 0o600)
    elsewhere = file.with_name("elsewhere")
    if elsewhere.exists():
        assert Image.load(str(elsewhere)).code == bytes(4096)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_key_that_others_could_have_written_is_made_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    if attack == "another user's" and os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    monkeypatch.setattr(cache, "SETTLED", -3600 * 10**9)
    expected = cache.key(["abi"])
    (file,) = (home / "vestige" / "images").glob("sources-*.key")
    stamp, _, _ = file.read_bytes().partition(b" ")
    file.write_bytes(stamp + b" " + b"0" * len(expected))
    assert cache.key(["abi"]) == "0" * len(expected)
    ATTACKS[attack](file)
    assert cache.key(["abi"]) == expected


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.image("a", cache.key(["abi"]), image).code == bytes(4096)
    assert cache.unusable() == f"{tmp_path}/file/vestige/images"


def test_a_directory_in_an_images_place_is_no_image() -> None:
    assert cache.unusable() is None
    Path(cache.location("a", "key")).mkdir(parents=True)
    assert cache.kept("a", "key") is None


def test_what_a_killed_process_was_writing_is_removed_once_that_is_sure(home: Path) -> None:
    place = home / "vestige" / "images"
    place.mkdir(parents=True)
    old, new = place / f"{INCOMING}1", place / f"{INCOMING}2"
    for file in (old, new):
        file.write_bytes(b"half an im")
    os.utime(old, (0, 0))
    cache.image("a", cache.key(["abi"]), image)
    assert not old.exists()
    assert new.exists()


def test_bytes_are_kept_too_and_made_anew_where_they_are_damaged(home: Path) -> None:
    made: list[bytes] = []

    def build() -> bytes:
        made.append(bytes(range(100)))
        return made[-1]

    assert [cache.data("filter", "a", build) for _ in range(2)] == [bytes(range(100))] * 2
    assert len(made) == 1
    (file,) = (home / "vestige" / cache.FOLDER).glob("filter-*")
    for damaged in (file.read_bytes()[:-1], b"", bytes(200)):
        file.write_bytes(damaged)
        assert cache.data("filter", "a", build) == bytes(range(100))
    assert len(made) == 4


def test_what_can_not_be_made_is_not_kept(home: Path) -> None:
    assert cache.data("filter", "a", lambda: None) is None
    assert not [*(home / "vestige").rglob("filter-*")]
