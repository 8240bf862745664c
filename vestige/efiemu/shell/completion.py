"""The NVMe controller's interrupts: NMIs, which come to the shell before the guest's.

Each lets the monitor take the controller's answers in, and raises the guest's IRQ if the IDE does.
An answer that another exit was faster to take in is owed an NMI, which then finds none. Any other
one that finds none is the guest's own.
"""

from vestige.abi import Shared
from vestige.efiemu.shell import block
from vestige.efiemu.shell.accesses import settle
from vestige.efiemu.shell.controller import send_nmis
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import let_interrupts_in, timestamp
from vestige.lang.types import u64

LATE = 100  # ms that an interrupt may come behind its answer
# However many answers were found together, one NMI is kept by the processor, which has no room for
# more, and one may be on its way to it.
MOST_OWED = 2


def begin_interrupts(shell: Shell) -> None:
    """The guest will run. One comes at once, for what the monitor has asked at its power-on."""
    new_answers(shell)
    owe(shell, 1)
    send_nmis(shell)


def answer_nmi(shell: Shell) -> None:
    """One has ended the guest's run."""
    let_interrupts_in()
    look(shell)


def take_pending(shell: Shell) -> None:
    """After each exit: what it has taken in, and NMIs that came while the monitor ran.

    The monitor may have looked before the answer was there.
    """
    owe(shell, new_answers(shell))
    while shell.pending and not shell.failed:
        shell.pending = 0
        look(shell)


def look(shell: Shell) -> None:
    """Find what an NMI has come for. The controller's all come to the first processor."""
    if shell.number == 0:
        settle(shell)
        answers = new_answers(shell)
        if answers > 0:
            owe(shell, u64(answers - 1))
            return
        if pay(shell):
            return
    shell.events.raise_nmi()


def new_answers(shell: Shell) -> u64:
    """How many the monitor has taken since the last time."""
    report = Shared.at(u64(shell.block + block.MONITOR_SHARED)).statistics.nvme[0]
    done = u64(report.reads + report.writes + report.flushes + report.discards)
    answers = u64(done + report.errors)
    new = u64(answers - shell.answers)
    shell.answers = answers
    return new


def owe(shell: Shell, count: u64) -> None:
    """So many NMIs may still come for answers that are taken."""
    if count > 0:
        shell.owed = min(u64(shell.owed + min(count, MOST_OWED)), MOST_OWED)
        shell.owed_since = timestamp()


def pay(shell: Shell) -> bool:
    """Whether an NMI that finds no answer is one of those. In time they come no more."""
    if shell.owed == 0:
        return False
    config = Shared.at(u64(shell.block + block.MONITOR_SHARED)).config
    if u64(timestamp() - shell.owed_since) >= LATE * config.tsc_khz:
        shell.owed = 0
        return False
    shell.owed -= 1
    return True
