"""A run in the software host: the same command inside, refused early when its input is bad."""

import os
import socket
import threading
from pathlib import Path

import pytest

from vestige.cli import run as run_command
from vestige.cli import soft_run
from vestige.errors import UsageError
from vestige.host.console import Console
from vestige.host.options import ConsoleOption, DiskOption, PortOption, RunOptions

OPTIONS = RunOptions(
    kernel="boot/vmlinuz",
    initrd="boot/initrd",
    append="--quiet root=/dev/sda1",
    memory=1 << 30,
    cpus=2,
    disks=(DiskOption("a.img", discard=True), DiskOption("b,c.img", read_only=True)),
    timeout=60.0,
    stats="out.json",
    net="user",
    accel="soft",
    on_reboot="restart",
    hpet=True,
    ports=(PortOption("a", "log"), PortOption("org.b", "unix:b"), PortOption("c", "other=log")),
    entropy=True,
)


def test_the_inner_command_means_what_the_outer_one_meant() -> None:
    words = soft_run.command(OPTIONS, ["/dev/vda", "/dev/vdb"], ["/dev/vport0p2"])
    start = words.index("run")
    inner = run_command.options_of(run_command.SYNTAX.read(words[start + 1 :]))
    assert inner.accel == "kvm"
    assert inner.disks == (
        DiskOption("/dev/vda", discard=True),
        DiskOption("/dev/vdb", read_only=True),
    )
    first, second, third = OPTIONS.ports
    assert inner.ports == (first, PortOption(second.name, "/dev/vport0p2"), third)
    inner.accel, inner.disks, inner.ports = OPTIONS.accel, OPTIONS.disks, OPTIONS.ports
    assert inner == OPTIONS


@pytest.mark.parametrize("early", [False, True])
def test_the_inner_console_is_the_same_device_on_standard_input_and_output(early: bool) -> None:
    options = RunOptions("k", console=ConsoleOption("unix:/run/c", "virtio", early))
    words = soft_run.command(options, [], [])
    inner = run_command.options_of(run_command.SYNTAX.read(words[words.index("run") + 1 :]))
    assert inner.console == ConsoleOption("stdio", "virtio", early)
    assert not inner.entropy


def test_ports_are_looked_at_before_anything_is_booted(tmp_path: Path) -> None:
    options = RunOptions("k", ports=(PortOption("p", f"{tmp_path}/none/log"),))
    with pytest.raises(UsageError, match=r"--port p=.*/none/log: No such file or directory"):
        soft_run.run(options)


def test_sockets_of_ports_are_served_out_here(tmp_path: Path) -> None:
    log, first, second = (str(tmp_path / name) for name in ("log", "first", "second"))
    ports = (
        PortOption("a", f"unix:{first}"),
        PortOption("b", log),
        PortOption("c", f"unix:{second}"),
    )
    with soft_run.connected(RunOptions("k", ports=ports)) as streams:
        for path, stream in zip((first, second), streams, strict=True):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(path)
                client.sendall(b"in")
                assert os.read(stream, 10) == b"in"
                os.write(stream, b"out")
                assert client.recv(10) == b"out"
        with (
            pytest.raises(UsageError, match=f"--port d=unix:{first}: another process listens"),
            soft_run.connected(RunOptions("k", ports=(PortOption("d", f"unix:{first}"),))),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["kernel", "disk"])
def test_bad_input_is_refused_before_anything_is_booted(missing: str, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    if missing != "disk":
        image.write_bytes(bytes(512))
    options = RunOptions(kernel=str(tmp_path / "vmlinuz"), disks=(DiskOption(str(image)),))
    with pytest.raises(UsageError, match=str(tmp_path)):
        soft_run.run(options)


def test_a_tap_of_this_machine_is_refused_before_anything_is_booted() -> None:
    options = RunOptions(kernel="vmlinuz", net="tap:vm0")
    with pytest.raises(UsageError, match=r"^--net tap:vm0: the software host can't reach"):
        soft_run.run(options)


class Pipe(Console):
    """A console whose served bytes a test can count."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        super().__init__(writer, None)
        self.served = threading.Event()

    def waits_for(self) -> dict[int, int]:
        """Bytes from the guest."""
        return {self.reader: 1}

    def serve(self, ready: dict[int, int]) -> None:
        """Take one byte."""
        os.read(self.reader, 1)
        self.served.set()


def test_the_pump_serves_a_console_until_it_is_stopped() -> None:
    console = Pipe()
    pump = soft_run.Pump(console)
    pump.start()
    os.write(console.output, b"x")
    assert console.served.wait(10)
    pump.stop()
    assert not pump.is_alive()
    os.close(console.reader)
    os.close(console.output)
