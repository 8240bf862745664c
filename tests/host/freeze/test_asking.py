"""Where a snapshot can be put, which is looked at before anything is written."""

from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.freeze import asking


@pytest.mark.parametrize("path", ["", ".", "/", "a\0b", "\ud800"])
def test_no_place_is_told(path: str) -> None:
    with pytest.raises(UsageError, match="place for a"):
        asking._place(path)


def test_the_working_directory_is_none_and_may_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match="a folder of its own"):
        asking._place(str(here))
    here.rmdir()
    assert asking._place(str(tmp_path / "new")) == tmp_path / "new"
    with pytest.raises(UsageError, match="No such file or directory"):
        asking._place("new")
