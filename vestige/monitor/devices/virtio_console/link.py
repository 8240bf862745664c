"""Between the virtio console's ports and the files they go to and come from, never waiting.

As for the UART (uart16550/link.py) each direction of a port has at most one operation in the ring,
on memory of its own.
"""

from vestige.abi import MAX_PORTS, Config, Statistics
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, i32, u8, u32, u64
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_console.model import VirtioConsole
from vestige.monitor.devices.virtio_console.port import INPUT_SIZE, OUTPUT_SIZE, VirtioPort
from vestige.monitor.drivers.ring.driver import Owner, RingDriver
from vestige.monitor.drivers.ring.spec import Errno
from vestige.monitor.line import NEVER
from vestige.monitor.streams import END_OF_LINE, PATIENCE, RETRY


class PortLink(Struct):
    """One port's: what has ended, and when to look again. Times are nanoseconds; 0: any time."""

    input_ended: u8
    input_after: u64
    output_after: u64
    output_due: u64  # when to write what waits


class PortLinks(Struct):
    """Those of all ports."""

    links: PortLink[MAX_PORTS]
    hurry: u8  # 1: write at once what waits

    def connect(self, config: Config) -> None:
        """Nothing waits; a port without a file to read has no input."""
        for number in range(MAX_PORTS):
            self.links[number].input_ended = config.ports[number].input < 0

    def renew(self, console: VirtioConsole, config: Config) -> None:
        """Nothing of it is to be told apart."""

    def next_deadline(self) -> u64:
        """When there is something to do though nothing else happens."""
        due = NEVER
        for number in range(MAX_PORTS):
            link = self.links[number]
            if link.input_after:
                due = min(due, link.input_after)
            if link.output_after:
                due = min(due, link.output_after)
            if link.output_due:
                due = min(due, max(link.output_due, link.output_after))
        return due

    def flush(self) -> None:
        """From now on write at once what waits."""
        self.hurry = 1

    def take(
        self,
        console: VirtioConsole,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        now: u64,
    ) -> bool:
        """Look what has been written and read, and at the terminal's size.

        Written output makes room for more, and what came is input.
        """
        moved = False
        resized = config.columns != console.columns or config.rows != console.rows
        if resized and console.columns and config.columns:
            console.resize(device, config.columns, config.rows)
            moved = True
        for number in range(MAX_PORTS):
            link = self.links[number]
            port = console.ports[number]
            if ring_driver.take_answer(output_owner(number)):
                self.take_written(port, link, ring_driver.result_of(output_owner(number)), now)
                moved = True
            if ring_driver.take_answer(input_owner(number)):
                self.take_read(port, link, ring_driver.result_of(input_owner(number)), now)
                moved = True
        return moved

    def take_written(self, port: VirtioPort, link: PortLink, result: i32, now: u64) -> None:
        """How far the last write came."""
        if result > 0:
            port.output_done(min(result, port.output_count))
        elif result == -Errno.EAGAIN:
            link.output_after = u64(now + RETRY)
        elif result != -Errno.EINTR:
            port.hang_up()

    def take_read(self, port: VirtioPort, link: PortLink, result: i32, now: u64) -> None:
        """What the last read brought."""
        if result > 0:
            port.input_done(result)
        elif result == -Errno.EAGAIN:
            link.input_after = u64(now + RETRY)
        elif result != -Errno.EINTR:
            link.input_ended = 1

    def move(
        self,
        console: VirtioConsole,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        statistics: Statistics,
        now: u64,
    ) -> None:
        """Write what waits, and read for whoever waits."""
        ring = config.ring
        for number in range(MAX_PORTS):
            link = self.links[number]
            port = console.ports[number]
            files = config.ports[number]
            if now >= link.output_after:
                link.output_after = 0
                owner = output_owner(number)
                if port.output_count == 0 or ring_driver.busy(owner):
                    link.output_due = 0
                elif self.ready(number, port, now):
                    address = u64(address_of(port.output) + port.output_first)
                    length = port.output_length()
                    if ring_driver.write_stream(owner, u32(files.output), address, length, ring):
                        link.output_due = 0
            if now >= link.input_after:
                link.input_after = 0
                if port.open and port.input_count == 0 and not link.input_ended:
                    address = address_of(port.input)
                    owner = input_owner(number)
                    ring_driver.read_stream(owner, u32(files.input), address, INPUT_SIZE, ring)

    def ready(self, number: u8, port: VirtioPort, now: u64) -> bool:
        """Whether to write what waits.

        At once; but the console's by lines, as drivers send it in pieces of a few bytes: Linux
        of 16.
        """
        if number > 0 or self.hurry or port.output_count >= OUTPUT_SIZE // 2:
            return True
        link = self.links[number]
        if link.output_due == 0:
            link.output_due = u64(now + PATIENCE)
        last = port.output[(port.output_first + port.output_count - 1) % OUTPUT_SIZE]
        return last == END_OF_LINE or now >= link.output_due

    def idle(self, console: VirtioConsole, ring_driver: RingDriver) -> bool:
        """Whether all output has been written, or can't be."""
        waiting = u32(0)
        for number in range(MAX_PORTS):
            waiting = u32(waiting + console.ports[number].output_count)
        return waiting == 0


def output_owner(port: u8) -> u8:
    """Whose the writes of a port are in the ring."""
    return u8(Owner.PORT_OUTPUT + 2 * port)


def input_owner(port: u8) -> u8:
    """Whose its reads are."""
    return u8(Owner.PORT_INPUT + 2 * port)
