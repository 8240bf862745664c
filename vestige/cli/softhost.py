"""`vestige softhost`: runs a command on a machine in software that has a real /dev/kvm."""

import os
import stat
from pathlib import Path

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.errors import UsageError
from vestige.host import disk_formats
from vestige.host.options import RAW, parse_memory

_AS_IT_IS = f",format={RAW}"

SYNTAX = Syntax(
    (
        Option("--memory", "SIZE", help="its memory (default 4G)"),
        Option(
            "--nvme",
            "IMAGE[,format=raw]",
            repeated=True,
            help="an NVMe controller over this image, behind an IOMMU and held by vfio-pci;"
            " format=raw: take one that looks like another format's as it is",
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
        nvme=[_raw_image(words) for words in arguments.all("--nvme")],
        verbose=arguments.has("--verbose"),
    )
    return foreground.run(host, arguments.rest, retry=arguments.has("--retry"))


def _raw_image(words: str) -> Path:
    """The path in IMAGE[,format=raw]. Raises UsageError for an image that is not raw."""
    path = words.removesuffix(_AS_IT_IS)
    if path == words:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return Path(path)  # who opens it for use says why it can't be
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                disk_formats.check(descriptor, path, read_only=False)
        finally:
            os.close(descriptor)
    return Path(path)
