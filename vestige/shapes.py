"""What the core calls of a model: the shapes that its place says it has (vestige/place.py).

They are for the type checker. The compiler knows each model itself, and calls it directly. Sizes
are in bytes, times in nanoseconds. An offset is from the first of a device's ports, or from its
memory's address; a PCI device says itself which it is, by `port_offset` and `memory_offset`.
"""

from typing import Any, Protocol

from vestige.abi import Answers, Config, Disk, Screen, Statistics
from vestige.lang.memory import Memory
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.block import BlockRequest
from vestige.monitor.devices.virtio.chain import Chain
from vestige.monitor.devices.virtio.device import VirtioDevice
from vestige.monitor.drivers.ring.driver import RingDriver
from vestige.monitor.events import EventStream


class Device(Protocol):
    """Every model."""

    def reset(self) -> None:
        """Power on; the struct is all zeroes before."""

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A register read."""

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A register write."""


class Configured(Protocol):
    """One that the host tells what to be."""

    def configure(self, config: Config) -> None:
        """After `reset`."""


class Timed(Protocol):
    """One to which something happens though nobody asks."""

    def next_deadline(self) -> u64:
        """When to call `expire`; line.NEVER: no need."""

    def expire(self, now: u64) -> None:
        """Time has passed."""


class PciDevice(Protocol):
    """One with functions on the PCI bus, and registers where the guest puts their BARs."""

    def has_function(self, number: u32) -> bool:
        """Whether there is function `number` of those that its place has room for."""

    def read_config(self, number: u32, offset: u32, size: u8) -> u32:
        """A configuration read of 1 to 4 bytes."""

    def write_config(self, number: u32, offset: u32, size: u8, value: u32) -> None:
        """A configuration write of 1 to 4 bytes."""

    def port_offset(self, port: u16) -> u32:
        """The offset of the register at a port; place.NOWHERE: there is none."""

    def memory_offset(self, number: u32, address: u64) -> u32:
        """The same for an address in memory of function `number`."""


class Placed(Protocol):
    """One with a region of abi.REGIONS, which the guest places."""

    def region_address(self) -> u32:
        """Where the guest finds it; 0: nowhere."""


class Windowed(Protocol):
    """One that has abi.WINDOW."""

    # What the guest is to find there: WINDOW_RAM, or another where the machine has regions.
    window: u32


class Gate(Protocol):
    """The one that gates bit 20 of addresses."""

    def a20(self) -> bool:
        """Whether bit 20 counts; else an address has it as 0."""


class Flash(Protocol):
    """A firmware's flash memory."""

    def mapped_address(self) -> u32:
        """Where the guest finds its array; 0: nowhere."""


class WideRegisters(Protocol):
    """One that takes some accesses of more than a byte whole, at ports or in memory."""

    def takes_whole(self, offset: u32, size: u8) -> bool:
        """Whether an access is one to the model; others come to it as bytes."""


class StringRegisters(Protocol):
    """One that takes string instructions whole: others see each of their accesses."""

    def takes_string(self, offset: u32, size: u8) -> bool:
        """Whether a string instruction of `size` bytes, 2 or more, is one access, too."""

    def read_string(self, offset: u32, size: u8, count: u32, address: u64) -> None:
        """A string instruction's `count` reads, into memory at `address`: size more than 1."""

    def write_string(self, offset: u32, size: u8, count: u32, address: u64) -> None:
        """A string instruction's `count` writes, from there."""


class QuietRegisters(Protocol):
    """One of whose accesses many move nothing on, so that nobody need look afterwards."""

    def is_quiet_read(self, offset: u32) -> bool:
        """Whether a read of one byte there changes nothing that anybody acts on, and its guest
        waits for nothing.
        """


class QueuedRegisters(Protocol):
    """One of which some writes make no trap: they are carried out before the next."""

    def is_quiet_write(self, offset: u32, size: u8, value: u64) -> bool:
        """Whether nothing can move because of this write."""


