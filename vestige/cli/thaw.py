"""`vestige thaw`: a guest goes on that `vestige freeze` has put into a folder."""

from vestige.cli.arguments import Arguments, Option, Syntax, choice
from vestige.cli.run import SYNTAX as RUN
from vestige.cli.run import options_of
from vestige.errors import UsageError
from vestige.host.freeze.given import check_kinds, check_same
from vestige.host.freeze.marks import check_disks, check_files
from vestige.host.freeze.snapshot import Snapshot, open_snapshot
from vestige.host.messages import tell
from vestige.host.options import MAC, MAC_KEPT, ConsoleOption, RunOptions
from vestige.lang.types import TYPE_CHECKING
from vestige.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from vestige.host.files.opening import Files
    from vestige.host.resources import Resources
    from vestige.host.run import Opener, Ready
    from vestige.signals import Watch

# What the rest of the world is to a guest, and how it is run, may be another than before.
OF_RUN = (
    "--disk", "--cdrom", "--floppy", "--ring", "--console", "--port", "--agent", "--net",
    "--keys", "--display", "--jail", "--name", "--timeout", "--stats",
)  # fmt: skip
# What a manifest's words may be: host/freeze/words.py writes no others.
OF_A_MACHINE = (
    "--machine", "--memory", "--cpus", "--kernel", "--firmware", "--vga", "--ide", "--disk",
    "--floppy", "--cdrom", "--console", "--port", "--agent", "--rng", "--tablet", "--net",
)  # fmt: skip
DEVICE_OPTIONS = tuple(place.option.name for place in ROWS if place.option)
NOW, KEEP = "now", "keep"
TIME = choice(
    "--time",
    (KEEP, NOW),
    "time",
    help="what the guest's clocks show: the time at which it was frozen (default), from which they"
    " go on, or the time that it is, as if it had stood still meanwhile, which its kernel may"
    " complain of",
)
SYNTAX = Syntax(
    (
        TIME,
        *(option for option in RUN.options if option.name in OF_RUN),
    ),
    names="FOLDER",
    note=(
        "The machine is as it was frozen. An option that is given replaces all of its kind that the"
        " guest was run with: --disk a disk that has been moved, and as many as it had. Its console"
        " is this terminal, and its ports lead nowhere, unless others are given. The snapshot stays"
        " as it is: what the guest writes to memory is this run's own. By its agent, if it has one,"
        " it gets random numbers of its own, and on another tap another MAC and an address for it,"
        " unless the MAC is given. A guest that resets itself ends the run. Exit status: as of"
        " `vestige run`."
    ),
    refused={
        option.name: "a thaw has no such option, as its machine is as it was frozen; leave it out"
        for option in RUN.options
        if option.name not in OF_RUN
    },
)


def options_for(snapshot: Snapshot, arguments: Arguments) -> RunOptions:
    """What is run of it: what its manifest says, but for what was given. Raises UsageError."""
    path = snapshot.path
    try:
        before = RUN.read(snapshot.words)
        was = options_of(before)
    except UsageError as error:
        raise UsageError(f"{path}: its manifest is damaged: {error}") from None
    if not {name for name, _ in before.order} <= {*OF_A_MACHINE, *DEVICE_OPTIONS}:
        raise UsageError(f"{path}: its manifest is damaged: it asks for too much")
    if (was.memory, was.cpus) != (snapshot.memory, snapshot.cpus):
        raise UsageError(f"{path}: its manifest is damaged: it is of two machines")
    if was.net is not None:
        if was.net.mac is None:
            raise UsageError(f"{path}: its manifest is damaged: its network has no MAC")
        snapshot.mac = was.net.mac
    check_kinds(path, was, arguments.last)
    words = [
        word
        for option in RUN.options
        for word in _words(option, arguments if arguments.has(option.name) else before)
    ]
    if snapshot.mac is not None:
        words = [_with_mac(word, snapshot.mac) for word in words]
    if not arguments.has("--console"):  # its terminal may be the screen's
        words = [word for word in words if not word.startswith("--console=")]
    options = options_of(RUN.read(words))
    if not arguments.has("--console"):
        options.console = ConsoleOption(
            options.console.backend, was.console.device, was.console.early
        )
    check_same(path, was, options)
    options.on_reboot = "exit"
    return options


