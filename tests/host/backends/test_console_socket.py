"""A console behind a Unix socket: clients that come and go, and names that are not ours."""

import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.backends import console_socket
from vestige.host.backends.console import Console
from vestige.host.backends.console_socket import Socket
from vestige.host.backends.consoles import open_console


def refusal(name: str) -> str:
    with pytest.raises(UsageError) as error:
        open_console(name)
    return str(error.value)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "console")


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(path)
    return client


def serve_until_idle(console: Console) -> None:
    """What the host's wait does, until there is nothing to do."""
    while True:
        poll = select.poll()
        for descriptor, events in console.waits_for().items():
            poll.register(descriptor, events)
        ready = dict(poll.poll(20))
        if not ready:
            return
        console.serve(ready)


@pytest.fixture
def console(path: str) -> Iterator[Socket]:
    made = open_console(f"unix:{path}")
    assert isinstance(made, Socket)
    with closing(made):
        yield made


def test_a_client_and_the_guest_talk(console: Socket, path: str) -> None:
    with connect(path) as client:
        os.write(console.output, b"login: ")
        client.send(b"root\n")
        serve_until_idle(console)
        assert client.recv(100) == b"login: "
        assert console.input is not None
        assert os.read(console.input, 100) == b"root\n"


def test_output_waits_for_the_first_client(console: Socket, path: str) -> None:
    os.write(console.output, b"early")
    serve_until_idle(console)
    with connect(path) as client:
        serve_until_idle(console)
        assert client.recv(100) == b"early"


def test_only_the_latest_output_waits(console: Socket, path: str) -> None:
    for number in range(200):
        os.write(console.output, f"{number:04}".encode() * 256)
        serve_until_idle(console)
    with connect(path) as client:
        serve_until_idle(console)
        received = client.recv(1 << 20)
    assert received.endswith(b"0199")
    assert len(received) <= console_socket.BACKLOG


def test_a_client_that_left_makes_room_for_the_next(console: Socket, path: str) -> None:
    connect(path).close()
    serve_until_idle(console)
    with connect(path) as client:
        os.write(console.output, b"again")
        serve_until_idle(console)
        assert client.recv(100) == b"again"


def test_a_client_that_reads_nothing_holds_up_the_guest_not_the_host(
    console: Socket, path: str
) -> None:
    os.set_blocking(console.output, False)
    with connect(path):
        serve_until_idle(console)
        sent = 0
        while sent < 1 << 22 and select.select([], [console.output], [], 0)[1]:
            sent += os.write(console.output, bytes(4096))
            serve_until_idle(console)
        assert sent < 1 << 22


def test_what_is_left_reaches_the_client_at_the_end(path: str) -> None:
    console = open_console(f"unix:{path}")
    with connect(path) as client:
        serve_until_idle(console)
        os.write(console.output, b"Power down")
        console.close()
        assert client.recv(100) == b"Power down"
        assert client.recv(100) == b""
    assert not Path(path).exists()


def test_a_stale_socket_is_taken_over(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)
    assert Path(path).is_socket()
    open_console(f"unix:{path}").close()


def test_a_socket_in_use_is_refused_and_left_alone(console: Socket, path: str) -> None:
    assert "another process listens there" in refusal(f"unix:{path}")
    connect(path).close()


