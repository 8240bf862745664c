"""passt and taps as the host opens them, and what is said where that can't be."""

import os
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from vestige import abi
from vestige.errors import UsageError
from vestige.host.backends import network
from vestige.host.backends.network import Network, Passt, open_network, open_tap
from vestige.host.options import parse_net

PATIENCE = 30
NEEDS_PASST = pytest.mark.skipif(not shutil.which("passt"), reason="needs passt")
# DHCPDISCOVER of 52:54:00:12:34:56, RFC 2131.
DISCOVER = (
    struct.pack(">BBBBIHH16x", 1, 1, 6, 0, 0x12345678, 0, 0)
    + network.MAC_OF_USER.ljust(16, b"\0")
    + bytes(192)
    + bytes.fromhex("63825363 350101 ff")
).ljust(300, b"\0")


def descriptors() -> set[str]:
    """Those of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(word for (word,) in struct.iter_unpack(">H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def discover() -> bytes:
    """The frame."""
    size = 20 + 8 + len(DISCOVER)
    addresses = bytes(4) + b"\xff" * 4
    header = struct.pack(">BBHIBBH", 0x45, 0, size, 0, 64, 17, 0) + addresses
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    udp = struct.pack(">HHHH", 68, 67, 8 + len(DISCOVER), 0)
    return b"\xff" * 6 + network.MAC_OF_USER + b"\x08\x00" + header + udp + DISCOVER


# ---- the words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meaning"),
    [([], None), (["user"], "user"), (["tap:" + "x" * 15], "tap:" + "x" * 15)],
)
def test_net_is_passt_or_a_tap(words: list[str], meaning: str | None) -> None:
    assert parse_net(words) == meaning


@pytest.mark.parametrize(
    "text", ["", "tap", "tap:", "tap:a/b", "tap:..", "tap:a b", "tap:" + "x" * 16, "tap:é", "eth0"]
)
def test_other_networks_are_refused_with_the_words_given(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--net {text}"):
        parse_net([text])


def test_a_guest_has_one_interface() -> None:
    with pytest.raises(UsageError, match=r"2 times --net: .*give one"):
        parse_net(["user", "tap:vm0"])


# ---- passt ------------------------------------------------------------------------------------


def test_without_passt_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match=r"^--net user: passt not found; .*apt install passt"):
        open_network("user")


@NEEDS_PASST
def test_passt_answers_dhcp_on_the_stream(capfd: pytest.CaptureFixture[str]) -> None:
    if not has_default_route():
        pytest.skip("passt needs a default route on this machine")
    with closing(open_network("user")) as passt:
        assert passt.backend == abi.NetBackend.STREAM
        try:
            data = first_answer(passt.descriptors[0], discover())
        except ConnectionError:  # the machine forbids it its namespaces, say
            (watch,) = passt.waits_for()
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            passt.serve(dict(poll.poll(PATIENCE * 1000)))
            pytest.skip(f"passt does not run here: {capfd.readouterr().err.strip()}")
    assert data[:6] == network.MAC_OF_USER
    assert data[42] == 2  # BOOTREPLY
    assert DISCOVER[4:8] in data


def first_answer(stream: int, frame: bytes) -> bytes:
    """The first frame that comes for this one. Raises ConnectionError where nobody is there."""
    os.write(stream, struct.pack(">I", len(frame)) + frame)
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        assert select.select([stream], [], [], PATIENCE)[0]
        part = os.read(stream, 4096)
        if not part:
            raise ConnectionResetError
        data += part
    return data[4:]


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
    with closing(open_network("user")) as passt:
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
    passt = open_network("user")
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
        "from vestige.host.backends.network import open_network as o; "
        "n = o('user'); print(1, flush=1)"
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
        open_network("tap:vestigeX")
    assert not Path("/sys/class/net/vestigeX").exists()


def test_an_interface_that_is_no_tap_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--net tap:lo: not a tap"):
        open_network("tap:lo")


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
        open_tap("vm0", 1, str(interfaces))
    assert descriptors() == before


def test_without_the_tun_device_it_is_said_how_to_get_it(
    interfaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "TUN", str(interfaces / "none"))
    with pytest.raises(UsageError, match=r"^--net tap:vm0: there is no .*modprobe tun"):
        open_tap("vm0", 1, str(interfaces))


def test_a_taps_guest_has_an_address_of_its_own(
    interfaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "TUN", os.devnull)
    monkeypatch.setattr(network, "_configure", lambda *_: None)
    described = abi.Net()
    with closing(open_tap("vm0", 1, str(interfaces))) as tap:
        assert isinstance(tap, Network)
        tap.describe(described, 5)
    assert bytes(described.mac) == bytes.fromhex("525400010203")
    assert (described.backend, described.mtu, described.files[0]) == (abi.NetBackend.TAP, 1500, 5)


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
    with closing(open_tap("vm0", cpus, str(interfaces))) as tap:
        tap.describe(described, 7)
        assert len(set(tap.descriptors)) == pairs
    assert descriptors() == before
    assert described.pairs == pairs
    assert list(described.files)[:pairs] == list(range(7, 7 + pairs))
