"""The IDE model compiled into this process, with the calls a `Rig` makes."""

import functools
from typing import Any

from tests import compiling
from vestige.abi import Config
from vestige.lang.native import NativeImage
from vestige.monitor.devices.piix3_ide.function import Ide

ENTRIES = (
    Ide.reset, Ide.offer_native_mode, Ide.place_in_memory, Ide.begin_posts, Ide.attach_disk,
    Ide.port_offset, Ide.memory_offset, Ide.read, Ide.write, Ide.read_string, Ide.write_string,
    Ide.read_config, Ide.write_config, Ide.post, Ide.request_done,
)  # fmt: skip


class Compiled:
    """The model as machine code; a failed check raises `PanicError`."""

    def __init__(self, native: NativeImage) -> None:
        self.native = native

    def call(self, name: str, *arguments: Any) -> int:
        return self.native[f"Ide.{name}"](*arguments) or 0

    def reset(self, ide: Ide) -> None:
        self.call("reset", ide)

    def offer_native_mode(self, ide: Ide) -> None:
        self.call("offer_native_mode", ide)

    def place_in_memory(self, ide: Ide) -> None:
        self.call("place_in_memory", ide)

    def begin_posts(self, ide: Ide) -> None:
        self.call("begin_posts", ide)

    def attach_disk(self, ide: Ide, machine: Config, number: int) -> None:
        self.call("attach_disk", ide, machine, number)

    def port_offset(self, ide: Ide, port: int) -> int:
        return self.call("port_offset", ide, port)

    def memory_offset(self, ide: Ide, number: int, address: int) -> int:
        return self.call("memory_offset", ide, number, address)

    def read(self, ide: Ide, offset: int, size: int, now: int) -> int:
        return self.call("read", ide, offset, size, now)

    def write(self, ide: Ide, offset: int, size: int, value: int, now: int) -> None:
        self.call("write", ide, offset, size, value, now)

    def read_string(self, ide: Ide, offset: int, size: int, count: int, address: int) -> None:
        self.call("read_string", ide, offset, size, count, address)

    def write_string(self, ide: Ide, offset: int, size: int, count: int, address: int) -> None:
        self.call("write_string", ide, offset, size, count, address)

    def read_config(self, ide: Ide, number: int, offset: int, size: int) -> int:
        return self.call("read_config", ide, number, offset, size)

    def write_config(self, ide: Ide, number: int, offset: int, size: int, value: int) -> None:
        self.call("write_config", ide, number, offset, size, value)

    def post(self, ide: Ide, number: int) -> None:
        self.call("post", ide, number)

    def request_done(self, ide: Ide, channel: int) -> None:
        self.call("request_done", ide, channel)


@functools.cache
def compiled() -> Compiled:
    """Compile once a process."""
    return Compiled(compiling.native(ENTRIES))
