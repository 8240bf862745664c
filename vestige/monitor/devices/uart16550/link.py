"""Between the UART and the console's files: characters out, characters in, never waiting.

Each direction has at most one operation in the ring, on memory that stays as it is meanwhile:
a part of the UART's output ring, or its empty input. A file that takes or gives nothing for hours
holds up that operation and nothing else.
"""

from vestige.abi import Config, Console, Ring
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.uart16550.model import INPUT_SIZE, OUTPUT_SIZE, Uart
from vestige.monitor.drivers.ring.driver import Owner, RingDriver
from vestige.monitor.drivers.ring.spec import Errno
from vestige.monitor.line import NEVER
from vestige.monitor.streams import END_OF_LINE, PATIENCE, RETRY


class ConsoleLink(Struct):
    """What lies between, and when to look again. Times are nanoseconds."""

    input_ended: u8
    input_after: u64  # not before this time
    output_failed: u8  # nobody reads any more: what is sent is dropped
    output_after: u64  # not before this time
    output_due: u64  # when to write what waits; NEVER: nothing waits
    hurry: u8  # 1: write at once what waits

    def connect(self, config: Config) -> None:
        """Nothing waits. Without a file, or a ring to reach it, output is dropped."""
        self.output_due = NEVER
        self.output_failed = config.console.output < 0 or not config.ring.present
        self.input_ended = config.console.input < 0 or not config.ring.present

    def move(self, uart: Uart, config: Config, ring_driver: RingDriver, now: u64) -> None:
        """Move on what can be moved."""
        files = config.console
        ring = config.ring
        self.take_written(uart, ring_driver, now)
        if self.output_failed:
            while uart.output_count > 0:
                uart.output_done(uart.output_length())
            self.output_due = NEVER
        else:
            self.write(uart, files, ring_driver, ring, now)
        self.take_read(uart, ring_driver, now)
        self.read(uart, files, ring_driver, ring, now)

    def next_deadline(self) -> u64:
        """When `move` has something to do though nothing else happens."""
        due = NEVER
        if self.output_due != NEVER:
            due = max(self.output_due, self.output_after)
        return min(due, self.input_after) if self.input_after else due

    def flush(self) -> None:
        """From now on write at once what waits."""
        self.hurry = 1

    def idle(self, uart: Uart, ring_driver: RingDriver) -> bool:
        """Whether all output has been written, or can't be."""
        return self.output_failed != 0 or (
            uart.output_count == 0 and not ring_driver.busy(Owner.CONSOLE_OUTPUT)
        )

    # ---- output ---------------------------------------------------------------------------

    def take_written(self, uart: Uart, ring_driver: RingDriver, now: u64) -> None:
        """Look whether the last write is done, and how far it came."""
        if not ring_driver.take_answer(Owner.CONSOLE_OUTPUT):
            return
        result = ring_driver.result_of(Owner.CONSOLE_OUTPUT)
        if result > 0:
            uart.output_done(min(result, uart.output_count))
        elif result == -Errno.EAGAIN:
            self.output_after = u64(now + RETRY)
        elif result != -Errno.EINTR:
            self.output_failed = 1

    def write(
        self, uart: Uart, files: Console, ring_driver: RingDriver, ring: Ring, now: u64
    ) -> None:
        """Write what waits: a line, much, or what waited long enough."""
        if uart.output_count == 0 or ring_driver.busy(Owner.CONSOLE_OUTPUT):
            self.output_due = NEVER
            return
        if self.output_due == NEVER:
            self.output_due = u64(now + PATIENCE)
        last = uart.output[(uart.output_first + uart.output_count - 1) % OUTPUT_SIZE]
        ready = (
            self.hurry != 0
            or last == END_OF_LINE
            or uart.output_count >= OUTPUT_SIZE // 2
            or now >= self.output_due
        )
        if ready and now >= self.output_after:
            address = u64(address_of(uart.output) + uart.output_first)
            length = uart.output_length()
            if ring_driver.write_stream(
                Owner.CONSOLE_OUTPUT, u32(files.output), address, length, ring
            ):
                self.output_due = NEVER

    # ---- input ----------------------------------------------------------------------------

    def take_read(self, uart: Uart, ring_driver: RingDriver, now: u64) -> None:
        """Look whether the last read has brought something."""
        if not ring_driver.take_answer(Owner.CONSOLE_INPUT):
            return
        result = ring_driver.result_of(Owner.CONSOLE_INPUT)
        if result > 0:
            uart.arrive(u8(result), now)
        elif result == -Errno.EAGAIN:
            self.input_after = u64(now + RETRY)
        elif result != -Errno.EINTR:
            self.input_ended = 1

    def read(
        self, uart: Uart, files: Console, ring_driver: RingDriver, ring: Ring, now: u64
    ) -> None:
        """Ask for more when the guest has read all and waits for it: till then it stays there."""
        if uart.input_count > 0 or self.input_ended or now < self.input_after:
            return
        self.input_after = 0
        if not uart.listens():
            return
        address = address_of(uart.input)
        ring_driver.read_stream(Owner.CONSOLE_INPUT, u32(files.input), address, INPUT_SIZE, ring)
