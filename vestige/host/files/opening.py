"""The files of one run that its user names: all are opened here, before anything else is done.

What only reading tells is told before a file that is written is touched: those are made, or
emptied, when the guest starts. Whoever opens one may have to wait, for the other end of a FIFO or
for what a killed run still writes: a signal and the run's deadline end that.
"""

import os
import select

from vestige.errors import UsageError
from vestige.host.backends import disks
from vestige.host.backends.consoles import Consoles, open_consoles
from vestige.host.files import collisions
from vestige.host.files.outputs import OutputFile
from vestige.host.options import FLOPPY, PC, UEFI, DiskOption, RunOptions
from vestige.host.resources import Resources
from vestige.image_lock import BOTH_READ
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.files import InputFile, open_input
from vestige.machine.kernel import EXPECTED
from vestige.signals import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from vestige.host.backends.console import Console
    from vestige.host.backends.events import Events
    from vestige.host.backends.variables import Variables
    from vestige.host.freeze.parts import Part
    from vestige.host.kvm.monitor_code import MonitorCode

    class Display(Protocol):
        """Where those connect who look on. `password`: None: none is asked for; `filter`: of the
        viewer's system calls, None: it is this machine's.
        """

        password: bytes | None
        filter: bytes | None

        def begin(self, taker: Callable[[int], object]) -> None:
            """Have `taker` take their sockets, each for the time of its call."""

    class Frozen(Protocol):
        """A machine's parts, open, by what freeze/parts.py calls them; see Orders."""

        parts: dict[Part, int]
        overlays: dict[int, int]  # those that were temporary, open, by the disks' numbers
        domains: int
        jumps: bool

        def check_monitor(self, code: MonitorCode) -> None:
            """Raise UsageError where it has another monitor than this."""

        def check_whole(self) -> None:
            """Raise GuestError where somebody has made a part shorter meanwhile."""


EXPECTED_INITRD = "an initrd"
EXPECTED_FIRMWARE = (
    "--firmware bios (SeaBIOS: sudo apt install seabios), uefi (OVMF: sudo apt install ovmf), or"
    " PATH, of a PC's firmware"
)
EXPECTED_VGA_BIOS = "a VGA's BIOS (sudo apt install seabios), or --vga none"
ONE_GUESTS = (  # what can be done about a disk of a frozen guest's that another run writes
    "freeze the guest with overlay=temporary, which gives each copy a disk of its own"
)
PIECE = 1 << 20  # bytes taken from a pipe at once; it has 64 KiB unless somebody asked for more


class Files:
    """What a run has open by its user's names. `disks` are those that are no controllers, by their
    number; `start` is what the guest starts from, a kernel or a firmware,
    which may have a `kernel` to start; `vga_bios` is a VGA's, which a kernel alone can do without;
    `events`: those of a PC's keyboard and mouse, and of a tablet; `display`: where those connect
    who look on; `variables`: a UEFI firmware's; `frozen`: a machine to go on with, and nothing to
    start from.
    """

    __slots__ = (
        "consoles", "disks", "display", "events", "frozen", "initrd", "kernel", "start", "stats",
        "variables", "vga_bios",
    )  # fmt: skip

    def __init__(
        self,
        start: InputFile | None,
        initrd: InputFile | None,
        disk_images: dict[int, disks.DiskImage],
        consoles: Consoles,
        stats: OutputFile | None,
        vga_bios: InputFile | None = None,
        kernel: InputFile | None = None,
        events: "Events | None" = None,
        display: "Display | None" = None,
        variables: "Variables | None" = None,
        frozen: "Frozen | None" = None,
    ) -> None:
        self.frozen = frozen
        self.start, self.initrd, self.disks = start, initrd, disk_images
        self.consoles, self.stats, self.vga_bios = consoles, stats, vga_bios
        self.kernel, self.events, self.display = kernel, events, display
        self.variables = variables

    @property
    def inputs(self) -> tuple[InputFile | None, ...]:
        """What is only read, `start` first, in the order of Orders."""
        variables = None if self.variables is None else self.variables.file
        return self.start, self.initrd, self.vga_bios, self.kernel, variables

    def begin(self) -> None:
        """The guest is about to run: make what it writes, or have what the last one wrote go; a
        second time does nothing.

        Raises UsageError: before anything is emptied, where one can't be made.
        """
        outputs: list[Console | OutputFile] = [*self.consoles.all]
        if self.stats is not None:
            outputs.append(self.stats)
        for each in sorted(outputs, key=lambda output: not output.is_new):
            each.prepare()
        if self.variables is not None:
            self.variables.begin()
        for image in self.disks.values():
            if image.overlay is not None:
                image.overlay.begin()

    def check_whole(self) -> None:
        """A guest has ended. Raise GuestError for what somebody has taken from it meanwhile."""
        for image in self.disks.values():
            if image.overlay is not None:
                image.overlay.check_whole()


def _otherwise(disk: DiskOption, frozen: "Frozen | None") -> str:
    """What can be done but end another run that has this disk."""
    if frozen is not None:
        return ONE_GUESTS
    return BOTH_READ if disk.bus == FLOPPY else f"{BOTH_READ} or ,overlay=FILE"


