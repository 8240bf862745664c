"""Where a device is in the machine: a record of what it claims and of what a guest is told of it.

Each device has one, in `monitor/devices/NAME/place.py`, and `vestige/devices.py` lists them. The
core loops over that list, which the compiler unrolls: what a device does not claim costs nothing.
Its ACPI node and its option follow from the same record. The shapes that models have by what their
places say are in `vestige/shapes.py`.
"""

from _collections_abc import Callable, Collection

from vestige.abi import WINDOW, Board, Bus, Config
from vestige.lang.enumeration import IntEnum
from vestige.lang.records import Record
from vestige.lang.types import u8, u16, u32, u64

FUNCTION_SHIFT = 3  # of a device number, above a function's
ROW_SHIFT = 24  # of a row, above an offset: a device has 16 MiB of registers at most
# Rows of what is no device's.
CONFIG_PORTS = 253  # PCI's mechanism 1
CONFIG_MEMORY = 254  # PCI's ECAM
NOBODY = 255
NOWHERE = 0xFFFF_FFFF  # the offset of what a device does not claim, the number of no function
# Names in ACPI that are the machine's own (machine/acpi); its CPUs are C000 and so on.
OWN_NODES = ("PCI0", "MBRD", "LNKA", "LNKB", "LNKC", "LNKD")
# What becomes of the machine, as no abi.Power.
GOES_ON = 255
PROCESSORS_RESET = 254  # they alone, if its firmware goes on where they were; else it is reset


class Ports(Record):
    """Ports of byte-wide registers: a wider access is one byte after the other.

    `offset` is that of the first to the model; None: as far from it as from the place's first port.
    """

    first: u16
    count: u16
    offset: int | None = None

    @property
    def end(self) -> int:
        """The port after the last."""
        return self.first + self.count


class Access(IntEnum):
    """What an access to memory is when it comes to the model."""

    NATURAL = 0  # 1, 2 or 4 bytes of one aligned 32-bit register; others are taken apart to bytes
    WHOLE = 1  # 1 to 8 bytes, as the guest made it
    TAKEN = 2  # as the model's takes_whole says; others are taken apart to bytes


class MemoryRange(Record):
    """A range of guest-physical addresses outside RAM, or abi.WINDOW."""

    address: u64
    size: u64
    access: u8 = Access.NATURAL
    offset: u32 = 0  # of the first byte to the model, where that has ports, too

    @property
    def base(self) -> int:
        """The address at which the model's offset 0 would be."""
        return self.address - self.offset

    @property
    def is_window(self) -> bool:
        """Whether the guest has RAM there, unless the model says otherwise."""
        return self.address == WINDOW

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + self.size


class Space(IntEnum):
    """What a BAR claims."""

    MEMORY = 0
    PORTS = 1


class Bar(Record):
    """A base address register, and where it is at power-on: of each further function `size` on."""

    number: u8  # 0 to 5
    address: u64  # or first port
    size: u32
    space: u8 = Space.MEMORY
    board: Board | None = None  # where it is, if not everywhere
    region: int | None = None  # of abi.REGIONS, which is there: no access comes to the model

    @property
    def end(self) -> int:
        """The address, or port, after the last of the first function."""
        return self.address + self.size


class Function(Record):
    """A function on PCI bus 0."""

    slot: u8
    number: u8

    @property
    def index(self) -> int:
        """Its place among all, as CONFIG_ADDRESS has it."""
        return self.slot << FUNCTION_SHIFT | self.number


class Pci(Record):
    """Functions on PCI bus 0: function 0 of the device at `slot` and of those that follow.

    Those may be different devices to the guest. `spread`: each may live in another domain.
    `on_pc`: where the first one is on a PC's bus, if it is elsewhere there. `moves_ports`: it has
    ports that no BAR places, and says itself where they are.
    """

    slot: u8
    count: u8 = 1
    bars: tuple[Bar, ...] = ()
    access: u8 = Access.NATURAL  # to its memory
    spread: bool = False
    on_pc: Function | None = None
    moves_ports: bool = False

    def first(self, board: Board) -> Function:
        """Where the first one is."""
        if board == Board.PC and self.on_pc is not None:
            return self.on_pc
        return Function(self.slot, 0)

    @property
    def has_ports(self) -> bool:
        """Whether the guest places ports of its."""
        return self.moves_ports or any(bar.space == Space.PORTS for bar in self.bars)

    @property
    def has_memory(self) -> bool:
        """Whether there is a BAR of memory in which the model has registers."""
        return any(bar.space == Space.MEMORY and bar.region is None for bar in self.bars)

    @property
    def region(self) -> int | None:
        """The region that the guest places, if there is one."""
        return next((bar.region for bar in self.bars if bar.region is not None), None)


class Wire(Record):
    """One of the model's lines, and where it leads."""

    line: str  # the Line's field
    pin: u8  # of the I/O APIC


class Routed(Record):
    """An array of parts, each with a `line` that leads to the pin its `route()` says."""

    parts: str  # the array's field
    count: u8
    pins: tuple[int, ...]  # to which it may say
    within: str = ""  # the part's field that has the line, if it isn't the part


class Requests(Record):
    """An array of parts, each with a `request` to a disk."""

    parts: str  # the array's field
    count: u8
    first: u8  # the number of the first part's request: block.REQUESTS


class Post(Record):
    """A write of the guest that becomes an interrupt of the worker, and no exit."""

    address: u64
    value: u8


