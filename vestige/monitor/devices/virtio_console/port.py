"""One port of the console: bytes out, bytes in. Virtio 1.2, 5.3.6."""

from vestige.abi import PORT_NAME_SIZE, Port
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice

OUTPUT_SIZE = 4096
INPUT_SIZE = 1024


class VirtioPort(Struct):
    """`output` is a ring of bytes sent and not written; `input` came and is not received."""

    present: u8
    open: u8  # a program of the guest's has it: input may come
    due: u8  # Due: messages to be sent
    ready: u8  # the driver knows of it and wants to hear of it
    deaf: u8  # nobody is on the other side any more: output is dropped
    name: u8[PORT_NAME_SIZE]
    name_length: u8
    output: u8[OUTPUT_SIZE]
    output_first: u32
    output_count: u32
    input: u8[INPUT_SIZE]
    input_first: u32
    input_count: u32
    held: Chain  # a buffer of which not all has found room in `output`
    holding: u8
    position: u64  # how much of it has

    def attach(self, port: Port) -> None:
        """Power on: its state is zero."""
        self.present = 1
        self.name = port.name
        self.name_length = port.name_length

    def forget(self) -> None:
        """The driver has reset the device. What it sent before is sent, what came waits on."""
        self.open = 0
        self.ready = 0
        self.due = 0

    # ---- the driver's side ------------------------------------------------------------------

    def transmit(self, device: VirtioDevice, queue: u16, ram: Memory) -> None:
        """Take output, as much as there is room for."""
        while self.holding or device.take(queue, self.held, ram):
            held = self.held
            if not self.holding:
                self.holding = 1
                self.position = 0
            if device.lost(queue):
                self.position = held.readable
            elif not device.running():
                return
            else:
                self.collect(ram)
            if self.position < held.readable:
                return
            self.holding = 0
            device.give(queue, held.identifier, held.slots, 0, ram)

    def collect(self, ram: Memory) -> None:
        """From the buffer held to the ring of output."""
        if self.deaf:
            self.position = self.held.readable
        room = u32(OUTPUT_SIZE - self.output_count)
        while room > 0 and self.position < self.held.readable:
            place = u32(self.output_first + self.output_count) % OUTPUT_SIZE
            size = min(room, OUTPUT_SIZE - place)
            target = u64(address_of(self.output) + place)
            size = self.held.drain(self.position, target, size, ram)
            self.position += size
            self.output_count += size
            room = u32(OUTPUT_SIZE - self.output_count)

    def receive(self, device: VirtioDevice, queue: u16, chain: Chain, ram: Memory) -> None:
        """Give input away, as far as there are buffers. One without room for a byte is wrong."""
        while self.input_count > 0 and device.take(queue, chain, ram):
            source = u64(address_of(self.input) + self.input_first)
            size = chain.fill(0, source, self.input_count, ram)
            if size == 0:
                device.fail()
            self.input_first += size
            self.input_count -= size
            device.give(queue, chain.identifier, chain.slots, size, ram)

    # ---- the other side ---------------------------------------------------------------------

    def output_length(self) -> u32:
        """How many bytes of output lie in one piece from `output_first` on."""
        return min(self.output_count, u32(OUTPUT_SIZE - self.output_first))

    def output_done(self, count: u32) -> None:
        """So many bytes are written."""
        self.output_first = u32(self.output_first + count) % OUTPUT_SIZE
        self.output_count -= count

    def hang_up(self) -> None:
        """Nobody takes output any more."""
        self.deaf = 1
        self.output_count = 0

    def input_done(self, count: u32) -> None:
        """So many bytes have come; all before them are received."""
        self.input_first = 0
        self.input_count = min(count, INPUT_SIZE)


def receive_queue(port: u8) -> u16:
    """The queue of a port's input; that of its output follows. 5.3.2."""
    return u16(2 * port + 2) if port else 0
