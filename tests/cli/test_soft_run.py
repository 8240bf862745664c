"""A run in the software host: the same command inside, refused early when its input is bad."""

import os
import pty
import select
import socket
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vestige
from tests.machine import images
from vestige.cli import run as run_command
from vestige.cli import soft_inside, soft_run
from vestige.errors import UsageError
from vestige.host.files.opening import open_files
from vestige.host.options import PC, DiskOption, JailOption, NetOption, PortOption, RunOptions
from vestige.host.resources import Resources
from vestige.signals import Signals, Watch
from vestige.softhost import detect, emulator, qemu
from vestige.softhost.host import trees_apart

WORDS = [
    *("--kernel=boot/vmlinuz", "--initrd=boot/initrd", "--append=--quiet root=/dev/sda1"),
    *("--memory=1G", "--cpus=2", "--timeout=60", "--stats=out.json", "--net=user", "--accel=soft"),
    *("--disk=a.img,discard=unmap", "--disk=b,,c.img,readonly", "--on-reboot=restart", "--hpet"),
    *("--port=a=log", "--port=org.b=unix:b", "--console=virtio,early:unix:/run/c", "--rng"),
]

NO_CODE = ("/dev/vdc", "0", "0")


def inside(words: list[str]) -> tuple[RunOptions, list[str]]:
    """What the run inside makes of its words, and the devices it is given."""
    start = words.index(soft_inside.PROGRAM) + 5  # behind where Vestige is, and its code
    arguments = soft_inside.SYNTAX.read(words[start:])
    return run_command.options_of(arguments), arguments.rest


def test_the_inner_command_means_what_the_outer_one_meant() -> None:
    given = run_command.SYNTAX.read(WORDS)
    outer = run_command.options_of(given)
    words = soft_run.command(run_command.SYNTAX.words(given), ["/dev/vdc", "10"], NO_CODE)
    inner, places = inside(words)
    assert places == ["/dev/vdc", "10"]
    assert (outer.accel, inner.accel) == ("soft", "kvm")
    assert (outer.timeout, inner.timeout) == (60.0, None), "it is counted out here"
    inner.accel, inner.timeout = outer.accel, outer.timeout
    assert inner == outer


def test_the_hosts_loopback_is_the_callers_not_the_software_hosts() -> None:
    """Where the caller asks for it, the gateway inside is it already."""
    for mac in ("", ",mac=52:54:00:00:00:01"):
        given = run_command.SYNTAX.read(["--kernel=k", f"--net=user,host-loopback{mac}"])
        inner, _ = inside(soft_run.command(run_command.SYNTAX.words(given), [], NO_CODE))
        assert inner.net is not None
        assert inner.net.words == f"user{mac}"


def test_a_run_that_falls_back_to_the_software_host_says_what_that_may_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kernel: str
) -> None:
    state = detect.KvmState(detect.Kvm.ABSENT, "there is no KVM here")
    monkeypatch.setattr(detect, "kvm_state", lambda: state)
    asked: list[RunOptions] = []

    def run(options: RunOptions, _words: list[str]) -> int:
        asked.append(options)
        return 7

    monkeypatch.setattr(soft_run, "run", run)
    assert run_command.run(run_command.SYNTAX.read(["--kernel", kernel])) == 7
    assert asked[0].accel == "soft"
    assert capsys.readouterr().err == (
        "vestige: there is no KVM here: using the software host, which may read"
        f" {', '.join(trees_apart())} here, and write what this run names\n"
    )


def test_a_software_host_that_is_kept_apart_shares_only_trees_to_be_read() -> None:
    shares = qemu.shares_of(["/usr", "/opt/a,b"])
    assert [(share.path, share.read_only) for share in shares] == [
        ("/usr", True),
        ("/opt/a,b", True),
    ]
    assert len({share.tag for share in shares}) == 2
    for each in trees_apart():
        own = (Path(sys.base_prefix).resolve(), Path(vestige.__file__).resolve().parent)
        assert each == "/usr" or Path(each) in own


