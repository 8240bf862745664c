"""passt and taps as the host opens them, and what is said where that can't be."""

import ipaddress
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.host.backends.frames import Stream, datagram, syn
from vestige import abi
from vestige.errors import UsageError
from vestige.host.backends import network
from vestige.host.backends.network import Network, Passt, name_servers, open_network, open_tap
from vestige.host.options import NetOption, parse_net

PATIENCE = 30
TAP = NetOption("tap:vm0")


def descriptors() -> set[str]:
    """Those of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


# ---- the words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ([], None),
        (["user"], NetOption("user")),
        (["user,host-loopback"], NetOption("user,host-loopback")),
        (["tap:" + "x" * 15], NetOption("tap:" + "x" * 15)),
        (["tap:a,mac=52:54:00:AB:cd:ef"], NetOption("tap:a", bytes.fromhex("525400abcdef"))),
        (
            ["user,host-loopback,mac=02:00:00:00:00:01"],
            NetOption("user,host-loopback", bytes.fromhex("020000000001")),
        ),
    ],
)
def test_net_is_passt_or_a_tap(words: list[str], meaning: NetOption | None) -> None:
    option = parse_net(words)
    assert option == meaning
    assert (option is None) == (words == [])
    assert option is None or [option.words] == [words[0].lower()]


@pytest.mark.parametrize(
    "text",
    [
        *("", "tap", "tap:", "tap:a/b", "tap:..", "tap:a b", "tap:" + "x" * 16, "tap:é", "eth0"),
        *("user,", "user,loopback", "user,host-loopback,host-loopback", "user:host-loopback"),
        *("user,mac=", "tap:,mac=keep", "tap:a,mac=52:54:00:12:34", "tap:a,mac=5254.0012.3456"),
        *("tap:a,mac=52:54:00:12:34:5g", "tap:a,mac=53:54:00:12:34:56", "user,mac=keep"),
        *("tap:a,mac=00:00:00:00:00:00", "tap:a,mac=+1:54:00:12:34:56", "tap:a,mac=52:54: 0:1:2:3"),
    ],
)
def test_other_networks_are_refused_with_the_words_given(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--net {re.escape(text)}"):
        parse_net([text])


def test_a_guest_has_one_interface() -> None:
    with pytest.raises(UsageError, match=r"2 times --net: .*give one"):
        parse_net(["user", "tap:vm0"])


# ---- passt ------------------------------------------------------------------------------------


def test_without_passt_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match=r"^--net user: passt not found; .*apt install passt"):
        open_network(NetOption("user"))


@pytest.fixture
def passt() -> Iterator[Callable[..., Stream]]:
    """Starts passt; its stream, which has given the guest an address."""
    if not shutil.which("passt"):
        pytest.skip("needs passt")
    if not has_default_route():
        pytest.skip("passt needs a default route on this machine")
    opened = []

    def start(words: str) -> Stream:
        opened.append(open_network(NetOption(words)))
        assert opened[-1].backend == abi.NetBackend.STREAM
        stream = Stream(opened[-1].descriptors[0])
        try:
            stream.lease()
        except ConnectionError:  # the machine forbids it its namespaces, say
            assert isinstance(opened[-1], Passt)
            pytest.skip(f"passt does not run here{opened[-1]._last_words()}")
        return stream

    yield start
    for each in opened:
        each.close()


def test_passt_answers_dhcp_on_the_stream(passt: Callable[..., Stream]) -> None:
    data = passt("user").lease()
    assert data[:6] == network.mac_of(NetOption("user"))
    assert data[42] == 2  # BOOTREPLY


class Listeners:
    """TCP and UDP on one port of this host's own loopback."""

    def __init__(self, family: socket.AddressFamily) -> None:
        place = "127.0.0.1" if family == socket.AF_INET else "::1"
        self.stream = socket.create_server((place, 0), family=family)
        self.port = self.stream.getsockname()[1]
        self.datagrams = socket.socket(family, socket.SOCK_DGRAM)
        self.datagrams.bind((place, self.port))

    def reached(self) -> list[str]:
        """What a guest has come to."""
        both = {self.stream: "TCP", self.datagrams: "UDP"}
        return [both[each] for each in select.select(list(both), [], [], 0)[0]]

    def close(self) -> None:
        """Both."""
        self.stream.close()
        self.datagrams.close()


