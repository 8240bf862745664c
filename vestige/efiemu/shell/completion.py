"""The NVMe controller's interrupts: NMIs, which come to the shell before the guest's.

Each lets the monitor take the controller's answers in, and raises the guest's IRQ if the IDE does.
One that finds no answer is the guest's own, unless an exit has just taken in what it was for.
"""

from vestige.abi import Shared
from vestige.efiemu.shell import block
from vestige.efiemu.shell.accesses import settle
from vestige.efiemu.shell.controller import send_nmis
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import let_interrupts_in, timestamp
from vestige.lang.types import u64

LATE = 100  # ms that an interrupt may come behind its answer


def begin_interrupts(shell: Shell) -> None:
    """The guest will run. One comes at once, for what the monitor has asked at its power-on."""
    note_answers(shell)
    shell.taken_at = timestamp()
    send_nmis(shell)


def answer_nmi(shell: Shell) -> None:
    """One has ended the guest's run."""
    let_interrupts_in()
    look(shell)


def take_pending(shell: Shell) -> None:
    """Those that came while the monitor ran: it may have looked before the answer was there."""
    note_answers(shell)
    while shell.pending and not shell.failed:
        shell.pending = 0
        look(shell)


def look(shell: Shell) -> None:
    """Find what an NMI has come for. The controller's all come to the first processor."""
    if shell.number == 0:
        settle(shell)
        if note_answers(shell) or is_recent(shell):
            return
    shell.events.raise_nmi()


def note_answers(shell: Shell) -> bool:
    """Whether the monitor has taken answers since the last time."""
    report = Shared.at(u64(shell.block + block.MONITOR_SHARED)).statistics.nvme[0]
    done = u64(report.reads + report.writes + report.flushes + report.discards)
    answers = u64(done + report.errors)
    if answers == shell.answers:
        return False
    shell.answers, shell.taken_at = answers, timestamp()
    return True


def is_recent(shell: Shell) -> bool:
    """Whether the last one was taken so short a time ago that its interrupt may be this one."""
    config = Shared.at(u64(shell.block + block.MONITOR_SHARED)).config
    return u64(timestamp() - shell.taken_at) < LATE * config.tsc_khz
