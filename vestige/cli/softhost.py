"""`vestige softhost`: runs a command on a machine in software that has a real /dev/kvm."""

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import UsageError
from vestige.host.options import parse_memory, parse_nvme

SYNTAX = Syntax(
    (
        Option("--memory", "SIZE", help="its memory, 512M to 30G (default 4G)"),
        Option(
            "--nvme",
            "IMAGE[,readonly][,format=raw]",
            repeated=True,
            help="an NVMe controller over this image, behind an IOMMU and held by vfio-pci; up to"
            " 15; format=raw: take one that looks like another format's as it is",
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
    if not arguments.rest or not arguments.rest[0]:
        what = "an empty command" if arguments.rest else "no command"
        raise UsageError(f"{what}; give one after '--', such as: vestige softhost -- ls /dev/kvm")
    from vestige.softhost import SoftHost, foreground  # noqa: PLC0415 - not for `--help`
    from vestige.softhost.host import DEFAULT_MEMORY, MINIMUM_MEMORY  # noqa: PLC0415

    memory, asked = DEFAULT_MEMORY, arguments.last("--memory")
    if asked is not None:
        memory = parse_memory(asked, MINIMUM_MEMORY, "a software host")
    host = SoftHost(
        memory=memory,
        nvme=list(map(parse_nvme, arguments.all("--nvme"))),
        verbose=arguments.has("--verbose"),
    )
    return foreground.run(host, arguments.rest, retry=arguments.has("--retry"))
