"""`vestige stop`: whose processes it can wait for."""

from contextlib import closing
from pathlib import Path

import pytest

from vestige.cli import stop
from vestige.cli.arguments import Arguments
from vestige.errors import GuestError
from vestige.host.control import client
from vestige.host.control.folder import open_folder


@pytest.mark.parametrize("number", [0, -1])
def test_a_run_without_a_number_here_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    """As the kernel has it of one in a PID namespace above this one, or beside it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(client, "PEER", Peer(number))
    folder = open_folder(make=True)
    assert folder is not None
    with closing(folder):
        listener, _ = folder.listen("one")
        with closing(listener), pytest.raises(GuestError) as told:
            stop.run(Arguments({}, ["one"]))
    assert str(told.value) == "one: its process is in another PID namespace; stop it from there"


class Peer:
    """The layout of struct ucred, of a process of this number."""

    size = 12

    def __init__(self, number: int) -> None:
        self._number = number

    def unpack(self, _data: bytes) -> tuple[int, int, int]:
        return self._number, 0, 0
