"""The IDE model compiled into this process, with the calls a `Rig` makes."""

import functools
from typing import Any

from vestige.abi import Disk
from vestige.lang.build import compile_functions
from vestige.lang.memory import Memory
from vestige.lang.native import NativeImage
from vestige.monitor.devices.piix3_ide.function import Ide

ENTRIES = (
    Ide.reset, Ide.attach, Ide.read, Ide.write, Ide.read_string, Ide.write_string,
    Ide.read_config, Ide.write_config, Ide.request_done, Ide.claims, Ide.interrupt_pin,
    Ide.place_in_memory, Ide.take_posted_starts, Ide.read_memory, Ide.write_memory,
    Ide.start_posted,
)  # fmt: skip


class Compiled:
    """The model as machine code; a failed check raises `PanicError`."""

    def __init__(self, native: NativeImage) -> None:
        self.native = native

    def call(self, name: str, *arguments: Any) -> int:
        return self.native[f"Ide.{name}"](*arguments) or 0

    def reset(self, ide: Ide, native: bool) -> None:
        self.call("reset", ide, native)

    def place_in_memory(self, ide: Ide) -> None:
        self.call("place_in_memory", ide)

    def take_posted_starts(self, ide: Ide) -> None:
        self.call("take_posted_starts", ide)

    def read_memory(self, ide: Ide, address: int, size: int) -> int:
        return self.call("read_memory", ide, address, size)

    def write_memory(self, ide: Ide, address: int, size: int, value: int, ram: Memory) -> None:
        self.call("write_memory", ide, address, size, value, ram)

    def start_posted(self, ide: Ide, number: int, to_memory: bool, ram: Memory) -> None:
        self.call("start_posted", ide, number, to_memory, ram)

    def attach(self, ide: Ide, number: int, disk: Disk) -> None:
        self.call("attach", ide, number, disk)

    def read(self, ide: Ide, port: int, size: int, ram: Memory) -> int:
        return self.call("read", ide, port, size, ram)

    def write(self, ide: Ide, port: int, size: int, value: int, ram: Memory) -> None:
        self.call("write", ide, port, size, value, ram)

    def read_string(
        self, ide: Ide, port: int, size: int, count: int, address: int, ram: Memory
    ) -> None:
        self.call("read_string", ide, port, size, count, address, ram)

    def write_string(
        self, ide: Ide, port: int, size: int, count: int, address: int, ram: Memory
    ) -> None:
        self.call("write_string", ide, port, size, count, address, ram)

    def read_config(self, ide: Ide, offset: int, size: int) -> int:
        return self.call("read_config", ide, offset, size)

    def write_config(self, ide: Ide, offset: int, size: int, value: int, ram: Memory) -> None:
        self.call("write_config", ide, offset, size, value, ram)

    def request_done(self, ide: Ide, channel: int, ram: Memory) -> None:
        self.call("request_done", ide, channel, ram)


@functools.cache
def compiled() -> Compiled:
    """Compile once a process."""
    return Compiled(NativeImage(compile_functions(ENTRIES, base=None, runtime="process")))
