"""`vestige run`: read the options of one guest and start it, here or in the software host."""

from vestige.cli.arguments import (
    HELP,
    Arguments,
    Option,
    Syntax,
    choice,
    each,
    given,
    last,
    only,
    path,
)
from vestige.host import options as read
from vestige.host.clock import parse_rtc
from vestige.host.messages import tell
from vestige.rows import ROWS


def _parse_display(text: str) -> object:
    from vestige.host.viewer.option import parse_display  # noqa: PLC0415 - few runs have one

    return parse_display(text)


OF_DEVICES = tuple(
    Option(place.option.name, help=place.option.help) for place in ROWS if place.option
)
SYNTAX = Syntax(
    (
        path(
            "--kernel",
            help="bzImage, ELF vmlinux or Multiboot kernel; a PC boots its first disk without",
        ),
        path("--initrd", help="initial RAM disk"),
        Option(
            "--append",
            "TEXT",
            field="append",
            help="kernel command line; Linux shows its lines here if this has console=ttyS0, or"
            " console=hvc0 with --console virtio",
        ),
        choice(
            "--machine",
            read.MACHINES,
            "machine",
            help="what the guest finds: no legacy hardware (default), or the chips of a PC, too",
        ),
        path(
            "--firmware",
            "bios|uefi|PATH",
            help="what a PC starts from, without --kernel or before it: Debian's SeaBIOS (default"
            " without), Debian's OVMF, or an image",
        ),
        path(
            "--variables",
            "FILE",
            help="where a UEFI firmware's variables stay, made if it isn't there; without it they"
            " last as long as the run",
        ),
        choice(
            "--vga",
            read.VGAS,
            "vga",
            help="a PC's screen, which `vestige screen` shows: the standard VGA (default), or none",
        ),
        Option(
            "--rtc",
            "utc|localtime|DATE",
            field="rtc",
            read=last(parse_rtc),
            help="what a PC's clock shows at power-on: UTC (default), this machine's local time, or"
            " a date YYYY-MM-DDTHH:MM:SS",
        ),
        Option(
            "--memory",
            "SIZE",
            field="memory",
            read=last(read.parse_memory),
            help="RAM, 64M to 30G (default 512M); a number alone is of MiB",
        ),
        Option(
            "--cpus",
            "N",
            field="cpus",
            read=last(read.parse_cpus),
            help="virtual CPUs, 1 to 32 (default 1)",
        ),
        Option(
            "--disk",
            "PATH|vfio:ADDRESS[,bus=virtio|ide][,readonly][,discard=unmap][,format=raw]"
            "[,overlay=FILE|temporary]",
            repeated=True,
            field="disks",
            read=each(read.parse_disk),
            help="raw image, block device, or the PCI address of an NVMe controller; up to four,"
            " on virtio (default) or IDE; discard=unmap: sectors that the guest discards become a"
            " hole in the image; format=raw: take an image as raw though it looks like another"
            " format's; overlay=FILE: the image stays as it is, for all that share it, and FILE,"
            " made if it is not there, has what the guest writes; temporary: until the run ends; a"
            " comma in PATH or FILE is written twice",
        ),
        Option(
            "--floppy",
            "IMAGE[,readonly]|none",
            repeated=True,
            field="floppies",
            read=each(read.parse_floppy),
            help="a PC's floppy drive, with a raw image of 720 KiB, 1.2, 1.44 or 2.88 MB in it, or"
            " empty; up to two, A and B; a comma in IMAGE is written twice",
        ),
        Option(
            "--cdrom",
            "IMAGE|none[,format=raw]",
            field="cdrom",
            read=only(
                "--cdrom", read.parse_cdrom, "there is one drive; `vestige insert` changes its disc"
            ),
            help="a CD or DVD drive on IDE, and the ISO image in it (none: an empty drive), which"
            " `vestige insert` and `vestige eject` change; format=raw: take an image as it is"
            " though it has no file system of a CD; a PC boots it after its disks",
        ),
        choice(
            "--ide",
            read.IDE_PLACES,
            "ide",
            help="the IDE's control and bus master registers: I/O ports, as a PIIX3's (default),"
            " or memory, which takes fewer exits a command",
        ),
        choice(
            "--accel",
            read.ACCELERATORS,
            "accel",
            help="KVM here, the software host, or whichever works (default)",
        ),
        choice(
            "--ring",
            read.RINGS,
            "ring",
            help="who takes the disks' requests: a system call, a kernel thread, or the thread"
            " where a virtio disk and a spare CPU make it pay (default)",
        ),
        Option(
            "--console",
            "[virtio[,early]:]stdio|FILE|unix:PATH",
            field="console",
            read=last(read.parse_console),
            help="the other side of the guest's serial port (default stdio), or of its virtio"
            " console hvc0 (virtio alone is on stdio); early: of both",
        ),
        *OF_DEVICES,
        Option(
            "--port",
            "NAME=unix:PATH|FILE",
            repeated=True,
            field="ports",
            read=each(read.parse_port),
            help="a virtio port, /dev/virtio-ports/NAME in the guest; up to six",
        ),
        Option(
            "--agent",
            field="agent",
            read=given,
            help="a port for the guest's agent (in Debian the package qemu-guest-agent), by which"
            " `vestige exec` runs commands in it",
        ),
        Option("--rng", field="entropy", read=given, help="give the guest a virtio entropy device"),
        Option(
            "--tablet",
            field="tablet",
            read=given,
            help="give the guest a virtio tablet: a pointer that is where it is put, by --keys and"
            " `vestige type`",
        ),
        Option(
            "--keys",
            "unix:PATH|FILE",
            field="keys",
            read=last(read.parse_keys),
            help="lines of keys and pointer movements for a PC's keyboard and mouse, and for a"
            " tablet, as `vestige type` has them",
        ),
        Option(
            "--display",
            "text|vnc[:HOST:PORT|:unix:PATH][,password-file=FILE][,layout=us|gb|de|fr]",
            field="display",
            read=only("--display", _parse_display, "one is all; several look on at one vnc"),
            help="where a PC's screen is shown and its keys are typed: text on this terminal,"
            " which takes the place of the console; vnc to VNC viewers, at 127.0.0.1 and the first"
            " free port from 5900 on, with a password that is told, or elsewhere; layout: of the"
            " guest's keyboard",
        ),
        choice(
            "--on-reboot",
            read.REBOOTS,
            "on_reboot",
            help="a guest that resets itself ends the run (default) or starts anew",
        ),
        Option(
            "--jail",
            "[on|require|off][,uid=USER][,cgroup=PATH]",
            field="jail",
            read=last(read.parse_jail),
            help="lock the guest's process in as far as this machine can (on, the default), refuse"
            " to run where a layer of the jail is off (require), or leave the process open, for"
            " debugging (off); uid, cgroup: as root, have it be that user's, and in a control group"
            " of its own below this one",
        ),
        Option(
            "--name",
            "NAME",
            field="name",
            read=last(read.parse_name),
            help="what `vestige ps` and the like call this run (default: its process's number)",
        ),
        Option(
            "--net",
            "user[,host-loopback]|tap:NAME[,mac=MAC]",
            repeated=True,
            field="net",
            read=read.parse_net,
            help="a network interface, through passt or through a tap that exists; host-loopback:"
            " at its gateway's address the guest reaches what listens on this host's 127.0.0.1 and"
            " ::1; mac: of the guest's interface, and keep at a thaw: that which the guest has",
        ),
        Option(
            "--timeout",
            "TIME",
            field="timeout",
            read=last(read.parse_timeout),
            help="end the guest after this time, exit status 124: seconds, or 5m, 2h",
        ),
        path("--stats", "FILE.json", help="write counters of the run here"),
    ),
    note=(
        "Exit status: 0 the guest powered off, 1 the guest or its monitor failed, 2 bad input,"
        " 3 the guest reset itself, 124 the timeout, 130 Ctrl-C. On a terminal, Ctrl-] ends the"
        " guest; Ctrl-C is the guest's."
    ),
)

