"""`vestige run` in the software host: the same command, inside, on a real /dev/kvm.

The inner run's disks are the software host's own block devices, so that a guest's flush is a
flush of the image. Its console is standard input and output, which this side connects. Sockets are
this side's too: a port that has one is connected to a stream inside.
"""

import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from vestige.errors import UsageError
from vestige.host import disks, images, statistics
from vestige.host.console import Console, open_console
from vestige.host.consoles import Consoles
from vestige.host.memory import GuestMemory
from vestige.host.network import find_passt
from vestige.host.options import SOCKET, STDIO, UNMAP, USER, VIRTIO, DiskOption, RunOptions
from vestige.machine import boot
from vestige.machine.config import MachineConfig
from vestige.softhost import SoftHost, foreground

# What the software host's own kernel and tools have beside the guest's RAM.
OVERHEAD = 2 << 30
MINIMUM = 4 << 30
# Not `-m`: what finds the module would be imported first, which takes a while in there.
PROGRAM = "import sys; from vestige.cli.main import main; sys.exit(main())"


def run(options: RunOptions) -> int:
    """Run one guest to its end in a fresh software host; the exit status as `vestige run`'s.

    Raises UsageError for what is wrong with the input before anything is booted.
    """
    refuse_bad_input(options)
    images.ensure()  # here: inside, the compiler takes ten times as long
    with connected(options) as streams:
        host = SoftHost(
            memory=max(MINIMUM, options.memory + OVERHEAD),
            disks=[(disk.path, disk.read_only) for disk in options.disks],
            network=options.net is not None,
            streams=streams,
        )
        return foreground.run(host, command(options, host.disk_names, host.stream_names))


def refuse_bad_input(options: RunOptions) -> None:
    """Open the disks and load the kernel once, for nothing but the errors of it."""
    for option in options.disks:
        if option.controller is not None:
            raise UsageError(
                f"--disk {option.path}: the software host can't reach this machine's controllers;"
                " run where /dev/kvm works (`vestige doctor`), or try it over an image: vestige"
                " softhost --nvme IMAGE -- vestige run --disk vfio:00:10.0 …"
            )
        disks.open_disk(option).close()
    for port in options.ports:
        if not port.backend.startswith(SOCKET):
            open_console(port.backend, f"--port {port.name}=").close()
    if options.net == USER:
        find_passt()
    elif options.net is not None:
        raise UsageError(
            f"--net {options.net}: the software host can't reach this machine's taps; run where"
            " /dev/kvm works (`vestige doctor`), or give --net user"
        )
    with closing(GuestMemory(options.memory)) as memory:
        config = MachineConfig(cpus=options.cpus, memory=options.memory)
        boot.load(
            memory.region.view,
            config,
            options.kernel,
            initrd=options.initrd,
            append=options.append,
        )
    if options.stats is not None:
        statistics.open_file(options.stats).close()


def command(options: RunOptions, disk_names: list[str], stream_names: list[str]) -> list[str]:
    """The words of the run inside."""
    streams = iter(stream_names)
    words = [sys.executable, "-c", PROGRAM, "run", "--accel", "kvm"]
    words += ["--kernel", options.kernel, f"--append={options.append}"]
    words += ["--memory", f"{options.memory >> 20}M", "--cpus", str(options.cpus)]
    words += ["--ide", options.ide, "--ring", options.ring]
    words += ["--on-reboot", options.on_reboot, *(["--hpet"] if options.hpet else [])]
    for disk, name in zip(options.disks, disk_names, strict=True):
        words += ["--disk", disk_words(DiskOption(name, disk.bus, disk.read_only, disk.discard))]
    if options.console.device == VIRTIO:
        words += ["--console", "virtio,early" if options.console.early else "virtio"]
    for port in options.ports:
        backend = next(streams) if port.backend.startswith(SOCKET) else port.backend
        words += ["--port", f"{port.name}={backend}"]
    words += ["--rng"] if options.entropy else []
    for option, value in (
        ("--initrd", options.initrd),
        ("--net", options.net),
        ("--timeout", options.timeout),
        ("--stats", options.stats),
    ):
        if value is not None:
            words += [option, str(value)]
    return words


def disk_words(disk: DiskOption) -> str:
    """One `--disk` as it is typed."""
    words = [disk.path, f"bus={disk.bus}"]
    words += ["readonly"] if disk.read_only else []
    words += [f"discard={UNMAP}"] if disk.discard else []
    return ",".join(words)


@contextmanager
def connected(options: RunOptions) -> Iterator[list[int]]:
    """Make the console this process's standard input and output, for good, and serve all sockets.

    Yields the streams of the ports that have sockets. Raises UsageError for what can't be opened.
    """
    sockets = [port for port in options.ports if port.backend.startswith(SOCKET)]
    with closing(Consoles(options.console, sockets)) as consoles:
        if options.console.backend != STDIO:
            source = consoles.input
            os.dup2(os.open(os.devnull, os.O_RDONLY) if source is None else source, 0)
            os.dup2(consoles.output, 1)
        pump = Pump(consoles)
        pump.start()
        try:
            yield consoles.outputs()[1:]
        finally:
            pump.stop()


class Pump(threading.Thread):
    """Serves a console that needs this process's help, until told to stop."""

    def __init__(self, console: Console) -> None:
        """Serve `console`."""
        super().__init__(daemon=True)
        self._console = console
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)

    def run(self) -> None:
        """Wait for the console's events and serve them."""
        while True:
            poll = select.poll()
            poll.register(self._stopping, select.POLLIN)
            for descriptor, events in self._console.waits_for().items():
                poll.register(descriptor, events)
            ready = dict(poll.poll())
            if self._stopping in ready:
                return
            self._console.serve(ready)

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        os.eventfd_write(self._stopping, 1)
        self.join()
        os.close(self._stopping)
