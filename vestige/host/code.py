"""The monitor's compiled image as the host needs it: where it starts, and what its words mean."""

from collections.abc import Callable
from typing import NamedTuple


class MonitorCode(NamedTuple):
    """Code at abi.IMAGE; all addresses are the monitor's."""

    code: bytes
    memory_size: int  # of the code and the data behind it
    vcpu_main: int
    worker_main: int
    handlers: dict[int, int]  # vector to the address of its entry
    site: Callable[[int], str | None]  # a check's number to "FILE:LINE: REASON"
    line: Callable[[int], str | None]  # an address to "FILE:LINE"
