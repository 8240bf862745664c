"""One controller: reset, enable, identify, its queues; and all of it again when it fails.

NVMe 1.4, section 7.6.1. Nothing here waits: `poll` does what has become possible, and `due`
says when to look again though no interrupt comes. Guards: the machine's lock.
"""

from enum import IntEnum

from vestige.abi import FIRMWARE_SIZE, MODEL_SIZE, SERIAL_SIZE, Nvme, NvmeFailure
from vestige.lang.intrinsics import load32, load64, store32, store64
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import SECTOR_SHIFT
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.drivers.nvme.bus import Bus
from vestige.monitor.drivers.nvme.command_slots import CommandSlots
from vestige.monitor.drivers.nvme.queue import Queue
from vestige.monitor.drivers.nvme.spec import (
    CAP_ENTRIES,
    CAP_NVM_COMMANDS,
    CAP_PAGE_MINIMUM,
    CAP_STRIDE,
    CAP_TIMEOUT,
    GONE,
    IDENTIFIER,
    INTERRUPTS_ENABLED,
    NUMBER_OF_QUEUES,
    PAGE,
    PHYSICALLY_CONTIGUOUS,
    STATUS,
    STATUS_SHIFT,
    TIMEOUT_UNIT,
    WRITE_PROTECTED,
    Admin,
    Command,
    Configuration,
    Identify,
    IdentifyController,
    IdentifyNamespace,
    OptionalCommands,
    Register,
    Status,
)
from vestige.monitor.line import NEVER
from vestige.monitor.sized import ONES

POLL = 1 * MILLISECOND  # between looks at CSTS.RDY, which no interrupt announces
WATCH = 500 * MILLISECOND  # between looks at a controller that owes answers
ADMIN_TIMEOUT = 10_000 * MILLISECOND
RESTARTS = 4  # in a row, without a command done in between, until it is given up

MAX_QUEUES = 8  # of more CPUs than these, some share one
DEPTH = 64  # entries of a queue: a page of commands
ADMIN_DEPTH = 8
MAX_TRANSFER = 2 << 20  # bytes of a command: PRP 1 and one page of a list
MIN_SHIFT, MAX_SHIFT = SECTOR_SHIFT, 12  # log2 of the block sizes: a block fits a bounce page

# The controller's memory, by page: every queue pair is two; then what command_slots.py has.
SCRATCH = 2 * PAGE  # where IDENTIFY's data goes
QUEUES = 4 * PAGE
PLACES = QUEUES + MAX_QUEUES * 2 * PAGE


class State(IntEnum):
    """How far it is."""

    OFF = 0  # there is none
    FAILED = 1  # given up, see `failure`
    DISABLING = 2  # waits for CSTS.RDY to be 0
    ENABLING = 3  # … to be 1
    IDENTIFYING = 4  # these wait for the answer to one admin command
    LISTING = 5
    MEASURING = 6
    COUNTING = 7
    CREATING_COMPLETIONS = 8
    CREATING_SUBMISSIONS = 9
    READY = 10


