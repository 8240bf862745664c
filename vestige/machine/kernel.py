"""What a loaded kernel tells whoever enters it, whatever its file format was; its command line."""

import os

from vestige.bounds import MIB
from vestige.errors import UsageError
from vestige.machine.memory_map import COMMAND_LINE_LIMIT

LINUX_64 = "linux64"  # Linux's 64-bit entry: long mode, RSI = boot_params
LINUX_32 = "linux32"  # Linux's 32-bit entry: protected mode, ESI = boot_params
PVH = "pvh"  # Xen's PVH entry: 32-bit protected mode, EBX = hvm_start_info
MULTIBOOT = "multiboot"  # 32-bit protected mode, EAX a number, EBX = the information structure
AUTO = "auto"

ELF_COMMAND_LINE_MAXIMUM = 2047  # Linux x86, COMMAND_LINE_SIZE less the NUL
SEARCHED = 8192  # bytes of a file in which a Multiboot header is, whole
EXPECTED = "an x86 kernel"  # the next step of every error about a kernel file


class Kernel:
    """A kernel in RAM. Addresses are guest-physical, sizes in bytes.

    `end` is where memory that it doesn't need for its start begins; `setup_header` is what goes
    to offset 0x1F1 of Linux's boot_params. An initrd must end at or below `initrd_limit`, or
    may be above 4 GiB where `initrd_anywhere`.
    """

    __slots__ = (
        "command_line_maximum",
        "end",
        "entry",
        "initrd_anywhere",
        "initrd_limit",
        "protocol",
        "setup_header",
    )

    def __init__(
        self,
        *,
        protocol: str,
        entry: int,
        end: int,
        setup_header: bytes,
        command_line_maximum: int,
        initrd_limit: int,
        initrd_anywhere: bool,
    ) -> None:
        self.protocol = protocol
        self.entry = entry
        self.end = end
        self.setup_header = setup_header
        self.command_line_maximum = command_line_maximum
        self.initrd_limit = initrd_limit
        self.initrd_anywhere = initrd_anywhere


def check_memory(path: str, end: int, low_size: int) -> None:
    """Raise UsageError where a kernel needs memory up to `end` and there are `low_size` bytes."""
    if end > low_size:
        raise UsageError(
            f"{path}: needs memory up to {-(-end // MIB)} MiB to start, the machine has "
            f"{low_size // MIB} MiB there; give it more memory"
        )


def no_room(path: str, size: int, free: int) -> UsageError:
    """Why an initrd of `size` bytes can't be where only `free` bytes are."""
    return UsageError(
        f"{path}: an initrd of {size} bytes, the machine's memory has {free} bytes free "
        "for it beside the kernel; give it more memory"
    )


def command_line(text: str, maximum: int) -> bytes:
    """The command line with its NUL. Raises UsageError if the kernel couldn't take all of it."""
    line = os.fsencode(text)
    if b"\0" in line:
        raise UsageError(
            f"the kernel command line has a NUL byte at {line.index(0)}; give text without one"
        )
    limit = min(maximum, COMMAND_LINE_LIMIT - 1)
    if len(line) > limit:
        raise UsageError(
            f"the kernel command line has {len(line)} bytes, this kernel takes {limit}; shorten it"
        )
    return line + b"\0"