def gateway(version: int) -> str | None:
    """This machine's, as /proc says; None: there is none."""
    if version == 4:
        for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
            _, to, through, *_ = line.split()
            if int(to, 16) == 0:
                return str(ipaddress.IPv4Address(int(through, 16).to_bytes(4, "little")))
        return None
    for line in Path("/proc/net/ipv6_route").read_text(encoding="ascii").splitlines():
        to, length, _, _, through, *_, interface = line.split()
        if int(to, 16) == int(length, 16) == 0 and int(through, 16) and interface != "lo":
            return str(ipaddress.IPv6Address(int(through, 16)))
    return None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("words", "reached"), [("user", []), ("user,host-loopback", ["TCP", "UDP"])]
)
def test_the_hosts_loopback_is_at_the_gateway_only_where_it_is_asked_for(
    passt: Callable[..., Stream], version: int, words: str, reached: list[str]
) -> None:
    to = gateway(version)
    if to is None:
        pytest.skip(f"no gateway of version {version} on this machine")
    stream = passt(words)
    mac = stream.lease()[6:12]
    # Any address: that one passt takes as the guest's.
    mine = ipaddress.ip_address("198.51.100.7" if version == 4 else "2001:db8::7")
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with closing(Listeners(family)) as listeners:
        there = ipaddress.ip_address(to)
        stream.send(syn(mine, there, listeners.port, mac))
        stream.send(datagram(mine, there, listeners.port, b"knock", mac))
        stream.settle()
        assert listeners.reached() == reached


LOCAL, REMOTE = "nameserver 127.0.0.53\n", "nameserver 192.0.2.53\n"


@pytest.mark.parametrize(
    ("resolvers", "uplinks", "words"),
    [
        (REMOTE, None, []),
        (LOCAL + REMOTE, None, []),
        (None, None, []),
        ("# nobody\nnameserver\n", REMOTE, []),
        (LOCAL, None, ["--dns-forward", "169.254.1.1"]),
        ("nameserver 127.0.0.1\nnameserver ::1\n", LOCAL, ["--dns-forward", "169.254.1.1"]),
        (
            LOCAL,
            REMOTE + "search example.org\nnameserver fe80::1%eth0\nnameserver 2001:db8::53\n",
            ["--dns", "192.0.2.53", "--dns", "2001:db8::53"],
        ),
    ],
)
def test_a_name_server_on_the_hosts_loopback_is_answered_for_by_passt(
    tmp_path: Path, resolvers: str | None, uplinks: str | None, words: list[str]
) -> None:
    for name, text in (("resolvers", resolvers), ("uplinks", uplinks)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert name_servers(str(tmp_path / "resolvers"), str(tmp_path / "uplinks")) == words


@pytest.mark.parametrize(("words", "said"), [("user", ["--no-map-gw"]), ("user,host-loopback", [])])
def test_passt_is_told_what_of_the_host_the_guest_may_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: list[str]
) -> None:
    os.mkfifo(tmp_path / "said")
    a_program(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/said; cat <&3 >/dev/null')
    monkeypatch.setattr(network, "name_servers", list)
    with closing(open_network(NetOption(words))):
        assert (tmp_path / "said").read_text().split()[4:] == said


def has_default_route() -> bool:
    """As /proc says."""
    routes = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[1] == "00000000" for line in routes)


def a_program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """In passt's place."""
    path = folder / "passt"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_passt_that_ends_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    a_program(tmp_path, monkeypatch, "echo one; echo no route to \x07 anything >&2; exit 3")
    with closing(open_network(NetOption("user"))) as passt:
        (watch,) = passt.waits_for()
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        passt.serve(dict(poll.poll(PATIENCE * 1000)))
        assert passt.waits_for() == {}
        assert os.read(passt.descriptors[0], 1) == b""
    said = capfd.readouterr().err
    assert said == (
        "vestige: passt has ended (status 3): the guest's network is down;"
        " passt says: no route to ? anything\n"
    )


