"""The console device: ports that a driver writes to and reads from, and talk about them.

Virtio 1.2, 5.3. What a port sent waits in its `output` for the core to write it, what came for
it waits in `input` for the driver to give a buffer: a file on the other side that takes or gives
nothing for hours holds none of the driver's buffers under way, and no reset up.
"""

from vestige import abi
from vestige.abi import MAX_PORTS
from vestige.lang.intrinsics import address_of
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.devices.virtio_console.port import VirtioPort, receive_queue
from vestige.monitor.devices.virtio_console.spec import (
    CONTROL_SIZE,
    MESSAGE_SIZE,
    Config,
    Due,
    Event,
    Feature,
    Queue,
)


class VirtioConsole(Struct):
    """Ports by number; port 0 is the guest's console where there is one, others have names."""

    ports: VirtioPort[MAX_PORTS]
    count: u32  # 1 + the highest number
    columns: u16  # of the terminal; 0: nobody knows
    rows: u16
    message: u8[MESSAGE_SIZE]  # the control message being sent

    # ---- set-up ---------------------------------------------------------------------------

    def configure(self, config: abi.Config) -> None:
        """Be what the host says, the state being zero."""
        self.columns = config.columns
        self.rows = config.rows
        for number in range(MAX_PORTS):
            if config.ports[number].present:
                self.ports[number].attach(config.ports[number])
                self.count = number + 1

    def features(self) -> u64:
        """What of the console's own is offered."""
        return 1 << Feature.MULTIPORT | (1 << Feature.SIZE if self.columns else 0)

    def read_config(self, offset: u32) -> u32:
        """The 32 bits at `offset`, a multiple of 4. 5.3.4."""
        match offset:
            case Config.COLUMNS:  # ROWS is the upper half
                return self.columns | self.rows << 16
            case Config.MAX_PORTS:
                return self.count
            case _:
                return 0

    def resize(self, device: VirtioDevice, columns: u16, rows: u16) -> None:
        """The terminal has another size: told by the registers, and to a driver that heeds messages
        by one. 5.3.4, 5.3.6.2.
        """
        self.columns = columns
        self.rows = rows
        device.config_changed()
        if self.ports[0].ready and device.has(Feature.SIZE):
            self.ports[0].due |= Due.SIZE

    # ---- after every event ------------------------------------------------------------------

    def service(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Take what the driver made available: messages and output, and room for input."""
        several = device.has(Feature.MULTIPORT)
        if device.take_reset():
            for number in range(MAX_PORTS):
                self.ports[number].forget()
        if several:
            self.listen(device, chain, ram)
        for number in range(MAX_PORTS):
            port = self.ports[number]
            if port.present and (several or number == 0):
                queue = receive_queue(number)
                if not several:
                    port.open = device.running()
                port.transmit(device, u16(queue + 1), ram)
                if port.open:
                    port.receive(device, queue, chain, ram)
        if several:
            self.tell(device, chain, ram)

    # ---- control messages -------------------------------------------------------------------

    def listen(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """What the driver says. What is too short, or of no port, or means nothing is ignored."""
        while device.take(Queue.CONTROL_TRANSMIT, chain, ram):
            number = chain.read32(0, ram)
            word = chain.read32(4, ram)
            if chain.readable >= CONTROL_SIZE:
                self.heed(device, number, word & 0xFFFF, word >> 16 != 0)
            device.give(Queue.CONTROL_TRANSMIT, chain.identifier, chain.slots, 0, ram)

    def heed(self, device: VirtioDevice, number: u32, event: u16, yes: bool) -> None:
        """One message of the driver's. 5.3.6.2."""
        if event == Event.DEVICE_READY:
            if yes:
                for i in range(MAX_PORTS):
                    if self.ports[i].present:
                        self.ports[i].due |= Due.ADD
        elif number < MAX_PORTS and self.ports[number].present:
            port = self.ports[number]
            if event == Event.PORT_READY:
                port.open = 0
                port.ready = yes
                if yes:
                    port.due |= Due.OPEN
                    if port.name_length:
                        port.due |= Due.NAME
                    if number == 0:
                        port.due |= Due.CONSOLE
                        port.due |= Due.SIZE if device.has(Feature.SIZE) else 0
            elif event == Event.PORT_OPEN:
                port.open = yes

    def tell(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Send what is due, a message in each buffer the driver gave for it."""
        for number in range(MAX_PORTS):
            port = self.ports[number]
            while port.due and device.take(Queue.CONTROL_RECEIVE, chain, ram):
                length = self.compose(number, port)
                if length <= chain.writable:
                    chain.fill(0, address_of(self.message), length, ram)
                else:
                    device.fail()
                    length = u32(0)
                device.give(Queue.CONTROL_RECEIVE, chain.identifier, chain.slots, length, ram)

    def compose(self, number: u8, port: VirtioPort) -> u32:
        """The first message that is due, which it then is no more; its length."""
        due = port.due
        port.due = due & u8(due - 1)
        if due & Due.ADD:
            return self.put(number, Event.DEVICE_ADD, 1)
        if due & Due.NAME:
            length = min(port.name_length, len(port.name))
            for i in range(length):
                self.message[CONTROL_SIZE + i] = port.name[i]
            return u32(self.put(number, Event.PORT_NAME, 1) + length)
        if due & Due.CONSOLE:
            return self.put(number, Event.CONSOLE_PORT, 1)
        if due & Due.OPEN:
            return self.put(number, Event.PORT_OPEN, 1)
        self.message[8] = self.columns & 0xFF
        self.message[9] = self.columns >> 8
        self.message[10] = self.rows & 0xFF
        self.message[11] = self.rows >> 8
        return u32(self.put(number, Event.RESIZE, 0) + 4)

    def put(self, number: u8, event: Event, value: u8) -> u32:
        """A message's first part; its length."""
        self.message[0] = number
        self.message[4] = event
        self.message[6] = value
        return CONTROL_SIZE