class PinController(Protocol):
    """One that takes the lines of others as pins, and sends messages for them."""

    def take_lines(self, asserted: u32, rose: u32) -> None:
        """The pins that any source asserts; those that one has just asserted."""

    def end_of_interrupt(self, vector: u8) -> None:
        """A local APIC is done with a level interrupt."""

    def take_requests(self) -> u32:
        """The pins whose message is to be sent."""

    def message_address(self, number: u32) -> u32:
        """Where this pin's message is written."""

    def message_data(self, number: u32) -> u32:
        """What this pin's message says."""


class Steering(Protocol):
    """One through which PCI's lines lead to other pins."""

    def steer(self, pins: u32) -> u32:
        """A bit for each line: those of PCI's become the pins that they lead to."""


class ExternalInterrupts(Protocol):
    """One that takes the lines of others as ISA has them, and interrupts the boot CPU."""

    def take_lines(self, asserted: u32, rose: u32) -> None:
        """The IRQs that any source asserts; those that one has just asserted."""

    def intr(self) -> bool:
        """Whether it asks for an interrupt."""

    def waits(self) -> bool:
        """Whether it will, as soon as a command of the guest's, which may be queued, allows it."""

    def acknowledge(self) -> u8:
        """The CPU takes one: its vector."""


class Display(Protocol):
    """One that has the guest's screen."""

    def show_screen(self, screen: Screen) -> None:
        """Say how it looks, as far as that has changed."""


class DiskController(Protocol):
    """One that disks are attached to."""

    def attach_disk(self, config: Config, number: u8) -> None:
        """Disk `number` of the machine is there, its size and names known."""


class Requester(Protocol):
    """A part of a disk controller, with one request at a time."""

    request: BlockRequest


class Requesting(Protocol):
    """A disk controller whose parts have requests."""

    def request_done(self, number: u8) -> None:
        """The request of part `number` is DONE."""


class DmaDevice(Protocol):
    """One that moves data by a channel of the DMA controllers."""

    def dma_length(self) -> u32:
        """The bytes for which it asks, 0: it doesn't."""

    def dma_address(self) -> u64:
        """Where the first of them is, of the model's own."""

    def dma_to_memory(self) -> bool:
        """Whether they are for memory."""

    def dma_moved(self, length: u32, ended: bool) -> None:
        """So many have moved; `ended`: the channel's count ended with the last, TC."""


class DmaController(Protocol):
    """One that has those channels."""

    def ask(self, number: u8, asks: bool) -> None:
        """The device of a channel asks for a transfer, or no longer."""

    def is_open(self, number: u8) -> bool:
        """Whether the channel answers."""

    def transfer(self, number: u8, buffer: u64, length: u32, to_memory: bool) -> u32:
        """Move up to `length` bytes, 1 or more; how many, before the count ended."""

    def take_end(self) -> bool:
        """Whether it has ended then."""


class Ending(Protocol):
    """One by which a guest ends its machine."""

    def ending(self) -> u8:
        """An abi.Power, place.PROCESSORS_RESET or place.GOES_ON."""


class ProcessorReset(Protocol):
    """One of those by which a guest may reset its processors alone."""

    def processors_reset(self) -> None:
        """They have been, if that was asked for; the chip goes on."""


class Resuming(Protocol):
    """One that says where a PC's firmware goes on after a reset of its processors."""

    def resumes(self) -> bool:
        """Whether it goes on with what it did before; else it begins anew."""


class Noticed(Protocol):
    """One that has something told to the user."""

    def take_notice(self) -> bool:
        """Whether to tell it now."""


class EventTaker(Protocol):
    """One that has a keyboard or a mouse."""

    def take_event(self, stream: EventStream, now: u64) -> u8:
        """The next event is offered: an events.Taken."""