def test_nothing_of_the_working_directory_or_the_environment_is_imported() -> None:
    assert soft_run.command(WORDS, [], NO_CODE)[1:3] == ["-I", "-S"]


def test_ports_are_looked_at_before_anything_is_booted(kernel: str, tmp_path: Path) -> None:
    options = RunOptions(kernel, ports=(PortOption("p", f"{tmp_path}/none/log"),))
    with pytest.raises(UsageError, match=r"--port p=.*/none/log: No such file or directory"):
        soft_run.run(options, [])


@pytest.fixture
def kernel(tmp_path: Path) -> str:
    return images.write(tmp_path, images.bzimage())


@pytest.fixture
def opened(kernel: str) -> Iterator[Callable[..., soft_run.Connected]]:
    """Opens the files of a run with these ports, and connects them."""
    with Signals() as signals, Resources() as resources:

        def connect(*ports: PortOption, **more: Any) -> soft_run.Connected:
            options = RunOptions(kernel, ports=ports, **more)
            files = open_files(options, resources, Watch(signals))
            return soft_run.Connected(options, files, resources)

        yield connect


def serve_until(connected: soft_run.Connected, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        poll = select.poll()
        for descriptor, events in connected.waits_for().items():
            poll.register(descriptor, events)
        connected.serve(dict(poll.poll(100)))


def test_ports_have_streams_and_their_files_stay_out_here(
    opened: Callable[..., soft_run.Connected], tmp_path: Path
) -> None:
    log, stats = tmp_path / "log", tmp_path / "stats"
    for each in (log, stats):
        each.touch()
    ports = PortOption("a", f"unix:{tmp_path}/socket"), PortOption("b", str(log))
    connected = opened(*ports, stats=str(stats))
    socket_stream, log_stream, stats_stream = connected.streams
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"{tmp_path}/socket")
        client.setblocking(False)
        client.sendall(b"in")
        os.write(socket_stream, b"out")
        serve_until(connected, lambda: bool(select.select([socket_stream], [], [], 0)[0]))
        assert os.read(socket_stream, 10) == b"in"
        serve_until(connected, lambda: bool(select.select([client], [], [], 0)[0]))
        assert client.recv(10) == b"out"
    os.write(log_stream, b"logged")
    os.write(stats_stream, b"{}")
    serve_until(connected, lambda: log.read_bytes() == b"logged" and stats.read_bytes() == b"{}")


def test_files_are_emptied_once_the_guest_has_said_something_or_has_begun(
    opened: Callable[..., soft_run.Connected], tmp_path: Path
) -> None:
    """The run in there may be refused yet."""
    log, stats = tmp_path / "log", tmp_path / "stats"
    log.write_bytes(b"precious")
    connected = opened(PortOption("b", str(log)), stats=str(stats))
    connected.start()
    assert log.read_bytes() == b"precious"
    assert not stats.exists()
    os.write(connected.streams[0], b"logged")
    serve_until(connected, lambda: log.read_bytes() == b"logged")
    assert not stats.exists()
    connected._files.begin()
    assert (log.read_bytes(), stats.read_bytes()) == (b"logged", b"")


def test_a_terminal_gives_a_port_input_and_takes_its_output(
    opened: Callable[..., soft_run.Connected],
) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    connected = opened(PortOption("t", os.ttyname(theirs)))
    (stream,) = connected.streams
    os.write(ours, b"typed")
    serve_until(connected, lambda: bool(select.select([stream], [], [], 0)[0]))
    assert os.read(stream, 10) == b"typed"
    os.write(stream, b"shown")
    serve_until(connected, lambda: bool(select.select([ours], [], [], 0)[0]))
    assert os.read(ours, 10) == b"shown"
    os.close(ours)
    os.close(theirs)


