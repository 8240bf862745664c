"""The inner half of a run in the software host: `vestige run`, whose files are devices.

What soft_run.py has opened out there is found here as devices, named behind the words of the run:

    RUN'S WORDS -- INPUTS ZONE START INITRD VGA_BIOS KERNEL VARIABLES MONITOR LOOP FILTER VIEWER
    DISK... STREAM...

INPUTS is a block device with what the guest starts from, the initrd, the VGA's BIOS, the kernel
that a firmware starts and its variables (0: none), the compiled images and the filters of system
calls (0: none), one behind the other, of so many bytes each; ZONE is how far local time out there
is ahead of UTC, in seconds. Then a device for each --disk, and for its overlay, for VARIABLES, if
there are any, which come back by it, each --port, --stats, a stream of what is asked of the run,
one of events, and one of those who look on, with --display vnc. Names in the run's words are for
messages alone.
"""

import os
from _collections_abc import Callable

from vestige.cli.arguments import Syntax
from vestige.cli.main import told
from vestige.cli.run import SYNTAX as RUN
from vestige.cli.run import options_of
from vestige.host import run as native
from vestige.host.backends import disks
from vestige.host.backends.console import Console, File
from vestige.host.backends.consoles import Consoles
from vestige.host.clock import set_zone
from vestige.host.compiled import Compiled
from vestige.host.control.server import Control, about
from vestige.host.files.opening import Files, open_statistics
from vestige.host.options import NOWHERE, DiskOption, RunOptions
from vestige.host.resources import Resources
from vestige.lang.image import Image
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.files import InputFile
from vestige.process import prepare
from vestige.signals import Watch

if TYPE_CHECKING:
    from vestige.host.backends.events import Events
    from vestige.host.files.opening import Display

INPUT_FILES = 5  # of INPUTS, as host.files.opening has them
PARTS = INPUT_FILES + 4
SYNTAX = Syntax(RUN.options, rest="DEVICE...")
# Behind it: where Vestige is, INPUTS, where in it the code of all this is, and of how many bytes.
# Not `-m`: what finds the module would be imported first, which takes a while in there.
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from vestige.cli import bundle; bundle.begin_with(*sys.argv[2:5])\n"
    "from vestige.cli.soft_inside import main; sys.exit(main(sys.argv[5:]))"
)


class Places:
    """The devices, as soft_run.py has named them."""

    def __init__(self, words: list[str]) -> None:
        device, zone, *rest = words
        set_zone(int(zone))
        self._inputs = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        self._sizes = list(map(int, rest[:PARTS]))
        self._devices = rest[PARTS:]

    def control(self, asked: RunOptions, end: Callable[[], object]) -> Control:
        """The run's, which out there asks through the last of the devices but those of events and
        of who looks on.
        """
        place = self._devices[(-2 if asked.has_events else -1) - _carries(asked)]
        stream = os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return Control(about(asked, os.getpid()), end, (stream,))

    def events(self, asked: RunOptions, resources: Resources, watch: Watch) -> "Events | None":
        """What is typed out there, through the last of them but that."""
        if not asked.has_events:
            return None
        from vestige.host.backends.events import Events, Source  # noqa: PLC0415 - few have any

        place = self._devices[-1 - _carries(asked)]
        stream = os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        events = resources.keep(Events(Source(stream)))
        watch.beside.append(events)
        return events

    def _part(self, number: int, name: str) -> InputFile:
        start = sum(self._sizes[:number])
        return InputFile(name, self._inputs, self._sizes[number], start)

    def compiled(self) -> Compiled:
        """The monitor, the run loop, and the filter."""
        monitor, run_loop, calls, _ = map(self._data, range(INPUT_FILES, PARTS))
        return Compiled(Image.from_bytes(monitor), Image.from_bytes(run_loop), calls or None)

    def _data(self, number: int) -> bytes:
        part = self._part(number, "what is compiled")
        data = bytearray(part.size)
        part.read_at(0, memoryview(data))
        return bytes(data)

    def open_files(self, asked: RunOptions, resources: Resources, watch: Watch) -> Files:
        """As host.files.open_files, of the devices."""
        resources.keep_file(self._inputs)
        devices = iter(self._devices)
        images = {}
        for number, disk in enumerate(asked.disks):
            # What it looks like was asked out there. An empty drive has no device.
            device = next(devices) if disk.path else ""
            above = disk.overlay is not None
            option = DiskOption(
                device,
                disk.bus,
                disk.read_only or above,
                disk.discard and not above,
                True,
                disk.is_optical,
            )
            image = images[number] = resources.keep(disks.open_disk(option, watch))
            image.path = disk.path
            if above:
                from vestige.host.backends.overlays import lent_overlay  # noqa: PLC0415 - few do

                image.overlay = lent_overlay(next(devices), image.sectors, watch)
                image.discard = disk.discard
        variables = None
        if self._sizes[4]:
            from vestige.host.backends.variables import open_device  # noqa: PLC0415 - few have them

            variables = resources.keep(open_device(asked.variables or "", next(devices)))
        terminal = Console(1, 0, f"--console {asked.console.backend}")
        shows_text = asked.display is not None and asked.display.takes_terminal
        opened: list[Console] = [File(NOWHERE, "--console ") if shows_text else terminal]
        opened += [File(next(devices), f"--port {port.name}=") for port in asked.ports]
        consoles = resources.keep(Consoles(asked.console, asked.ports, opened))
        stats = None
        if asked.stats is not None:
            device = next(devices)
            stats = resources.keep(open_statistics(device, asked.stats, watch, os.O_RDWR))
        initrd = None if asked.initrd is None else self._part(1, asked.initrd)
        path = asked.vga_bios if self._sizes[2] else None
        vga_bios = None if path is None else self._part(2, path)
        start = self._part(0, asked.start[1])
        kernel = None
        if asked.by_firmware and asked.kernel is not None:
            kernel = self._part(3, asked.kernel)
        events = self.events(asked, resources, watch)
        display = None
        if asked.display is not None:
            display = self._display(asked, terminal, consoles, resources, watch)
        return Files(
            start, initrd, images, consoles, stats, vga_bios, kernel, events, display, variables
        )

    def _display(
        self,
        asked: RunOptions,
        terminal: Console,
        consoles: Consoles,
        resources: Resources,
        watch: Watch,
    ) -> "Display":
        """The terminal, or what is carried from out there."""
        filter_ = self._data(PARTS - 1) or None
        if not _carries(asked):
            from vestige.host.viewer.text import TextDisplay  # noqa: PLC0415 - few runs need it

            text = TextDisplay(terminal, filter_)
            consoles.also.append(text)
            return text
        from vestige.host.viewer.carrier import Inside  # noqa: PLC0415 - few runs need it

        stream = os.open(self._devices[-1], os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        inside = resources.keep(Inside(stream, filter_))
        inside.wait()
        watch.beside.append(inside.carrier)
        return inside


def _carries(asked: RunOptions) -> bool:
    """Whether those who look on come from out there."""
    return asked.display is not None and not asked.display.takes_terminal


def main(words: list[str]) -> int:
    """Run the guest; the exit status, with an error told in a line."""
    prepare()
    return told(lambda: run(words))


def run(words: list[str]) -> int:
    """The same without that."""
    arguments = SYNTAX.read(words)
    places = Places(arguments.rest)
    ready = native.Ready(places.compiled(), control=places.control)
    return native.run(options_of(arguments), ready, places.open_files)