class Showing(Protocol):
    """One whose registers the guest may read without the monitor."""

    def show(self, config: Config, answers: Answers) -> None:
        """Bring answers and pages up to date; before any interrupt that tells of it."""


class Posted(Protocol):
    """One to which some writes of the guest come late, as interrupts of the worker."""

    def begin_posts(self) -> None:
        """From now on they do."""

    def expects_posts(self) -> bool:
        """Whether one may have been made that has not arrived."""

    def ends_posts(self, offset: u32) -> bool:
        """Whether a write there must not overtake them. A write to configuration space must not."""

    def post(self, number: u8) -> None:
        """The write that its place lists as number so has arrived."""


class Noting(Protocol):
    """`goes_on`: a model that takes note of a thaw."""

    def go_on(self, config: Config) -> None:
        """The guest goes on behind a freeze, with this Config, and others may, too."""


class Link(Protocol):
    """What is between a model and its files; it never waits."""

    def connect(self, config: Config) -> None:
        """Power on; the struct is all zeroes before. Or go on after a freeze, with other files."""

    def move(self, model: Any, config: Config, ring_driver: RingDriver, now: u64) -> None:
        """Move on what can be moved."""

    def next_deadline(self) -> u64:
        """When to call `move` though nothing else happens; line.NEVER: no need."""

    def flush(self) -> None:
        """From now on write at once what waits."""

    def idle(self, model: Any, ring_driver: RingDriver) -> bool:
        """Whether all that the guest has sent is written, or can't be."""


class VirtioModel(Protocol):
    """A device behind a virtio function."""

    def configure(self, config: Config) -> None:
        """Be what the host says; the struct is all zeroes before. A disk is attached instead."""

    def features(self) -> u64:
        """What of the type's own is offered."""

    def read_config(self, offset: u32) -> u32:
        """32 bits of the device configuration structure."""

    def service(self, device: VirtioDevice, chain: Chain, ram: Memory) -> None:
        """Take what the driver made available."""


class VirtioWritable(Protocol):
    """One whose configuration structure takes writes."""

    def write_config(self, offset: u32, size: u8, value: u32) -> None:
        """A write of 1, 2 or 4 bytes, in one aligned 32-bit word."""


class VirtioEventTaker(Protocol):
    """One that has a pointer."""

    def take_event(
        self, stream: EventStream, device: VirtioDevice, chain: Chain, ram: Memory
    ) -> u8:
        """The next event is offered: an events.Taken."""


class VirtioDisk(Protocol):
    """One with requests to a disk."""

    busy: u32  # a bit for each request under way

    def attach(self, number: u8, disk: Disk, queues: u16, zeroes: u64) -> None:
        """Be drive `number`, which is as `disk` says; `zeroes`: the address of bytes that are 0."""

    def features(self) -> u64:
        """What of the type's own is offered."""

    def request_done(self, device: VirtioDevice, number: u8, ram: Memory) -> None:
        """That request is DONE."""


class VirtioLink(Protocol):
    """What is between the models of a type and their files; it never waits."""

    def connect(self, config: Config) -> None:
        """Power on; the struct is all zeroes before. Or go on after a freeze, with other files."""

    def renew(self, model: Any, config: Config) -> None:
        """Go on after a freeze, which others may do, too, with the same model."""

    def take(
        self,
        model: Any,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        now: u64,
    ) -> bool:
        """Look what the files have answered; whether the device has something to do for it."""

    def move(
        self,
        model: Any,
        device: VirtioDevice,
        config: Config,
        ring_driver: RingDriver,
        statistics: Statistics,
        now: u64,
    ) -> None:
        """Move on what can be moved."""

    def next_deadline(self) -> u64:
        """When to call these though nothing else happens; line.NEVER: no need."""

    def flush(self) -> None:
        """From now on write at once what waits."""

    def idle(self, model: Any, ring_driver: RingDriver) -> bool:
        """Whether all that the guest has sent is written, or can't be."""