OWN_WORDS = (*HELP, *(option.name for option in SYNTAX.options if option not in OF_DEVICES))
if any(option.name in OWN_WORDS for option in OF_DEVICES):
    from vestige.claims import check_words

    check_words(ROWS, OWN_WORDS)


def options_of(arguments: Arguments) -> read.RunOptions:
    """What the words mean. Raises UsageError."""
    values = SYNTAX.values(arguments)
    values["devices"] = tuple(
        place.field for place in ROWS if place.option and arguments.has(place.option.name)
    )
    options = read.RunOptions(**values)  # type: ignore[arg-type] # by their readers
    if options.display is not None and options.display.takes_terminal:
        if not arguments.has("--console"):
            options.console = read.ConsoleOption(read.NOWHERE)
    read.check(options)
    return options


def run(arguments: Arguments) -> int:
    """Start the guest and answer its exit status."""
    options = options_of(arguments)
    if options.accel == "auto":
        from vestige.softhost.detect import kvm_state  # noqa: PLC0415 - not for `--accel kvm`

        state = kvm_state()
        if not state.is_good:
            from vestige.softhost.host import trees_apart  # noqa: PLC0415 - as above

            tell(
                f"{state.words}: using the software host, which may read {', '.join(trees_apart())}"
                " here, and write what this run names"
            )
            options.accel = "soft"
    if options.accel == "soft":
        from vestige.cli import soft_run  # noqa: PLC0415 - brings QEMU's side

        return soft_run.run(options, SYNTAX.words(arguments))
    from vestige.host import run as native  # noqa: PLC0415 - brings KVM's side

    return native.run(options)
