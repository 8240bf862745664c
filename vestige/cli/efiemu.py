"""`vestige efiemu build`: make efiemu.efi, an application of UEFI firmware."""

import time

from vestige.cli.arguments import Arguments, Option, Syntax
from vestige.cli.output import Output
from vestige.efiemu import pe
from vestige.errors import UsageError
from vestige.host import images
from vestige.host.messages import show, tell

NAME = "efiemu.efi"
APPLICATION = Output("efiemu", pe.DOS_HEADER)
SYNTAX = Syntax(
    (Option("-o", "FILE.efi", help=f"what to write ({NAME}); an application there is replaced"),),
    names="build",
    note=(
        "The machine whose firmware starts it becomes a guest of its own, on a processor with AMD's"
        " SVM. Load options: nvme=BUS:DEVICE.FUNCTION where there are several NVMe controllers;"
        " boot=FILE, with what that takes, for what to boot from its disk."
    ),
)


def run(arguments: Arguments) -> int:
    """Write the application, and say where it is. Raises UsageError."""
    what, *more = arguments.rest or [""]
    if what != "build":
        found = f"{what!r} is nothing that can be done" if what else "give what to do"
        raise UsageError(f"{found}: there is build; see `vestige efiemu --help`")
    if more:
        raise UsageError(
            f"build takes no word, not {' '.join(more)!r}; see `vestige efiemu --help`"
        )
    given = arguments.last("-o")
    path = NAME if given is None else given
    APPLICATION.check(path)
    began = time.monotonic()
    images.compiler()  # there is one
    from vestige.efiemu.build import application  # noqa: PLC0415

    data = application()
    APPLICATION.write(path, data)
    show(f"{path}\n")
    tell(f"{len(data)} bytes, built in {time.monotonic() - began:.1f} s")
    return 0