def _with_mac(word: str, mac: bytes) -> str:
    """The same word, with that MAC where it asks for the one that the guest had."""
    keeps = f"{MAC}{MAC_KEPT}"
    if not (word.startswith("--net=") and word.endswith(keeps)):
        return word
    return f"{word.removesuffix(keeps)}{MAC}{mac.hex(':')}"


def _words(option: Option, arguments: Arguments) -> list[str]:
    return [
        f"{option.name}={word}" if option.metavar else option.name
        for word in arguments.all(option.name)
    ]


def _names(options: RunOptions, arguments: Arguments) -> dict[int, str]:
    """The disks that are given, by their numbers, in the words that do that."""
    return {
        number: disk.words
        for number, disk in enumerate(options.disks)
        if arguments.has(disk.words.split()[0])
    }


def run(arguments: Arguments) -> int:
    """Have it go on; the exit status."""
    return thaw(arguments)


def thaw(arguments: Arguments, ready: "Ready | None" = None) -> int:
    """The same. `ready`: as of host.run."""
    from vestige.host import run as native  # noqa: PLC0415 - brings KVM's side

    there = ready or native.Ready()
    wanted = Wanted(arguments)
    try:
        return native.run(wanted.options(), there, wanted.opener(there))
    finally:
        wanted.snapshot.close()


class Wanted:
    """A snapshot that is open, and what was given with it."""

    def __init__(self, arguments: Arguments) -> None:
        """Open it. Raises UsageError."""
        if len(arguments.rest) != 1:
            raise UsageError("give a snapshot: vestige thaw FOLDER")
        self._arguments = arguments
        jumps = arguments.has("--time") and TIME.read(arguments.all("--time")) == NOW
        self.snapshot = open_snapshot(arguments.rest[0])
        self.snapshot.jumps = jumps

    def options(self) -> RunOptions:
        """What is run, each time anew. Raises UsageError."""
        return options_for(self.snapshot, self._arguments)

    def opener(self, there: "Ready") -> "Opener":
        """As of host.run: what opens the files of a run that is `there`."""
        from vestige.host.files.opening import open_files  # noqa: PLC0415 - as host.run

        def opened(asked: RunOptions, resources: "Resources", watch: "Watch") -> "Files":
            names = _names(asked, self._arguments)
            check_files(self.snapshot, asked.disks, names)
            files = open_files(asked, resources, watch, self.snapshot)
            check_disks(self.snapshot, files.disks, names)
            mac, waits = self.snapshot.mac, self.snapshot.waits
            there.started = _renewing(asked, mac, there.started, waits)
            return files

        return opened


def _renewing(
    asked: RunOptions,
    mac: bytes | None,
    started: "Callable[[], object]",
    waits: dict[str, int] | None = None,
) -> "Callable[[], object]":
    """`started`, which also has the guest be told apart from its copies, by its agent.

    `mac`: of its network interface, as it was frozen; `waits`: as of a Snapshot.
    """
    now = None
    if asked.net is not None:
        from vestige.host.backends.network import mac_of  # noqa: PLC0415 - few guests have one

        now = mac_of(asked.net)
    if asked.agent_path is not None:
        from vestige.agent import renewing  # noqa: PLC0415 - few guests have one

        program = None if waits is None else renewing.Waits(**waits)
        begin = renewing.first_at(asked.agent_path, now, program)
    elif asked.net is not None and now != mac:
        line = (
            f"--net {asked.net.words}: no frame of the guest's passes, as its MAC is another there"
            f" and without --agent nobody tells it; give --net {asked.net.way},mac=keep, or have"
            " its driver find the device anew"
        )

        def begin() -> None:
            tell(line)
    else:
        return started

    def both() -> None:
        begin()
        started()

    return both
