"""`vestige softhost`: runs a command on a machine in software that has a real /dev/kvm."""

from pathlib import Path

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import UsageError
from vestige.host.options import parse_memory

SYNTAX = Syntax(
    (
        Option("--memory", "SIZE", help="its memory (default 4G)"),
        Option(
            "--nvme",
            "IMAGE",
            repeated=True,
            help="an NVMe controller over this image, behind an IOMMU and held by vfio-pci",
        ),
        Option("--verbose", help="show the boot console"),
        Option(
            "--retry",
            help="run COMMAND once more, from its beginning, if the software host itself fails",
        ),
    ),
    rest="COMMAND...",
    note=(
        "COMMAND has the caller's directory, environment, user, files and streams; its exit"
        " status is passed on. 1: the software host failed, 2: bad input."
    ),
)


def run(arguments: Arguments) -> int:
    """Run the command; its exit status. Raises UsageError and GuestError."""
    if not arguments.rest:
        raise UsageError(
            "no command; give one after '--', such as: vestige softhost -- ls /dev/kvm"
        )
    from vestige.softhost import SoftHost, foreground  # noqa: PLC0415 - not for `--help`

    host = SoftHost(
        memory=parse_memory(arguments.last("--memory") or "4G"),
        nvme=[Path(image) for image in arguments.all("--nvme")],
        verbose=arguments.has("--verbose"),
    )
    return foreground.run(host, arguments.rest, retry=arguments.has("--retry"))