class Controller(Struct):
    """State of one controller and of its one namespace."""

    state: u8  # State
    failure: u8  # NvmeFailure
    stopped: u8  # commands that were under way are no longer: whose they are must be told
    can_discard: u8
    read_only: u8
    block_shift: u8  # log2 of a block's bytes
    sectors: u8  # 1: a block has to be a sector
    status: u16  # of the admin command that failed
    vectors: u32
    stride: u32  # bytes between two doorbells
    depth: u32  # entries of an I/O queue
    wanted: u32  # I/O queue pairs to ask for
    queue_count: u32  # I/O queue pairs there are
    created: u32  # of them, so far
    max_transfer: u32  # bytes of a command
    namespace: u32
    restarts: u32  # since a command was done
    blocks: u64
    bar: u64
    bar_size: u64
    memory: u64
    bus: Bus
    patience: u64  # ns that RDY may take
    due: u64  # when `poll` has something to look at; NEVER: at an interrupt only
    deadline: u64  # of the state, or of the admin command under way
    asking: u8  # an admin command is under way
    identifier: u16  # its
    serial: u8[SERIAL_SIZE]
    firmware: u8[FIRMWARE_SIZE]
    model: u8[MODEL_SIZE]
    admin: Queue
    queues: Queue[MAX_QUEUES]
    places: CommandSlots

    # ---- life -----------------------------------------------------------------------------

    def start(self, description: Nvme, wanted: u32, now: u64) -> None:
        """Take over a controller, whatever state it is in; `wanted` I/O queue pairs."""
        self.bar = description.bar
        self.bar_size = description.bar_size
        self.memory = description.queues
        self.vectors = description.vectors
        self.sectors = description.sectors
        self.bus.connect(description)
        self.due = NEVER
        capabilities = load64(u64(self.bar + Register.CAP))
        if capabilities == ONES[8]:
            self.fail(NvmeFailure.GONE)
            return
        self.stride = 4 << (capabilities >> CAP_STRIDE & 0xF)
        self.depth = min(DEPTH, (capabilities & CAP_ENTRIES) + 1)
        self.patience = max(capabilities >> CAP_TIMEOUT & 0xFF, 1) * TIMEOUT_UNIT
        self.wanted = min(wanted, MAX_QUEUES)
        while self.wanted > 0 and self.doorbells(u32(self.wanted + 1)) > self.bar_size:
            self.wanted -= 1
        commands = capabilities >> CAP_NVM_COMMANDS & 1
        larger_pages = capabilities >> CAP_PAGE_MINIMUM & 0xF
        if self.wanted == 0 or commands == 0 or larger_pages or self.depth < 2:
            self.fail(NvmeFailure.UNSUPPORTED)
            return
        self.begin(now)

    def begin(self, now: u64) -> None:
        """Reset it. Nothing it was given before is valid from when RDY is 0."""
        configuration = load32(u64(self.bar + Register.CC))
        store32(u64(self.bar + Register.CC), configuration & ~int(Configuration.ENABLE))
        self.state = State.DISABLING
        self.asking = 0
        self.deadline = u64(now + self.patience)
        self.due = now

    def enable(self, now: u64) -> None:
        """RDY is 0: give it the admin queues, and let it go."""
        self.stopped = 1
        self.admin.reset(self.memory, u64(self.bar + Register.DOORBELLS), self.stride, ADMIN_DEPTH)
        store32(u64(self.bar + Register.AQA), ADMIN_DEPTH - 1 << 16 | ADMIN_DEPTH - 1)
        store64(u64(self.bar + Register.ASQ), self.bus.address(self.admin.commands))
        store64(u64(self.bar + Register.ACQ), self.bus.address(self.admin.completions))
        store32(u64(self.bar + Register.CC), Configuration.ENABLE | Configuration.ENTRY_SIZES)
        self.state = State.ENABLING
        self.deadline = u64(now + self.patience)
        self.due = now

    def restart(self, failure: u8, now: u64) -> None:
        """It doesn't answer, or says that it can't: all from the beginning, a few times."""
        self.restarts += 1
        if self.restarts > RESTARTS:
            self.fail(failure)
        else:
            self.begin(now)

    def fail(self, failure: u8) -> None:
        """Give it up, and, if it is there at all, ask it not to touch memory any more."""
        if failure != NvmeFailure.GONE:
            store32(u64(self.bar + Register.CC), 0)
        self.state = State.FAILED
        self.failure = failure
        self.asking = 0
        self.stopped = 1
        self.due = NEVER

    def settled(self) -> bool:
        """Whether it is up, or never will be."""
        return self.state in (State.OFF, State.FAILED, State.READY)

    # ---- what has become possible ---------------------------------------------------------

    def poll(self, now: u64) -> None:
        """Go on with whatever it is at, if it can."""
        match self.state:
            case State.OFF | State.FAILED:
                pass
            case State.DISABLING | State.ENABLING:
                if now >= self.due:
                    self.look_at_ready(now)
            case _:
                self.poll_admin(now)
                if now >= self.due and self.state != State.FAILED:
                    self.watch(now)

    def look_at_ready(self, now: u64) -> None:
        """CSTS, while RDY is being waited for; a reset also ends a fatal status."""
        status = load32(u64(self.bar + Register.CSTS))
        ready = status & Status.READY != 0
        disabling = self.state == State.DISABLING
        if status == GONE:
            self.fail(NvmeFailure.GONE)
        elif disabling and status & (Status.READY | Status.FATAL) == 0:
            self.enable(now)
        elif not disabling and status & Status.FATAL:
            self.restart(NvmeFailure.FATAL, now)
        elif not disabling and ready:
            self.due = NEVER
            self.identify(Identify.CONTROLLER, 0, State.IDENTIFYING, now)
        elif now >= self.deadline:
            self.fail(NvmeFailure.NOT_READY)
        else:
            self.due = u64(now + POLL)

    def watch(self, now: u64) -> None:
        """Is it still there, and does it work? Looked at now and then while it owes answers."""
        status = load32(u64(self.bar + Register.CSTS))
        if status == GONE:
            self.fail(NvmeFailure.GONE)
        elif status & Status.FATAL:
            self.restart(NvmeFailure.FATAL, now)
        elif self.asking and now >= self.deadline:
            self.restart(NvmeFailure.HUNG, now)
        elif self.asking or self.places.busy:
            self.due = u64(now + WATCH)
        else:
            self.due = NEVER

    def expect_answer(self, now: u64) -> None:
        """It has been given a command: see to it that it is watched."""
        self.due = min(self.due, u64(now + WATCH))

    # ---- admin commands -------------------------------------------------------------------

    def ask(self, opcode: u8, now: u64) -> Command:
        """The next admin command, to be filled in; there is one under way at most."""
        self.identifier += 1
        self.asking = 1
        self.deadline = u64(now + ADMIN_TIMEOUT)
        self.expect_answer(now)
        return self.admin.next_command(opcode, self.identifier)

    def identify(self, structure: u8, namespace: u32, state: u8, now: u64) -> None:
        """IDENTIFY, into SCRATCH."""
        command = self.ask(Admin.IDENTIFY, now)
        command.namespace = namespace
        command.prp1 = self.bus.address(u64(self.memory + SCRATCH))
        command.cdw10 = structure
        self.state = state
        self.admin.ring()

    def count_queues(self, now: u64) -> None:
        """SET FEATURES, number of queues: how many pairs it will give."""
        command = self.ask(Admin.SET_FEATURES, now)
        number = u32(self.wanted - 1)
        command.cdw10 = NUMBER_OF_QUEUES
        command.cdw11 = number << 16 | number
        self.state = State.COUNTING
        self.admin.ring()

    def create_completions(self, now: u64) -> None:
        """The completion queue of the next pair, with an interrupt vector of its own if any."""
        queue = self.queues[self.created]
        memory = u64(self.memory + QUEUES + 2 * PAGE * self.created)
        number = u32(self.created + 1)
        doorbells = u64(self.bar + self.doorbells(number))
        queue.reset(memory, doorbells, self.stride, self.depth)
        command = self.ask(Admin.CREATE_COMPLETION_QUEUE, now)
        command.prp1 = self.bus.address(queue.completions)
        command.cdw10 = u32(self.depth - 1) << 16 | number
        vector = number % max(self.vectors, 1)
        command.cdw11 = vector << 16 | INTERRUPTS_ENABLED | PHYSICALLY_CONTIGUOUS
        self.state = State.CREATING_COMPLETIONS
        self.admin.ring()

    def create_submissions(self, now: u64) -> None:
        """The submission queue that goes with it."""
        number = u32(self.created + 1)
        command = self.ask(Admin.CREATE_SUBMISSION_QUEUE, now)
        command.prp1 = self.bus.address(self.queues[self.created].commands)
        command.cdw10 = u32(self.depth - 1) << 16 | number
        command.cdw11 = number << 16 | PHYSICALLY_CONTIGUOUS
        self.state = State.CREATING_SUBMISSIONS
        self.admin.ring()

    def abort(self, queue: u32, identifier: u16, now: u64) -> bool:
        """ABORT a command of I/O queue `queue` (from 0); False: not now."""
        if self.asking:
            return False
        command = self.ask(Admin.ABORT, now)
        command.cdw10 = identifier << 16 | u16(queue + 1)
        self.admin.ring()
        return True

    def poll_admin(self, now: u64) -> None:
        """Take the admin queue's completions."""
        for _ in range(ADMIN_DEPTH):
            word = self.admin.last_word()
            if not self.admin.is_new(word):
                return
            result = self.admin.result()
            self.admin.consume()
            self.admin.acknowledge()
            if self.asking and word & IDENTIFIER == self.identifier:
                self.asking = 0
                self.answered(word >> STATUS_SHIFT & STATUS, result, now)
                if self.state == State.FAILED:
                    return

    def answered(self, status: u16, result: u32, now: u64) -> None:
        """The admin command is done: on to the next step."""
        if self.state == State.READY:
            return  # an ABORT: the command itself, or its deadline, tells what came of it
        if status != 0:
            self.status = status
            self.fail(NvmeFailure.COMMAND)
            return
        match self.state:
            case State.IDENTIFYING:
                self.take_controller(IdentifyController.at(u64(self.memory + SCRATCH)))
                self.identify(Identify.ACTIVE_NAMESPACES, 0, State.LISTING, now)
            case State.LISTING:
                self.take_list(load32(u64(self.memory + SCRATCH)), now)
            case State.MEASURING:
                self.take_namespace(IdentifyNamespace.at(u64(self.memory + SCRATCH)), now)
            case State.COUNTING:
                given = min(result & 0xFFFF, result >> 16) + 1
                self.queue_count = min(given, self.wanted)
                self.created = 0
                self.create_completions(now)
            case State.CREATING_COMPLETIONS:
                self.create_submissions(now)
            case _:
                self.created += 1
                if self.created < self.queue_count:
                    self.create_completions(now)
                else:
                    self.state = State.READY

    # ---- what it says about itself --------------------------------------------------------

    def take_controller(self, data: IdentifyController) -> None:
        """Names and limits."""
        for i in range(SERIAL_SIZE):
            self.serial[i] = data.serial[i]
        for i in range(FIRMWARE_SIZE):
            self.firmware[i] = data.firmware[i]
        for i in range(MODEL_SIZE):
            self.model[i] = data.model[i]
        self.max_transfer = MAX_TRANSFER
        exponent = data.maximum_transfer
        if 0 < exponent < 9:
            self.max_transfer = PAGE << exponent
        self.can_discard = data.optional_commands & OptionalCommands.DATASET_MANAGEMENT != 0

    def take_list(self, first: u32, now: u64) -> None:
        """The first active namespace is the drive."""
        if first == 0:
            self.fail(NvmeFailure.NO_NAMESPACE)
        else:
            self.namespace = first
            self.identify(Identify.NAMESPACE, first, State.MEASURING, now)

    def take_namespace(self, data: IdentifyNamespace, now: u64) -> None:
        """Size and format; after a restart they must be what they were."""
        layout = data.formats[data.format & 0xF]
        shift = layout >> 16 & 0xFF
        metadata = layout & 0xFFFF
        blocks = data.size
        if metadata or not MIN_SHIFT <= shift <= MAX_SHIFT or blocks == 0:
            self.fail(NvmeFailure.FORMAT)
        elif self.sectors and shift != SECTOR_SHIFT:
            self.fail(NvmeFailure.BLOCKS)
        elif self.blocks and (self.blocks != blocks or self.block_shift != shift):
            self.fail(NvmeFailure.CHANGED)
        else:
            self.blocks = blocks
            self.block_shift = shift
            self.read_only = data.attributes & WRITE_PROTECTED != 0
            self.count_queues(now)

    def doorbells(self, number: u32) -> u64:
        """Offset in BAR 0 of the doorbells of queue pair `number`, 0 being the admin queues'."""
        return u64(Register.DOORBELLS + 2 * number * self.stride)
