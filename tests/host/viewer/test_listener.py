"""Where viewers connect, and the password that they give."""

import os
import select
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.viewer.listener import LETTERS, PORTS, Listener
from vestige.host.viewer.option import DisplayOption

PATIENCE = 10.0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr("vestige.host.viewer.listener.tell", lines.append)
    return lines


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s3cret\nmore\n")
    path.chmod(0o600)
    return path


def taken(listener: Listener, said: bytes) -> None:
    """Have a client taken, by a taker that says so much to it."""

    def take(descriptor: int) -> None:
        assert not os.get_blocking(descriptor)
        os.write(descriptor, said)

    listener.begin(take)
    (descriptor,) = listener.waits_for()
    assert select.select([descriptor], [], [], PATIENCE)[0]
    listener.serve({descriptor: select.POLLIN})


def test_a_free_port_is_found_and_told_with_a_password_made_up(told: list[str]) -> None:
    option = DisplayOption()
    with closing(Listener(option)) as listener, closing(Listener(DisplayOption())) as other:
        assert option.port in PORTS
        assert listener.password is not None
        assert len(listener.password) == 8
        assert set(listener.password) <= set(LETTERS)
        assert listener.password != other.password
        with socket.create_connection(("127.0.0.1", option.port or 0)) as client:
            taken(listener, b"hello")
            assert client.recv(5) == b"hello"
            assert client.recv(1) == b""  # the taker had it, and has it no more
        word = listener.password.decode()
        assert told == [f"the screen is at vnc:127.0.0.1:{option.port}, the password is {word}"]


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken_already:
        taken_already.bind(("127.0.0.1", 0))
        taken_already.listen()
        port = taken_already.getsockname()[1]
        with pytest.raises(UsageError, match=f"^--display vnc:127.0.0.1:{port}: in use; give"):
            Listener(DisplayOption(port=port))


def test_a_unix_socket_is_the_users_alone_and_has_no_password(
    tmp_path: Path, told: list[str]
) -> None:
    path = tmp_path / "screen"
    with closing(Listener(DisplayOption(path=str(path)))) as listener:
        assert listener.password is None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            taken(listener, b"x")
            assert client.recv(1) == b"x"
        assert told == [f"the screen is at vnc:unix:{path}"]
        with pytest.raises(UsageError, match=f"^--display vnc:unix:{path}: another process lis"):
            Listener(DisplayOption(path=str(path)))
    assert not path.exists()


def test_a_name_at_which_nobody_listens_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "screen"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    Listener(DisplayOption(path=str(path))).close()


def test_a_file_of_that_name_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UsageError, match="something is there that is no socket; give another"):
        Listener(DisplayOption(path=str(path)))
    assert path.read_text() == "mine"


def test_the_password_is_a_files_first_line(secret: Path) -> None:
    with closing(Listener(DisplayOption(password_file=str(secret)))) as listener:
        assert listener.password == b"s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_password_that_others_can_read_or_change_is_refused(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(UsageError, match=r"others can read or change it; chmod 600"):
        Listener(DisplayOption(password_file=str(secret)))


@pytest.mark.parametrize("text", ["", "\nx", "ninechars", "käse", "a\tb"])
def test_what_can_be_no_password_is_refused(secret: Path, text: str) -> None:
    secret.write_text(text)
    with pytest.raises(UsageError, match=r"VNC has passwords of 1 to 8 ASCII characters"):
        Listener(DisplayOption(password_file=str(secret)))


@pytest.mark.parametrize("name", ["none", "folder", "fifo"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(UsageError, match=f"^--display: password-file={tmp_path}/{name}: "):
        Listener(DisplayOption(password_file=str(tmp_path / name)))
