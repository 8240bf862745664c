"""Built guests appear whole or not at all, once per recipe."""

from pathlib import Path

import pytest

from tests.guests import store


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STORE", tmp_path / "store")


def test_the_same_recipe_is_built_once() -> None:
    calls = []

    def build(directory: Path) -> None:
        calls.append(directory)
        (directory / "file").write_text("content")

    first = store.built("thing", ("recipe", 1), build)
    assert store.built("thing", ("recipe", 1), build) == first
    assert (first / "file").read_text() == "content"
    assert len(calls) == 1


def test_another_recipe_is_another_directory() -> None:
    def build(directory: Path) -> None:
        (directory / "file").touch()

    assert store.built("thing", (1,), build) != store.built("thing", (2,), build)


def test_a_failed_build_leaves_nothing_that_looks_built() -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        store.built("thing", (), fail)

    def build(directory: Path) -> None:
        (directory / "whole").touch()

    ready = store.built("thing", (), build)
    assert [path.name for path in ready.iterdir()] == ["whole"]
    assert not list(store.STORE.glob("incoming-*"))
