"""`vestige run` in the software host: the same run inside, on a real /dev/kvm.

All that the user names is opened out here, by the code of any run (host/files/opening.py), and
reaches the run inside as a device: the images of disks, and one more with all that is only read,
are block devices; ports and statistics are streams of bytes; the console is standard input and
output. So names mean what they mean out here, a guest's flush is a flush of the image, and nothing
in there waits for a file. So the software host is kept apart: of the file system out here it has
what Python and Vestige are made of, to be read.
"""

import copy
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import vestige
from vestige.cli import bundle, soft_inside
from vestige.errors import UsageError
from vestige.host import clock, images
from vestige.host.backends.console import Console, Together
from vestige.host.backends.disks import DiskImage
from vestige.host.backends.drive import Drive
from vestige.host.backends.network import find_passt
from vestige.host.backends.relay import Relay
from vestige.host.backends.variables import Lent
from vestige.host.control.server import open_control
from vestige.host.control.stream import Inside
from vestige.host.files import collisions
from vestige.host.files.failures import MAKE_ROOM, lacks_room
from vestige.host.files.opening import Files, open_files
from vestige.host.files.outputs import OutputFile
from vestige.host.loop.ending import until_ended
from vestige.host.messages import tell
from vestige.host.options import HOST_LOOPBACK, NOWHERE, TAP, USER, ConsoleOption, RunOptions
from vestige.host.process.inner import check_guest
from vestige.host.process.orders import config_of
from vestige.host.resources import Resources
from vestige.lang.types import TYPE_CHECKING
from vestige.machine import firmware
from vestige.signals import TIMED_OUT, Ended, Watch
from vestige.softhost import SoftHost, emulator, foreground
from vestige.softhost.host import python_apart

if TYPE_CHECKING:
    from vestige.host.files.opening import Display

# What the software host's own kernel and tools have beside the guest's RAM.
OVERHEAD = 2 << 30
MINIMUM = 4 << 30
GRACE = 10.0  # seconds for who reads a file to take what is left at the end
PACKAGES = str(Path(vestige.__file__).resolve().parent.parent)


def run(options: RunOptions, words: list[str]) -> int:
    """Run one guest to its end in a fresh software host; the exit status as `vestige run`'s.

    `words` of a command line mean `options`. Raises UsageError for what is wrong with the input
    before anything is booted.
    """

    def work(resources: Resources, watch: Watch) -> int:
        return _run(options, words, resources, watch)

    return until_ended(options.timeout, work)


def _run(options: RunOptions, words: list[str], resources: Resources, watch: Watch) -> int:
    refuse_unreachable(options)
    refuse_uefi(options)
    control = resources.keep(open_control(options, watch.signals.end))
    watch.beside.append(control)
    if control.agent is not None:
        options.place_agent(control.agent)
    opened = _outside(options)
    if opened is not options:
        collisions.check(options)  # by its own words, not those of what is opened out here
    files = open_files(opened, resources, watch)
    check_guest(options, files, config_of(options))
    code: list[bytes | memoryview] = [
        *watch.call(lambda: compiled(shows=options.display is not None), whole=True),
        bundle.kept() or b"",
    ]
    inputs, sizes = together(files, code)
    resources.keep_file(inputs)
    lent = None
    if files.variables is not None:
        lent = resources.keep(Lent(files.variables))

    def begin() -> None:
        """The guest has been started, in there."""
        watch.begin()
        files.begin()

    inside = resources.keep(Inside(control, begin))
    watch.beside.append(inside)
    connected = Connected(options, files, resources)
    connected.streams.append(inside.output)
    control.events = files.events
    if options.drive is not None:
        control.drive = resources.keep(Drive(options.drive, files.disks))
    if files.events is not None:
        connected.streams.append(files.events.output)
    if files.display is not None:
        connected.streams.append(_carried(files.display, resources, watch))
    host = SoftHost(
        memory=max(MINIMUM, options.memory + OVERHEAD),
        disks=[
            *devices(files.disks.values()),
            *([] if lent is None else [(lent.descriptor, False)]),
            (inputs, True),
        ],
        network=options.net is not None,
        host_loopback=options.net is not None and options.net.way == HOST_LOOPBACK,
        streams=connected.streams,
        held=[claim for image in files.disks.values() for claim in image.claims],
        apart=True,
    )
    *names, device = host.disk_names
    *sizes, code_size = sizes
    places = [device, str(clock.zone(time.time())), *map(str, sizes), *names, *host.stream_names]
    its_code = [device, str(sum(sizes)), str(code_size)]
    watch.hold()  # the timeout is the guest's, and counts from its start
    try:
        status = foreground.attend(
            host, command(words, places, its_code), connected, watch, guest=True
        )
    finally:
        inside.finish()
        if lent is not None:
            lent.take_back()
    for relay in connected.relays:
        relay.finish(watch.patient(), GRACE)
    for image in files.disks.values():
        # Inside that is an I/O error.
        if image.written is not None and lacks_room(image.written):
            tell(f"{image.name}: no room is left there, so writes may have failed{MAKE_ROOM}")
    files.check_whole()
    if status == TIMED_OUT:
        raise Ended(TIMED_OUT)
    return status


def devices(images: Iterable[DiskImage]) -> Iterator[tuple[int, bool]]:
    """What becomes block devices of these: descriptors, and whether they are only read."""
    for image in images:
        if image.path:
            yield image.descriptor, image.read_only
        if image.overlay is not None:
            yield image.overlay.descriptor, False


def _shows_text(options: RunOptions) -> bool:
    return options.display is not None and options.display.takes_terminal


