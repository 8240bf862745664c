"""The console as its driver and the core see it."""

import ctypes
import struct
from functools import cache
from typing import NamedTuple

from tests.devices.virtio.plain import ROOM, PlainBench
from tests.devices.virtio.reference import Buffer, Driver, SplitDriver
from tests.twice import Twice, compiled
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.lang.native import NativeImage
from vestige.monitor.devices.virtio_console.model import VirtioConsole
from vestige.monitor.devices.virtio_console.port import VirtioPort

SIZE, MULTIPORT = 1 << 0, 1 << 1
READY, ADD, REMOVE, PORT_READY, CONSOLE, RESIZE, OPEN, NAME = range(8)
CONTROL_IN, CONTROL_OUT = 2, 3
MESSAGES = ROOM + 0x4000  # sixteen buffers of 64 bytes for what the device says
SAYING = ROOM + 0x5000  # sixteen of 16 bytes for what the driver says


class Message(NamedTuple):
    """A control message, and what follows it."""

    port: int
    event: int
    value: int
    rest: bytes = b""


@cache
def native() -> NativeImage:
    """What the core calls of the console and of a port."""
    return compiled(
        VirtioConsole.resize,
        VirtioPort.output_length,
        VirtioPort.output_done,
        VirtioPort.hang_up,
        VirtioPort.input_done,
    )


class ConsoleBench(PlainBench):
    """A console with the guest's own as port 0, if asked, and named ports from 1 on."""

    def __init__(
        self, *names: bytes, console: bool = True, columns: int = 0, rows: int = 0
    ) -> None:
        config = abi.Config()
        function = config.virtio[0]
        function.kind, function.queues = abi.VirtioKind.CONSOLE, 2 * len(names) + 4
        function.shares = 1
        config.ports[0].present = console
        for number, name in enumerate(names, start=1):
            port = config.ports[number]
            port.present, port.name_length = 1, len(name)
            ctypes.memmove(address_of(port.name), name, len(name))
        config.columns, config.rows = columns, rows
        super().__init__(config, lambda virtio: virtio.consoles[0])
        self.console = self.virtio.consoles[0]
        self.core = Twice(native(), (self.console, self.function))
        self.said = 0
        self.listening: dict[int, int] = {}

    # ---- control messages ---------------------------------------------------------------------

    def start(
        self, kind: type[Driver] = SplitDriver, features: int = MULTIPORT, size: int = 16
    ) -> list[Driver]:
        """All queues, and buffers for the device's messages."""
        drivers = self.begin(kind, features, None if features & MULTIPORT else 2)
        self.listening = {}
        if features & MULTIPORT:
            for index in range(size):
                self.listen(drivers, MESSAGES + 64 * index)
        return drivers

    def listen(self, drivers: list[Driver], place: int, size: int = 64) -> None:
        """A buffer for a message."""
        number = drivers[CONTROL_IN].add([Buffer(place, size, writable=True)])
        assert number is not None
        self.listening[number] = place

    def say(self, drivers: list[Driver], port: int, event: int, value: int = 1) -> None:
        """A message to the device."""
        place = SAYING + 16 * (self.said % 16)
        self.said += 1
        self.ram.poke(place, "IHH", port, event, value)
        drivers[CONTROL_OUT].add([Buffer(place, 8, writable=False)])
        self.service()
        drivers[CONTROL_OUT].collect()

    def heard(self, drivers: list[Driver]) -> list[Message]:
        """What the device has said; its buffers are given again."""
        messages = []
        places = []
        for number, written in drivers[CONTROL_IN].collect():
            places.append(self.listening.pop(number))
            data = self.ram.get(places[-1], written)
            port, event, value = struct.unpack_from("<IHH", data)
            messages.append(Message(port, event, value, data[8:]))
        for place in places:
            self.listen(drivers, place)
        return messages

    def open(self, drivers: list[Driver], *ports: int) -> None:
        """All that is said until these ports are open."""
        self.say(drivers, 0, READY)
        for port in ports:
            self.say(drivers, port, PORT_READY)
            self.say(drivers, port, OPEN)
        self.heard(drivers)

    # ---- the core -----------------------------------------------------------------------------

    def written(self, port: int, most: int = 1 << 32) -> bytes:
        """What the core would write now; that is done."""
        state = self.console.ports[port]
        length = min(self.core(VirtioPort.output_length, state), most)
        first = state.output_first
        data = bytes(state.output)[first : first + length]
        self.core(VirtioPort.output_done, state, length)
        self.service()
        return data

    def come(self, port: int, data: bytes) -> None:
        """The core has read this."""
        state = self.console.ports[port]
        ctypes.memmove(address_of(state.input), data, len(data))
        self.core(VirtioPort.input_done, state, len(data))
        self.service()