def test_a_file_in_the_sockets_place_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "something is there that is no socket" in refusal(f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "precious"
    assert "something is there that is no socket" in refusal(f"unix:{tmp_path}")


def test_a_link_to_a_stale_socket_is_refused_and_left_alone(path: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert "something is there that is no socket" in refusal(f"unix:{link}")
    assert link.is_symlink()


def test_bad_socket_paths_are_refused(tmp_path: Path) -> None:
    assert "a socket's has 1 to 107" in refusal("unix:")
    assert "200 bytes" in refusal("unix:" + "x" * 200)
    assert "No such file or directory" in refusal(f"unix:{tmp_path}/none/s")


# ---- clients that end one half, or all -------------------------------------------------------


def test_a_client_that_ended_its_input_gets_the_answers(console: Socket, path: str) -> None:
    assert console.input is not None
    with connect(path) as client:
        client.send(b"question")
        client.shutdown(socket.SHUT_WR)
        serve_until_idle(console)
        assert os.read(console.input, 100) == b"question"
        for answer in (b"first", b"second"):
            os.write(console.output, answer)
            serve_until_idle(console)
            assert client.recv(100) == answer


def test_it_makes_room_for_the_next_once_it_is_gone(console: Socket, path: str) -> None:
    client = connect(path)
    client.shutdown(socket.SHUT_WR)
    serve_until_idle(console)
    client.close()
    serve_until_idle(console)
    with connect(path) as other:
        os.write(console.output, b"to the other")
        serve_until_idle(console)
        assert other.recv(100) == b"to the other"


def test_what_a_client_sent_before_it_left_reaches_the_guest(console: Socket, path: str) -> None:
    assert console.input is not None
    os.write(console.output, b"unread")
    with connect(path) as client:
        client.sendall(b"x" * 10000)
    os.set_blocking(console.input, False)  # where nothing comes, that is an error
    received = b""
    while len(received) < 10000:
        serve_until_idle(console)
        received += os.read(console.input, 1 << 16)
    assert received == b"x" * 10000


def test_a_client_that_takes_nothing_more_may_still_send(console: Socket, path: str) -> None:
    assert console.input is not None
    with connect(path) as client:
        client.shutdown(socket.SHUT_RD)
        serve_until_idle(console)
        for _ in range(40):
            os.write(console.output, bytes(4096))
            serve_until_idle(console)
        client.send(b"typed")
        serve_until_idle(console)
        assert os.read(console.input, 100) == b"typed"


# ---- limits ----------------------------------------------------------------------------------


@contextmanager
def files_limited_to(count: int) -> Iterator[None]:
    """No descriptor from `count` on can be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_more_files() -> Iterator[None]:
    """Every descriptor that this process may have is in use."""
    most = max(int(name) for name in os.listdir("/proc/self/fd")) + 1  # noqa: PTH208
    taken: list[int] = []
    with files_limited_to(most):
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


def test_clients_are_taken_where_no_more_files_may_be_open(console: Socket, path: str) -> None:
    with connect(path) as first, connect(path) as second, no_more_files():
        os.write(console.output, b"to the first")
        serve_until_idle(console)
        assert first.recv(100) == b"to the first"
        first.shutdown(socket.SHUT_RDWR)
        serve_until_idle(console)
        os.write(console.output, b"to the second")
        serve_until_idle(console)
        assert second.recv(100) == b"to the second"


def test_a_client_that_cannot_be_taken_waits_and_is_told_of_once(
    console: Socket, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(path) as client:
        with files_limited_to(3):
            for _ in range(3):  # that nobody is busy with it is that this ends
                os.write(console.output, b"said ")
                serve_until_idle(console)
        serve_until_idle(console)
        os.write(console.output, b"again")
        serve_until_idle(console)
        assert client.recv(100) == b"said said said again"
    assert capsys.readouterr().err == (
        f"vestige: --console unix:{path}: a client has to wait: Too many open files; RLIMIT_NOFILE"
        " allows 3 open files, raise it: ulimit -n 4096\n"
    )


# ---- names that are not ours -----------------------------------------------------------------

PROBE = (
    "import sys; from vestige.host.backends.consoles import open_console; open_console(sys.argv[1])"
)


def test_who_listens_and_takes_nobody_stops_no_start(path: str) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as queued,
    ):
        listener.bind(path)
        listener.listen(0)
        queued.connect(path)
        done = subprocess.run(
            [sys.executable, "-c", PROBE, f"unix:{path}"],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert b"another process listens there; end it first" in done.stderr


def test_what_took_the_sockets_place_stays(path: str) -> None:
    with closing(open_console(f"unix:{path}")):
        Path(path).unlink()
        Path(path).write_text("precious")
    assert Path(path).read_text() == "precious"


def test_another_runs_socket_in_its_place_stays(path: str) -> None:
    with closing(open_console(f"unix:{path}")) as console:
        Path(path).unlink()
        with closing(open_console(f"unix:{path}")) as other:
            console.close()
            connect(path).close()
            serve_until_idle(other)


def test_a_refused_start_leaves_no_descriptor_open(path: str) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    refusal(f"unix:{path}/none")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