class Option(Record):
    """The option of `vestige run` that gives the guest the device."""

    name: str  # as it is typed
    help: str


class Node(Record):
    """The device in ACPI's namespace; what its place claims is its _CRS.

    Of its lines those that are named, or all; of its registers all, or none. `also`: its _CIDs;
    `has_address`: an ADDR that says where its memory is; `notifies`: an edge of its lines is told
    to the device of that name (a generic event device, ACPI 6.5, 5.6.9).
    """

    name: str
    hid: str  # PNP0501, as EISA has it, or QEMU0001, as ACPI has it
    lines: tuple[str, ...] | None = None
    has_registers: bool = True
    also: tuple[str, ...] = ()
    has_address: bool = False
    notifies: str = ""

    def claims(self, line: str) -> bool:
        """Whether a line is this node's."""
        return self.lines is None or line in self.lines


class Table(Record):
    """An ACPI table of the device's own, without its header."""

    signature: bytes
    revision: u8
    body: bytes


def always(config: Config) -> bool:
    """What every machine has, or every one whose user asks for it."""
    return True


class Place(Record):
    """One device. The first of its ports, or its memory's address, is offset 0 to its model.

    It is there if its `option` is given; without one, if `present` says so; and on its `board`
    alone, if it has one: `is_present`.
    """

    field: str  # of core.machine.Machine
    page: str  # docs/devices/PAGE.md
    ports: tuple[Ports, ...] = ()
    memory: MemoryRange | None = None
    pci: Pci | None = None
    wires: tuple[Wire, ...] = ()
    routed: tuple[Routed, ...] = ()
    timed: bool = False
    present: Callable[[Config], bool] = always
    board: Board | None = None
    option: Option | None = None
    node: Node | None = None
    other_node: Node | None = None  # where ACPI sees two devices
    table: Table | None = None
    fixed_hardware: bool = False  # guests look for it only where ACPI has its fixed hardware
    configured: bool = False
    goes_on: bool = False  # it takes note of a thaw
    wide: bool = False  # it says which accesses of more than a byte it takes
    strings: bool = False  # it takes some string instructions whole
    quiet: bool = False  # it knows of reads that move nothing
    queued: bool = (
        False  # some of its writes are among abi's COALESCED_*; and it knows which move nothing
    )
    controls_pins: bool = False  # wires lead to it
    injects: bool = False  # it interrupts the boot CPU by itself, as external interrupts
    flash: bool = False  # it is a firmware's flash memory: the model says when the guest finds it
    displays: bool = False  # it has a screen
    steers: bool = False  # PCI's lines lead through it
    ends: bool = False  # the guest ends its machine by it
    resets_processors: bool = False  # that may be by a reset of the processors alone
    resumes: bool = False  # it says whether firmware goes on after that
    gates: bool = False  # it gates bit 20 of addresses
    takes_events: bool = False  # of what is done at a keyboard or a mouse
    notice: bytes = b""  # that it may have told to the user
    link: str = ""  # what is between it and its files: the field of Machine
    disks: Bus | None = None  # of which bus they are attached to it
    requests: Requests | None = None
    dma: int | None = None  # by which channel it asks for transfers: 0 to 3
    carries: bool = False  # it has those channels
    posts: tuple[Post, ...] = ()
    posting: Callable[[Config], bool] = always  # whether those are used
    shows: bool = False  # registers, to a guest that reads them without the monitor; one device
    in_use: str = ""  # a field of its: how many of its `routed` parts are there, or 0

    @property
    def nodes(self) -> list[Node]:
        """Those that there are."""
        return [node for node in (self.node, self.other_node) if node is not None]

    @property
    def has_registers(self) -> bool:
        """Whether accesses come to its model by offset."""
        if self.pci is not None and (self.pci.has_ports or self.pci.has_memory):
            return True
        return bool(self.ports or self.memory)

    @property
    def byte_wide(self) -> bool:
        """Whether all registers are of a byte, at ports."""
        return bool(self.ports) and self.memory is None and not self.wide

    @property
    def memory_access(self) -> int:
        """How accesses to its memory come to its model."""
        if self.memory is not None:
            return self.memory.access
        return Access.NATURAL if self.pci is None else self.pci.access


def is_present(place: Place, row: u8, config: Config) -> bool:
    """Whether the machine has the device; `row` is its number in `vestige/devices.py`."""
    if place.board is not None and config.board != place.board:
        return False
    if place.option is not None:
        return config.options >> row & 1 != 0
    return place.present(config)


def standard(places: tuple[Place, ...], board: Board) -> frozenset[str]:
    """The fields of those devices that each machine of a kind may have, without any option."""
    return frozenset(
        place.field for place in places if place.option is None and place.board in (None, board)
    )


def options_for(places: tuple[Place, ...], fields: Collection[str]) -> int:
    """Config.options where the user asks for the devices of these fields."""
    return sum(
        1 << row
        for row, place in enumerate(places)
        if place.option is not None and place.field in fields
    )


class VirtioType(Record):
    """One type of device behind virtio functions: its models are an array in the virtio device."""

    kind: u8  # abi.VirtioKind
    field: str  # of devices.virtio.devices.Virtio
    page: str  # docs/devices/PAGE.md
    count: u8
    class_code: u16  # of the PCI function
    requests: Requests | None = None  # a disk's
    writes: bool = False  # its configuration structure takes them
    takes_events: bool = False  # of what is done at a pointer
    link: str = ""  # what is between the models and their files: the field of Machine
