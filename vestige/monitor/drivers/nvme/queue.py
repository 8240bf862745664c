"""A pair of queues: commands go out, completions come back. NVMe 1.4, section 4.

Who calls these holds the machine's lock; the other party is the controller. There are never
more commands under way than the pair has entries less one, so neither queue can overflow.
"""

from vestige.lang.intrinsics import fill, load32, load_acquire32, store_release32
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.drivers.nvme.spec import (
    COMMAND_SIZE,
    COMPLETION_SIZE,
    LAST_WORD,
    PAGE,
    PHASE,
    Command,
)


class Queue(Struct):
    """Our side of one pair. Both queues are one page, at `commands` and after it."""

    commands: u64  # address of the submission queue
    completions: u64
    tail_doorbell: u64
    head_doorbell: u64
    depth: u32  # entries of each
    tail: u32
    rung: u32  # the tail that the controller knows
    head: u32  # of completions
    phase: u8  # what a new completion's phase tag is

    def reset(self, memory: u64, doorbells: u64, stride: u32, depth: u32) -> None:
        """An empty pair in two pages at `memory`, whose tail doorbell is at `doorbells`."""
        fill(memory, 0, 2 * PAGE)
        self.commands = memory
        self.completions = u64(memory + PAGE)
        self.tail_doorbell = doorbells
        self.head_doorbell = u64(doorbells + stride)
        self.depth = depth
        self.tail = 0
        self.rung = 0
        self.head = 0
        self.phase = 1

    def next_command(self, opcode: u8, identifier: u16) -> Command:
        """The next free entry, zeroed but for these; the controller sees it at `ring`."""
        place = u64(self.commands + COMMAND_SIZE * self.tail)
        fill(place, 0, COMMAND_SIZE)
        self.tail = following(self.tail, self.depth)
        command = Command.at(place)
        command.opcode = opcode
        command.identifier = identifier
        return command

    def ring(self) -> None:
        """Let the controller see the commands filled in: a store to its doorbell."""
        if self.rung != self.tail:
            self.rung = self.tail
            store_release32(self.tail_doorbell, self.tail)

    def last_word(self) -> u32:
        """DW3 of the oldest completion, if there is one: else its phase tag is the old one.

        The controller writes an entry's phase tag last, so the rest is there when it is.
        """
        return load_acquire32(u64(self.completions + COMPLETION_SIZE * self.head + LAST_WORD))

    def is_new(self, last_word: u32) -> bool:
        """Whether what `last_word` gave is a completion not yet consumed."""
        return (last_word & PHASE != 0) == (self.phase != 0)

    def result(self) -> u32:
        """DW0 of the oldest completion."""
        return load32(u64(self.completions + COMPLETION_SIZE * self.head))

    def consume(self) -> None:
        """The oldest completion has been read; the controller knows at `acknowledge`."""
        self.head = following(self.head, self.depth)
        if self.head == 0:
            self.phase ^= 1

    def acknowledge(self) -> None:
        """Give the controller the places of the consumed completions."""
        store_release32(self.head_doorbell, self.head)


def following(index: u32, depth: u32) -> u32:
    """The index after `index`, modulo `depth`."""
    following = u32(index + 1)
    return 0 if following >= depth else following