def _outside(options: RunOptions) -> RunOptions:
    """What is opened out here: the terminal is a console's, whatever is shown there."""
    if not _shows_text(options):
        return options
    opened = copy.copy(options)
    opened.display, opened.console = None, ConsoleOption()
    return opened


def _carried(display: "Display", resources: Resources, watch: Watch) -> int:
    """The stream of those who look on."""
    from vestige.host.viewer.carrier import Outside  # noqa: PLC0415 - few runs need it

    outside = resources.keep(Outside(display.password))
    watch.beside.append(outside.carrier)
    display.begin(outside.take)
    return outside.output


def compiled(*, shows: bool = False) -> list[bytes]:
    """The monitor, the run loop and the filters: inside, the compiler takes ten times as long.

    `shows`: there is a viewer.
    """
    key = images.key()
    return [
        images.monitor_image(key).to_bytes(),
        images.run_loop_image(key).to_bytes(),
        images.call_filter(key) or b"",
        (images.viewer_call_filter(key) or b"") if shows else b"",
    ]


def refuse_unreachable(options: RunOptions) -> None:
    """Raise UsageError for what of this machine can't be had in there."""
    for option in options.disks:
        if option.controller is not None:
            raise UsageError(
                f"--disk {option.path}: the software host can't reach this machine's controllers;"
                " run where /dev/kvm works (`vestige doctor`), or try it over an image: vestige"
                " softhost --nvme IMAGE -- vestige run --disk vfio:00:10.0 …"
            )
    if options.jail.user is not None or options.jail.cgroup is not None:
        raise UsageError(
            "--jail: the software host has neither this machine's users nor its control groups;"
            " leave uid and cgroup out, or put `vestige run` itself into a group"
        )
    if _shows_text(options) and options.console.backend != NOWHERE:
        raise UsageError(
            "--display text: in the software host the terminal is all that there is for a console;"
            " leave --console out, or give --display vnc"
        )
    if options.display is not None:
        options.display.check_terminal()
    if options.net is not None and not options.net.way.startswith(TAP):
        find_passt()
    elif options.net is not None:
        raise UsageError(
            f"--net {options.net.words}: the software host can't reach this machine's taps; run"
            " where /dev/kvm works (`vestige doctor`), or give --net user"
        )


def refuse_uefi(options: RunOptions) -> None:
    """Raise UsageError for a UEFI firmware where it would end the software host's emulator.

    By the file's size alone, before a file of variables is made for it.
    """
    if not options.by_firmware:
        return
    _, path = options.start
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):
        return  # opening says why
    if firmware.is_uefi(size) and emulator.ends_by_cr8():
        raise UsageError(f"--firmware {options.firmware}: {emulator.CR8_CURE}")


def together(files: Files, code: Sequence[bytes | memoryview]) -> tuple[int, list[int]]:
    """One file, only to be read, of what a guest starts from, and what is compiled; their sizes."""
    made = os.memfd_create("inputs", os.MFD_CLOEXEC)
    try:
        sizes = []
        for file in files.inputs:
            sizes.append(0 if file is None else file.size)
            position = 0
            while file is not None and position < file.size:
                data = bytearray(min(file.size - position, 1 << 20))
                file.read_at(position, memoryview(data))
                position += os.write(made, data)
        sizes += [os.write(made, image) for image in code]
        return os.open(f"/proc/self/fd/{made}", os.O_RDONLY | os.O_CLOEXEC), sizes
    finally:
        os.close(made)


class Statistics(Console):
    """The file of --stats."""

    def __init__(self, output: OutputFile, name: str) -> None:
        """Who opened `output` closes it."""
        super().__init__(output.descriptor, None, name)
        self._output = output

    def prepare(self) -> None:
        """Make it, or empty it."""
        self._output.prepare()


class Connected(Together):
    """The consoles, ports and statistics of a run whose other side is a software host's.

    The console's own descriptors are this one's; all others have `streams`, in order.
    """

    def __init__(self, options: RunOptions, files: Files, resources: Resources) -> None:
        """Whatever is opened for it is closed by `resources`."""
        terminal = files.consoles.all[0]
        if _shows_text(options):
            terminal.name_as_screen()
        super().__init__(terminal.output, terminal.input, terminal.name)
        self._files = files
        self.relays: list[Relay] = []
        self.streams: list[int] = []
        for console in files.consoles.ports:
            if console.is_socket:
                self.streams.append(console.output)
            else:
                self._relay(console, resources)
        if files.stats is not None:
            self._relay(Statistics(files.stats, f"--stats {options.stats}"), resources)

    def _relay(self, console: Console, resources: Resources) -> None:
        relay = resources.keep(Relay(console))
        self.relays.append(relay)
        self.streams.append(relay.output)

    def start(self) -> None:
        """The terminal is the guest's from now on."""
        self._files.consoles.start()

    def watched(self) -> Sequence[Console]:
        """Those, and what moves the bytes of each stream."""
        return (self._files.consoles, *self.relays)


def command(words: list[str], places: list[str], its_code: Sequence[str]) -> list[str]:
    """The run inside, of the same words; `places` are what soft_inside takes, and its PROGRAM where
    `its_code` is.

    But for the timeout, which is counted out here: a clock inside is TCG's, and slow to start.
    Isolated: nothing of the caller's environment or directory has Python import anything.
    """
    python = [python_apart(), "-I", "-S", "-c", soft_inside.PROGRAM, PACKAGES, *its_code]
    # The gateway inside is the loopback out here already: that of the software host is nobody's.
    loopback = f"--net={HOST_LOOPBACK}"
    words = [
        f"--net={USER}{word.removeprefix(loopback)}" if word.startswith(loopback) else word
        for word in words
    ]
    words = [word for word in words if not word.startswith("--timeout=")]
    return [*python, *words, "--accel=kvm", "--", *places]
