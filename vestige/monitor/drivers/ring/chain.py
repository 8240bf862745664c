"""Reads of one file, in a chain: each begins when the one before has ended, whoever submitted it.

Reads side by side would wait for the same packet, and which of them has it first nobody can say. Of
a chain one waits, and what comes while the kernel is at it is read by those behind it, in order,
with no KICK in between.
"""

from vestige.lang.types import Struct, i32, u16

CHAIN = 4  # reads at most, and answers


class Chain(Struct):
    """Answers come, and are taken, in the order of the reads. No read begins while one is under way
    or more than CHAIN would be to be answered or taken.
    """

    pending: u16  # reads under way
    answered: u16  # answers not taken
    oldest: u16  # where in `results`, modulo CHAIN, the next one to be taken is
    results: i32[CHAIN]  # bytes, or negative errnos

    def answer(self, result: i32) -> None:
        """The first read under way has ended."""
        self.results[u16(self.oldest + self.answered) % CHAIN] = result
        self.answered += 1
        self.pending -= 1

    def take(self) -> i32:
        """The oldest answer; there must be one."""
        result = self.results[self.oldest % CHAIN]
        self.oldest = u16((self.oldest + 1) % CHAIN)
        self.answered -= 1
        return result
