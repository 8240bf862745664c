"""All consoles of one run: the guest's own, by UART or virtio, and the named virtio ports."""

import os
import time
from _collections_abc import Sequence

from vestige import abi
from vestige.host.backends.console import Console, File, Terminal, Together
from vestige.host.backends.relay import Relay
from vestige.host.options import SOCKET, STDIO, VIRTIO, ConsoleOption, PortOption
from vestige.signals import Watch

GRACE = 2.0  # seconds for who reads the output to take what is left at the end


def open_console(name: str, option: str = "--console ", watch: Watch | None = None) -> Console:
    """The console `name`: stdio, unix:PATH, or a file's path; `option` is what stands before it.

    Raises UsageError, and Ended as File does.
    """
    if name == STDIO:
        return Terminal()
    if name.startswith(SOCKET):
        from vestige.host.backends.console_socket import Socket  # noqa: PLC0415 - imports socket

        return Socket(name[len(SOCKET) :], option + name)
    return File(name, option + name, watch)


def open_consoles(
    console: ConsoleOption, ports: Sequence[PortOption], watch: Watch | None = None
) -> "Consoles":
    """Open what is asked for. Raises UsageError, and Ended as `watch` does."""
    words = "--console virtio:" if console.device == VIRTIO else "--console "
    opened = [open_console(console.backend, words, watch)]
    try:
        for port in ports:
            opened.append(open_console(port.backend, f"--port {port.name}=", watch))
    except BaseException:
        for each in opened:
            each.close()
        raise
    return Consoles(console, ports, opened)


class Consoles(Together):
    """Watched and closed together.

    The descriptors are those of the guest's own console as the user named it: what the ring has
    instead of such files is there once they are connected.
    """

    def __init__(
        self, console: ConsoleOption, ports: Sequence[PortOption], opened: Sequence[Console]
    ) -> None:
        """`opened`: the guest's own, then those of the ports."""
        self._option = console
        self._ports = ports
        self.all = opened
        super().__init__(self.all[0].output, self.all[0].input, self.all[0].name)
        self.also: list[Console] = []  # what else is at a terminal, and no console of the guest's
        self._relays: list[Relay] = []
        self._sockets: list[Console] = []  # one for each, in the same order
        self._has_size = console.device == VIRTIO and os.isatty(self.output)
        self._told = 0, 0  # the terminal's size, of which the monitor has been told

    @property
    def ports(self) -> Sequence[Console]:
        """All but the guest's own console."""
        return self.all[1:]

    def watched(self) -> Sequence[Console]:
        """As the user named them, and what the ring has instead."""
        return (*self.all, *self.also, *self._relays)

    def connect(self) -> None:
        """Have a socket for each of them."""
        for console in self.all:
            if console.is_socket:
                self._sockets.append(console)
                continue
            self._relays.append(Relay(console))
            self._sockets.append(self._relays[-1])

    def describe(self, config: abi.Config, files: list[int]) -> None:
        """Add the consoles' sockets to the ring's `files`, and tell the monitor of them."""
        output, input_ = _add(self._sockets[0], files)
        uart = config.console
        uart.present, uart.output, uart.input = 1, -1, -1
        if self._option.device != VIRTIO:
            uart.output, uart.input = output, input_
        else:
            uart.output = output if self._option.early else -1
            port = config.ports[0]
            port.present, port.output, port.input = 1, output, input_
            self.new_size()
            config.columns, config.rows = self._told
        for number, name in enumerate([port.name for port in self._ports], start=1):
            port = config.ports[number]
            port.present = 1
            port.output, port.input = _add(self._sockets[number], files)
            word = name.encode()
            port.name_length = len(word)
            for index, byte in enumerate(word):
                port.name[index] = byte

    def new_size(self) -> tuple[int, int] | None:
        """The columns and rows of the terminal on which the guest has hvc0, once they change.

        None: they are as they were told before, or there is no such terminal.
        """
        if not self._has_size:
            return None
        size = self._size()
        if size == self._told:
            return None
        self._told = size
        return size

    def _size(self) -> tuple[int, int]:
        """The terminal's columns and rows, as far as 16 bits tell them; 0 once it has hung up."""
        try:
            columns, rows = os.get_terminal_size(self.output)
        except OSError:
            return 0, 0
        return columns & 0xFFFF, rows & 0xFFFF

    def start(self) -> None:
        """The terminal is the guest's from now on."""
        for console in (*self.all, *self.also):
            console.start()

    def finish(self, watch: Watch) -> None:
        """The guest has gone: write what it left, as far as who reads it takes it soon.

        Raises Ended as `watch` does.
        """
        end = time.monotonic() + GRACE
        for relay in self._relays:
            relay.finish(watch, max(end - time.monotonic(), 0.0))
        for console in self.also:
            console.drain(watch, max(end - time.monotonic(), 0.0))

    def close(self) -> None:
        """Close all."""
        for console in (*self._relays, *self.also, *self.all):
            console.close()


def _add(console: Console, files: list[int]) -> tuple[int, int]:
    """Fixed file numbers of a console's output and input, -1 for none."""
    output, input_ = len(files), -1
    files.append(console.output)
    if console.input is not None:
        input_ = len(files)
        files.append(console.input)
    return output, input_
