"""A 24-pin I/O APIC that speaks in messages. Intel 82093AA data sheet (290566-001), section 3.

What it sends is not a bus cycle but the number of a pin, in `requests`: the core gives the
host that pin's message and rings its doorbell. An input's polarity changes nothing: a source
says that it asserts its line, and the tables say which way that is.
"""

from vestige.abi import PINS
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.devices.ioapic.spec import (
    ID,
    MESSAGE_ADDRESS,
    MESSAGE_ASSERT,
    MESSAGE_DESTINATION,
    MESSAGE_LEVEL,
    MESSAGE_LOGICAL,
    MESSAGE_REDIRECT,
    RESET_ENTRY,
    VERSION,
    Delivery,
    Entry,
    Index,
    Register,
)
from vestige.monitor.sized import part_of


class Redirection(Struct):
    """One pin's redirection entry."""

    low: u32
    high: u32

    def level_triggered(self) -> bool:
        """Whether remote IRR has a meaning: level mode, and a delivery mode that obeys it."""
        mode = self.low & Entry.DELIVERY_MODE
        return self.low & Entry.LEVEL != 0 and mode <= Delivery.LOWEST_PRIORITY

    def open_for_level(self) -> bool:
        """Whether an asserted line is to be sent as a level interrupt now."""
        return self.level_triggered() and not self.low & (Entry.MASKED | Entry.REMOTE_IRR)


class IoApic(Struct):
    """`read` and `write` are the guest's, the rest is the core's."""

    index: u8
    identity: u32  # as in its register
    pins: Redirection[PINS]
    asserted: u32  # a bit for each pin that any of its sources asserts
    requests: u32  # output: a bit for each pin whose message is to be sent

    def reset(self) -> None:
        """All pins masked."""
        for i in range(PINS):
            self.pins[i].low = RESET_ENTRY

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u32, size: u8, now: u64) -> u32:
        """1, 2 or 4 bytes of one 32-bit register; what is reserved reads 0."""
        return u32(part_of(self.register(offset & ~3), offset & 3, size))

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A write of a whole register; one of less does nothing, 82093AA 3.0."""
        if size < 4:
            return
        match offset:
            case Register.SELECT:
                self.index = u8(value)
            case Register.WINDOW:
                self.write_window(u32(value))
            case Register.EOI:
                self.end_of_interrupt(u8(value))
            case _:
                pass

    def register(self, offset: u32) -> u32:
        """The 32 bits at `offset`."""
        match offset:
            case Register.SELECT:
                return self.index
            case Register.WINDOW:
                return self.read_window()
            case _:
                return 0

    def read_window(self) -> u32:
        """The register IOREGSEL names."""
        index = self.index
        match index:
            case Index.ID | Index.ARBITRATION:
                return self.identity
            case Index.VERSION:
                return VERSION
            case _:
                if Index.REDIRECTION <= index < Index.REDIRECTION + 2 * PINS:
                    pin = self.pins[(index - Index.REDIRECTION) >> 1]
                    return pin.high if index & 1 else pin.low
                return 0

    def write_window(self, value: u32) -> None:
        """Set the register IOREGSEL names."""
        index = self.index
        if index == Index.ID:
            self.identity = value & ID
        if Index.REDIRECTION <= index < Index.REDIRECTION + 2 * PINS:
            number = (index - Index.REDIRECTION) >> 1
            if index & 1:
                self.pins[number].high = value & Entry.DESTINATION
            else:
                self.write_entry(number, value)

    def write_entry(self, number: u32, value: u32) -> None:
        """The low half of an entry. Edge mode forgets remote IRR.

        Linux clears a stuck level interrupt by going through edge mode (__eoi_ioapic_pin).
        """
        pin = self.pins[number]
        pin.low = (value & Entry.LOW_WRITABLE) | (pin.low & Entry.REMOTE_IRR)
        if not pin.level_triggered():
            pin.low &= ~Entry.REMOTE_IRR
        self.service(number)

    # ---- the core -------------------------------------------------------------------------

    def take_lines(self, asserted: u32, rose: u32) -> None:
        """The pins that any of their sources asserts; those that one has just asserted."""
        if rose:
            for i in range(PINS):
                if rose >> i & 1:
                    self.edge(i)
        if asserted != self.asserted:
            self.asserted = asserted
            for i in range(PINS):
                self.service(i)

    def edge(self, number: u32) -> None:
        """A source of this pin has just asserted it. An edge at a masked pin is lost, 3.2.4."""
        pin = self.pins[number]
        if not pin.level_triggered() and not pin.low & Entry.MASKED:
            self.request(number)

    def end_of_interrupt(self, vector: u8) -> None:
        """A local APIC is done with a level interrupt: it is sent again if still asserted."""
        for i in range(PINS):
            pin = self.pins[i]
            if pin.low & Entry.REMOTE_IRR and pin.low & Entry.VECTOR == vector:
                pin.low &= ~Entry.REMOTE_IRR
                self.service(i)

    def message_address(self, number: u32) -> u32:
        """Where this pin's message is written."""
        pin = self.pins[number]
        address = MESSAGE_ADDRESS | (pin.high >> 24) << MESSAGE_DESTINATION
        if pin.low & Entry.LOGICAL:
            address |= MESSAGE_LOGICAL
        if pin.low & Entry.DELIVERY_MODE == Delivery.LOWEST_PRIORITY:
            address |= MESSAGE_REDIRECT
        return address

    def message_data(self, number: u32) -> u32:
        """What this pin's message says. Level mode makes KVM report the EOI."""
        pin = self.pins[number]
        data = pin.low & (Entry.VECTOR | Entry.DELIVERY_MODE)
        if pin.level_triggered():
            data |= MESSAGE_LEVEL | MESSAGE_ASSERT
        return data

    def take_requests(self) -> u32:
        """The pins whose message is to be sent; they are the caller's from now on."""
        requests = self.requests
        self.requests = 0
        return requests

    # ---- inside ---------------------------------------------------------------------------

    def service(self, number: u32) -> None:
        """Send a level interrupt if one is due."""
        pin = self.pins[number]
        if self.asserted & 1 << (number & 31) and pin.open_for_level():
            pin.low |= Entry.REMOTE_IRR
            self.request(number)

    def request(self, number: u32) -> None:
        """Send this pin's message."""
        self.requests |= 1 << (number & 31)
