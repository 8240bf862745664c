"""All consoles of a run together: what the monitor is told of them, and bad names."""

import fcntl
import os
import pty
import select
import socket
import stat
import struct
import termios
from contextlib import closing
from pathlib import Path

import pytest

from vestige import abi
from vestige.errors import UsageError
from vestige.host import buses
from vestige.host.backends.consoles import Consoles, open_consoles
from vestige.host.options import STDIO, ConsoleOption, PortOption

VIRTIO = "virtio"


def described(consoles: Consoles) -> tuple[abi.Config, list[int]]:
    """What the monitor is told; one file is there before. All others are sockets."""
    consoles.connect()
    config, files = abi.Config(), [99]
    consoles.describe(config, files)
    assert all(stat.S_ISSOCK(os.fstat(file).st_mode) for file in files[1:])
    assert all(os.get_blocking(file) for file in files[1:]), "else the ring answers EAGAIN"
    return config, files


def test_the_serial_port_alone() -> None:
    with closing(open_consoles(ConsoleOption(STDIO), ())) as consoles:
        config, files = described(consoles)
    assert (config.console.present, config.console.output) == (1, 1)
    assert not any(port.present for port in config.ports)
    assert len(files) in (2, 3)
    buses.place_consoles(config)
    assert config.virtio[0].kind == abi.VirtioKind.NONE


@pytest.mark.parametrize("early", [False, True])
def test_the_virtio_console_alone(tmp_path: Path, early: bool) -> None:
    option = ConsoleOption(str(tmp_path / "log"), VIRTIO, early)
    with closing(open_consoles(option, ())) as consoles:
        config, files = described(consoles)
        assert len(files) == 2
    assert (config.console.present, config.console.input) == (1, -1)
    assert config.console.output == (1 if early else -1)
    port = config.ports[0]
    assert (port.present, port.name_length, port.output, port.input) == (1, 0, 1, -1)
    assert (config.columns, config.rows) == (0, 0)
    buses.place_consoles(config)
    assert (config.virtio[0].kind, config.virtio[0].queues) == (abi.VirtioKind.CONSOLE, 4)


def test_ports_beside_the_serial_port(tmp_path: Path) -> None:
    ports = [PortOption("log", str(tmp_path / "log")), PortOption("a.b", f"unix:{tmp_path}/s")]
    with closing(open_consoles(ConsoleOption(str(tmp_path / "out")), ports)) as consoles:
        config, files = described(consoles)
    assert len(files) == 5
    assert not config.ports[0].present
    told = [
        (bytes(port.name)[: port.name_length], port.output, port.input)
        for port in config.ports
        if port.present
    ]
    assert told == [(b"log", 2, -1), (b"a.b", 3, 4)]
    config.virtio[0].kind = abi.VirtioKind.BLOCK
    buses.place_consoles(config)
    buses.place_entropy(config)
    functions = [(one.kind, one.queues) for one in config.virtio]
    assert functions[:3] == [(abi.VirtioKind.BLOCK, 0), (abi.VirtioKind.CONSOLE, 8),
                             (abi.VirtioKind.ENTROPY, 1)]  # fmt: skip


def test_a_terminals_size_is_told() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    with closing(open_consoles(ConsoleOption(os.ttyname(theirs), VIRTIO), ())) as consoles:
        config, _ = described(consoles)
    assert (config.columns, config.rows) == (132, 50)
    assert config.ports[0].input >= 0
    os.close(ours)
    os.close(theirs)


def test_a_terminals_new_size_is_told_once() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    with closing(open_consoles(ConsoleOption(os.ttyname(theirs), VIRTIO), ())) as consoles:
        described(consoles)
        assert consoles.new_size() is None, "the monitor has it"
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        assert consoles.new_size() == (100, 30)
        assert consoles.new_size() is None
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 65535, 0, 0))
        assert consoles.new_size() == (65535, 30)
        os.close(ours)
        assert consoles.new_size() in (None, (0, 0)), "it has hung up"
        assert consoles.new_size() is None
    os.close(theirs)


def test_only_a_terminal_with_hvc0_has_a_size(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    port = PortOption("p", os.ttyname(theirs))
    for option, ports in (
        (ConsoleOption(os.ttyname(theirs)), ()),
        (ConsoleOption(str(tmp_path / "log"), VIRTIO), ()),
        (ConsoleOption(str(tmp_path / "log"), VIRTIO), (port,)),
    ):
        with closing(open_consoles(option, ports)) as consoles:
            config, _ = described(consoles)
            assert (config.columns, config.rows) == (0, 0)
            assert consoles.new_size() is None
    os.close(ours)
    os.close(theirs)


def test_each_client_talks_to_its_own_port(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/{number}" for number in range(6)]
    ports = [PortOption(f"p{number}", f"unix:{path}") for number, path in enumerate(paths)]
    with closing(open_consoles(ConsoleOption(f"{tmp_path}/out"), ports)) as consoles:
        config, files = described(consoles)
        clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in paths]
        for number, (client, path) in enumerate(zip(clients, paths, strict=True)):
            client.settimeout(10)
            client.connect(path)
            client.send(b"to %d" % number)
            os.write(files[config.ports[number + 1].output], b"from %d" % number)
        while True:
            poll = select.poll()
            for descriptor, events in consoles.waits_for().items():
                poll.register(descriptor, events)
            ready = dict(poll.poll(20))
            if not ready:
                break
            consoles.serve(ready)
        for number, client in enumerate(clients):
            assert client.recv(100) == b"from %d" % number
            assert os.read(files[config.ports[number + 1].input], 100) == b"to %d" % number
            client.close()
    assert not any(Path(path).exists() for path in paths)


@pytest.mark.parametrize(
    ("option", "port", "complaint"),
    [
        ("unix:" + "x" * 108, "f", "--console virtio:unix:x{108}: a path of 108 bytes; a socket's"),
        ("out", "unix:" + "x" * 200, "--port p=unix:x{200}: a path of 200 bytes; a socket's has 1"),
        ("out", "unix:taken", "--port p=unix:taken: another process listens there; end it first"),
        ("unix:taken", "f", "--console virtio:unix:taken: another process listens there"),
        ("out", "none/log", "--port p=none/log: No such file or directory; give the path of a"),
        ("out", ".", "--port p=.: Is a directory; give the path of a file that can be written"),
    ],
)
def test_what_cant_be_opened_is_named_as_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, port: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        taken.bind("taken")
        taken.listen(8)
        with pytest.raises(UsageError, match=complaint):
            open_consoles(ConsoleOption(option, VIRTIO), [PortOption("p", port)])
    assert Path("taken").is_socket()


def test_a_bad_port_closes_what_was_opened_before_it(tmp_path: Path) -> None:
    path = f"{tmp_path}/console"
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UsageError):
        open_consoles(ConsoleOption(f"unix:{path}"), [PortOption("p", str(tmp_path))])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not Path(path).exists()
