"""`vestige run`: read the options of one guest and start it, here or in the software host."""

import argparse
import sys

from vestige.host import options as read


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vestige run`."""
    parser.epilog = (
        "Exit status: 0 the guest powered off, 1 the guest or its monitor failed, 2 bad input,"
        " 124 the timeout, 130 Ctrl-C. On a terminal, Ctrl-] ends the guest; Ctrl-C is the guest's."
    )
    add = parser.add_argument
    add("--kernel", required=True, metavar="PATH", help="bzImage or ELF vmlinux, x86-64")
    add("--initrd", metavar="PATH", help="initial RAM disk")
    add("--append", default="", metavar="TEXT", help="kernel command line")
    add("--memory", default="512M", metavar="SIZE", help="RAM, 64M to 30G (default 512M)")
    add("--cpus", default="1", metavar="N", help="virtual CPUs, 1 to 8 (default 1)")
    add(
        "--disk",
        action="append",
        default=[],
        metavar="PATH|vfio:ADDRESS[,bus=ide][,readonly]",
        help="raw image, block device, or the PCI address of an NVMe controller; up to four",
    )
    add(
        "--accel",
        default="auto",
        metavar="auto|kvm|soft",
        help="KVM here, the software host, or whichever works (default)",
    )
    add(
        "--console",
        default="stdio",
        metavar="stdio|FILE|unix:PATH",
        help="the other side of the guest's serial port (default stdio)",
    )
    add("--timeout", metavar="SECONDS", help="end the guest after this time, exit status 124")
    add("--stats", metavar="FILE.json", help="write counters of the run here")


def options_of(arguments: argparse.Namespace) -> read.RunOptions:
    """What the words mean. Raises UsageError."""
    options = read.RunOptions(
        kernel=arguments.kernel,
        initrd=arguments.initrd,
        append=arguments.append,
        memory=read.parse_memory(arguments.memory),
        cpus=read.parse_cpus(arguments.cpus),
        disks=tuple(read.parse_disk(text) for text in arguments.disk),
        console=arguments.console,
        timeout=None if arguments.timeout is None else read.parse_timeout(arguments.timeout),
        stats=arguments.stats,
        accel=arguments.accel,
    )
    read.check(options)
    return options


def run(arguments: argparse.Namespace) -> int:
    """Start the guest and answer its exit status."""
    options = options_of(arguments)
    if options.accel == "auto":
        from vestige.softhost.detect import kvm_state  # noqa: PLC0415 - not for `--accel kvm`

        state = kvm_state()
        if not state.is_good:
            print(f"vestige: {state.words}: using the software host", file=sys.stderr)
            options = options._replace(accel="soft")
    if options.accel == "soft":
        from vestige.cli import soft_run  # noqa: PLC0415 - brings QEMU's side

        return soft_run.run(options)
    from vestige.host import run as native  # noqa: PLC0415 - brings KVM's side

    return native.run(options)