def test_closing_ends_passt_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path, monkeypatch, 'echo $$ > "$0.pid"; kill -STOP $$')
    before = descriptors()
    passt = open_network(NetOption("user"))
    assert isinstance(passt, Passt)
    pid = passt._pid
    assert pid is not None
    passt.close()
    assert descriptors() == before
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_passt_loses_its_socket_when_this_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = tmp_path / "ended"
    os.mkfifo(ended)
    a_program(tmp_path, monkeypatch, f"cat <&3 >/dev/null; echo done > {ended}")
    opener = (
        "from vestige.host.backends.network import open_network; "
        "from vestige.host.options import NetOption; "
        "n = open_network(NetOption('user')); print(1, flush=1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", f"{opener}; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"1\n"
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    assert ended.read_text() == "done\n"
    process.stdin.close()
    process.stdout.close()


# ---- taps -------------------------------------------------------------------------------------


def test_a_tap_that_does_not_exist_is_not_made() -> None:
    with pytest.raises(
        UsageError, match=r"^--net tap:vestigeX: no such interface; make it: .*tuntap"
    ):
        open_network(NetOption("tap:vestigeX"))
    assert not Path("/sys/class/net/vestigeX").exists()


def test_an_interface_that_is_no_tap_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--net tap:lo: not a tap"):
        open_network(NetOption("tap:lo"))


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    """A folder like sysfs's, with a tap that no kernel has."""
    folder = tmp_path / "vm0"
    folder.mkdir()
    for name, line in (("tun_flags", "0x1002"), ("address", "fe:54:00:01:02:03"), ("mtu", "1500")):
        (folder / name).write_text(line + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(1, "Operation not permitted"),
            "not permitted; .*tuntap add vm0 mode tap user",
        ),
        (OSError(16, "Device or resource busy"), "in use by another program"),
        (OSError(22, "Invalid argument"), "Invalid argument; give a tap made by"),
    ],
)
def test_a_tap_that_can_not_be_had_is_refused(
    interfaces: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(network, "TUN", os.devnull)
    monkeypatch.setattr(network, "_configure", refuse)
    before = descriptors()
    with pytest.raises(UsageError, match=f"^--net tap:vm0: .*{words}"):
        open_tap(TAP, 1, str(interfaces))
    assert descriptors() == before


def test_without_the_tun_device_it_is_said_how_to_get_it(
    interfaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "TUN", str(interfaces / "none"))
    with pytest.raises(UsageError, match=r"^--net tap:vm0: there is no .*modprobe tun"):
        open_tap(TAP, 1, str(interfaces))


def test_a_taps_guest_has_an_address_of_its_own(
    interfaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "TUN", os.devnull)
    monkeypatch.setattr(network, "_configure", lambda *_: None)
    described = abi.Net()
    with closing(open_tap(TAP, 1, str(interfaces))) as tap:
        assert isinstance(tap, Network)
        tap.describe(described, 5)
    assert bytes(described.mac) == bytes.fromhex("525400010203")
    assert bytes(described.mac) == network.mac_of(TAP, str(interfaces))
    assert (described.backend, described.mtu, described.files[0]) == (abi.NetBackend.TAP, 1500, 5)


@pytest.mark.parametrize("way", ["user", "user,host-loopback", "tap:vm0", "tap:none"])
def test_a_guest_has_the_address_that_is_asked_for(interfaces: Path, way: str) -> None:
    mac = bytes.fromhex("0200000000aa")
    assert network.mac_of(NetOption(way, mac), str(interfaces)) == mac


@pytest.mark.parametrize(
    ("flags", "cpus", "pairs"), [("0x1002", 8, 1), ("0x1102", 3, 3), ("0x1102", 32, 4)]
)
def test_a_tap_made_with_several_queues_is_opened_for_each_cpu(
    interfaces: Path, monkeypatch: pytest.MonkeyPatch, flags: str, cpus: int, pairs: int
) -> None:
    (interfaces / "vm0" / "tun_flags").write_text(flags + "\n")
    monkeypatch.setattr(network, "TUN", os.devnull)
    monkeypatch.setattr(network, "_configure", lambda *_: None)
    described = abi.Net()
    before = descriptors()
    with closing(open_tap(TAP, cpus, str(interfaces))) as tap:
        tap.describe(described, 7)
        assert len(set(tap.descriptors)) == pairs
    assert descriptors() == before
    assert described.pairs == pairs
    assert list(described.files)[:pairs] == list(range(7, 7 + pairs))
