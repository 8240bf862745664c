"""`vestige softhost`: runs a command on a machine in software that has a real /dev/kvm."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from vestige.errors import UsageError
from vestige.host.options import parse_memory


def configure(parser: ArgumentParser) -> None:
    """Add the options of `vestige softhost`."""
    parser.usage = (
        "vestige softhost [--memory SIZE] [--nvme IMAGE]... [--retry] [--verbose] -- COMMAND..."
    )
    parser.epilog = (
        "COMMAND has the caller's directory, environment, user, files and streams; its exit "
        "status is passed on. 1: the software host failed, 2: bad input."
    )
    parser.add_argument("--memory", metavar="SIZE", default="4G", help="its memory (default: 4G)")
    parser.add_argument(
        "--nvme",
        metavar="IMAGE",
        type=Path,
        action="append",
        default=[],
        help="an NVMe controller over this image, behind an IOMMU and held by vfio-pci; repeatable",
    )
    parser.add_argument("--verbose", action="store_true", help="show the boot console")
    parser.add_argument(
        "--retry",
        action="store_true",
        help="run COMMAND once more, from its beginning, if the software host itself fails",
    )
    parser.add_argument("argv", metavar="COMMAND", nargs="*", help="what to run, after '--'")


def run(arguments: Namespace) -> int:
    """Run the command; its exit status. Raises UsageError and GuestError."""
    if not arguments.argv:
        raise UsageError(
            "no command; give one after '--', such as: vestige softhost -- ls /dev/kvm"
        )
    from vestige.softhost import SoftHost, foreground  # noqa: PLC0415 - not for `--help`

    host = SoftHost(
        memory=parse_memory(arguments.memory), nvme=arguments.nvme, verbose=arguments.verbose
    )
    return foreground.run(host, arguments.argv, retry=arguments.retry)