def open_files(
    asked: RunOptions, resources: Resources, watch: Watch, frozen: "Frozen | None" = None
) -> Files:
    """Open them, and have `resources` close them. Raises UsageError, and Ended as `watch` does.

    Of a `frozen` machine, what it started from is not opened.
    """
    if asked.display is not None:
        asked.display.check_terminal()
    collisions.check(asked)
    starts = Starts()
    if frozen is None:
        starts = _open_starts(asked, resources, watch)
    copies = {} if frozen is None else frozen.overlays
    images = {
        number: resources.keep(
            disks.open_disk(disk, watch, copies.get(number), _otherwise(disk, frozen))
        )
        for number, disk in enumerate(asked.disks)
        if disk.controller is None
    }
    variables = None if frozen is not None else _open_variables(asked, resources)
    stats = None
    if asked.stats is not None:
        stats = resources.keep(open_statistics(asked.stats, asked.stats, watch))
    consoles = resources.keep(open_consoles(asked.console, asked.ports, watch))
    events = None
    if asked.has_events:
        from vestige.host.backends.events import open_events  # noqa: PLC0415 - few runs need it
        from vestige.host.keys import Desk  # noqa: PLC0415

        desk = Desk(keyboard=asked.machine == PC, tablet=asked.tablet)
        events = resources.keep(open_events(asked.keys, desk))
        watch.beside.append(events)
    display = None
    if asked.display is not None:
        from vestige.host.viewer.start import open_display  # noqa: PLC0415 - few runs need it

        display = open_display(asked.display, consoles, resources, watch)
    return Files(
        starts.start,
        starts.initrd,
        images,
        consoles,
        stats,
        starts.vga_bios,
        starts.kernel,
        events,
        display,
        variables,
        frozen,
    )


class Starts:
    """What a guest starts from, as of Files."""

    __slots__ = ("initrd", "kernel", "start", "vga_bios")

    def __init__(self) -> None:
        self.start: InputFile | None = None
        self.initrd: InputFile | None = None
        self.vga_bios: InputFile | None = None
        self.kernel: InputFile | None = None


def _open_starts(asked: RunOptions, resources: Resources, watch: Watch) -> Starts:
    starts = Starts()
    expected = EXPECTED_FIRMWARE if asked.by_firmware else EXPECTED
    starts.start = _open_input(asked.start[1], expected, asked.memory, resources, watch)
    if asked.initrd is not None:
        starts.initrd = _open_input(asked.initrd, EXPECTED_INITRD, asked.memory, resources, watch)
    path = asked.vga_bios
    if path is not None and (asked.by_firmware or os.path.exists(path)):  # noqa: PTH110
        starts.vga_bios = _open_input(path, EXPECTED_VGA_BIOS, asked.memory, resources, watch)
    if asked.by_firmware and asked.kernel is not None:
        starts.kernel = _open_input(asked.kernel, EXPECTED, asked.memory, resources, watch)
    return starts


def _open_variables(asked: RunOptions, resources: Resources) -> "Variables | None":
    """A UEFI firmware's: those that are asked for, or those of a template that is beside it."""
    template = asked.variables_template
    optional = asked.firmware != UEFI
    if template is not None and optional and not os.path.exists(template):  # noqa: PTH110
        template = None
    if asked.variables is None and template is None:
        return None
    from vestige.host.backends.variables import open_variables  # noqa: PLC0415 - few runs need it

    return resources.keep(open_variables(asked.variables, template))


def open_statistics(path: str, name: str, watch: Watch, access: int = os.O_WRONLY) -> OutputFile:
    """Early: a bad path is told before the guest runs. `name`: as the user has it."""
    return OutputFile(path, f"--stats {name}", "give a file that can be written", watch, access)


def _open_input(
    path: str, expected: str, limit: int, resources: Resources, watch: Watch
) -> InputFile:
    """A kernel or an initrd, whole: what comes out of a pipe, as the shell's <(…) is, is kept."""
    file = resources.keep(open_input(path, expected))
    return file if file.size else resources.keep(_kept(file, expected, limit, watch))


def _kept(pipe: InputFile, expected: str, limit: int, watch: Watch) -> InputFile:
    """All that comes out of `pipe` until its end, at most `limit` bytes, in memory."""
    path, source = pipe.path, pipe.descriptor
    # Of a pipe without a name all writers were there before us; a FIFO may get its first later.
    began = os.readlink(f"/proc/thread-self/fd/{source}").startswith("pipe:")  # noqa: PTH115
    size = 0
    target = os.memfd_create("input", os.MFD_CLOEXEC)
    try:
        while True:
            if not began:
                watch.wait({source: select.POLLIN})
                began = True
            try:
                data = os.read(source, PIECE)
            except BlockingIOError:
                began = False
                continue
            if not data:
                break
            size += os.write(target, data)
            if size > limit:
                raise UsageError(
                    f"{path}: more than the {limit} bytes of the machine's memory came out of this"
                    " pipe; give it more memory"
                )
        if not size:
            raise UsageError(f"{path}: nothing came out of this pipe; give {expected}")
    except BaseException:
        os.close(target)
        raise
    return InputFile(path, target, size)
