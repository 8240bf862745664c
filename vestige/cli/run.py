"""`vestige run`: read the options of one guest and start it, here or in the software host."""

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.host import options as read
from vestige.host.messages import tell

SYNTAX = Syntax(
    (
        Option("--kernel", "PATH", required=True, help="bzImage or ELF vmlinux, x86-64"),
        Option("--initrd", "PATH", help="initial RAM disk"),
        Option("--append", "TEXT", help="kernel command line"),
        Option("--memory", "SIZE", help="RAM, 64M to 30G (default 512M)"),
        Option("--cpus", "N", help="virtual CPUs, 1 to 32 (default 1)"),
        Option(
            "--disk",
            "PATH|vfio:ADDRESS[,bus=virtio|ide][,readonly][,discard=unmap][,format=raw]",
            repeated=True,
            help="raw image, block device, or the PCI address of an NVMe controller; up to four,"
            " on virtio (default) or IDE; discard=unmap: what the guest discards becomes a hole in"
            " the image; format=raw: take an image that looks like another format's as it is",
        ),
        Option(
            "--ide",
            "ports|memory",
            help="the IDE's control and bus master registers: I/O ports, as a PIIX3's (default),"
            " or memory, which takes fewer exits a command",
        ),
        Option(
            "--accel",
            "auto|kvm|soft",
            help="KVM here, the software host, or whichever works (default)",
        ),
        Option(
            "--ring",
            "auto|kick|poll",
            help="who takes the disks' requests: a system call, a kernel thread, or the thread"
            " where a virtio disk and a spare CPU make it pay (default)",
        ),
        Option(
            "--console",
            "[virtio[,early]:]stdio|FILE|unix:PATH",
            help="the other side of the guest's serial port (default stdio), or of its virtio"
            " console hvc0 (virtio alone is on stdio); early: of both",
        ),
        Option("--hpet", help="give the guest a high precision event timer"),
        Option(
            "--port",
            "NAME=unix:PATH|FILE",
            repeated=True,
            help="a virtio port, /dev/virtio-ports/NAME in the guest; up to six",
        ),
        Option("--rng", help="give the guest a virtio entropy device"),
        Option(
            "--on-reboot",
            "exit|restart",
            help="a guest that resets itself ends the run (default) or starts anew",
        ),
        Option(
            "--net",
            "user|tap:NAME",
            repeated=True,
            help="a network interface, through passt or through a tap that exists",
        ),
        Option(
            "--timeout",
            "TIME",
            help="end the guest after this time, exit status 124: seconds, or 5m, 2h",
        ),
        Option("--stats", "FILE.json", help="write counters of the run here"),
    ),
    note=(
        "Exit status: 0 the guest powered off, 1 the guest or its monitor failed, 2 bad input,"
        " 3 the guest reset itself, 124 the timeout, 130 Ctrl-C. On a terminal, Ctrl-] ends the"
        " guest; Ctrl-C is the guest's."
    ),
)


def options_of(arguments: Arguments) -> read.RunOptions:
    """What the words mean. Raises UsageError."""
    given = arguments.last
    options = read.RunOptions(kernel=given("--kernel") or "", initrd=given("--initrd"))
    options.disks = tuple(read.parse_disk(text) for text in arguments.all("--disk"))
    options.stats = given("--stats")
    if (append := given("--append")) is not None:
        options.append = append
    if (memory := given("--memory")) is not None:
        options.memory = read.parse_memory(memory)
    if (cpus := given("--cpus")) is not None:
        options.cpus = read.parse_cpus(cpus)
    if (ring := given("--ring")) is not None:
        options.ring = ring
    if (ide := given("--ide")) is not None:
        options.ide = ide
    if (accel := given("--accel")) is not None:
        options.accel = accel
    if (console := given("--console")) is not None:
        options.console = read.parse_console(console)
    options.ports = tuple(read.parse_port(text) for text in arguments.all("--port"))
    options.entropy = arguments.has("--rng")
    options.hpet = arguments.has("--hpet")
    if (on_reboot := given("--on-reboot")) is not None:
        options.on_reboot = on_reboot
    options.net = read.parse_net(arguments.all("--net"))
    if (timeout := given("--timeout")) is not None:
        options.timeout = read.parse_timeout(timeout)
    read.check(options)
    return options


def run(arguments: Arguments) -> int:
    """Start the guest and answer its exit status."""
    options = options_of(arguments)
    if options.accel == "auto":
        from vestige.softhost.detect import kvm_state  # noqa: PLC0415 - not for `--accel kvm`

        state = kvm_state()
        if not state.is_good:
            tell(f"{state.words}: using the software host")
            options.accel = "soft"
    if options.accel == "soft":
        from vestige.cli import soft_run  # noqa: PLC0415 - brings QEMU's side

        return soft_run.run(options)
    from vestige.host import run as native  # noqa: PLC0415 - brings KVM's side

    return native.run(options)