def test_a_port_whose_file_takes_no_more_says_so_once_and_holds_up_nobody(
    opened: Callable[..., soft_run.Connected], capfd: pytest.CaptureFixture[str]
) -> None:
    connected = opened(PortOption("full", "/dev/full"))
    (stream,) = connected.streams
    (relay,) = connected.relays
    said = ""
    for _ in range(2):
        os.write(stream, bytes(1000))
        serve_until(connected, lambda: not select.select([relay._near], [], [], 0)[0])
        said += capfd.readouterr().err
    assert said == (
        "vestige: --port full=/dev/full: No space left on device; what else is written there"
        " is lost\n"
    )


def test_what_is_only_read_is_one_file(kernel: str, tmp_path: Path) -> None:
    initrd = images.write(tmp_path, b"initrd", "initrd")
    with Signals() as signals, Resources() as resources:
        options = RunOptions(kernel, initrd=initrd)
        files = open_files(options, resources, Watch(signals))
        inputs, sizes = soft_run.together(files, [b"monitor", b"loop"])
        size = Path(kernel).stat().st_size
        assert sizes == [size, 6, 0, 0, 0, 7, 4]
        content = os.pread(inputs, 1 << 20, 0)
        assert content == Path(kernel).read_bytes() + b"initrdmonitorloop"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(inputs, b"x")
        os.close(inputs)


@pytest.mark.parametrize("missing", ["kernel", "disk"])
def test_bad_input_is_refused_before_anything_is_booted(missing: str, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    if missing != "disk":
        image.write_bytes(bytes(512))
    options = RunOptions(kernel=str(tmp_path / "vmlinuz"), disks=(DiskOption(str(image)),))
    with pytest.raises(UsageError, match=str(tmp_path)):
        soft_run.run(options, [])


@pytest.mark.parametrize("jail", [JailOption(user="nobody"), JailOption(cgroup="/machines")])
def test_users_and_groups_of_this_machine_are_refused_before_anything_is_booted(
    jail: JailOption,
) -> None:
    with pytest.raises(UsageError, match="has neither this machine's users nor its control groups"):
        soft_run.run(RunOptions(kernel="vmlinuz", jail=jail), [])


def test_a_tap_of_this_machine_is_refused_before_anything_is_booted() -> None:
    options = RunOptions(kernel="vmlinuz", net=NetOption("tap:vm0"))
    with pytest.raises(UsageError, match=r"^--net tap:vm0: the software host can't reach"):
        soft_run.run(options, [])


UEFI_SIZE, BIOS_SIZE = 2 << 20, 256 << 10


def options_with(firmware: Path, variables: Path) -> RunOptions:
    """A PC with this firmware and its variables, and a disk."""
    disk = firmware.with_name("disk.img")
    disk.write_bytes(bytes(512))
    disks = (DiskOption(str(disk)),)
    return RunOptions(
        machine=PC, firmware=str(firmware), variables=str(variables), vga="none", disks=disks
    )


def test_a_uefi_firmware_is_refused_before_anything_is_made_or_booted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "ends_by_cr8", lambda: True)
    code, variables = tmp_path / "TEST_CODE.fd", tmp_path / "my.vars"
    code.write_bytes(bytes(UEFI_SIZE))
    with pytest.raises(UsageError) as told:
        soft_run.run(options_with(code, variables), [])
    assert str(told.value) == (
        f"--firmware {code}: a guest that writes CR8, as UEFI firmware and 64-bit Windows do, ends"
        " QEMU's emulator; run it where /dev/kvm works (`vestige doctor`)"
    )
    assert not variables.exists()


@pytest.mark.parametrize(
    ("size", "ends"), [(UEFI_SIZE, False), (BIOS_SIZE, True), (9 << 20, True), (None, True)]
)
def test_other_firmwares_and_a_qemu_that_goes_on_are_none_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None, ends: bool
) -> None:
    """What is wrong with a file of another size, or without one, is said where it is read."""
    monkeypatch.setattr(emulator, "ends_by_cr8", lambda: ends)
    code = tmp_path / "TEST_CODE.fd"
    if size is not None:
        code.write_bytes(bytes(size))
    soft_run.refuse_uefi(options_with(code, tmp_path / "my.vars"))
