"""A kernel that tries the interval timer and says what it found, a letter each. Typed Python."""

from tests.host.guest_payload import start_interrupts
from tests.host.kernel_payload import power_off, say
from tests.visitor.inside.machine import VECTOR
from tests.visitor.interval_timer.place import MEMORY, PIN, PORT
from tests.visitor.interval_timer.spec import Control, Register, Status
from vestige.abi import IOAPIC
from vestige.lang.intrinsics import (
    load32,
    load64,
    pause,
    port_in32,
    port_out8,
    port_out32,
    read_msr,
    store32,
)
from vestige.lang.types import u8, u32

X2APIC_IRR = 0x820  # interrupts that wait: a bit for each vector, 32 in each register
EXPIRED = Status.EXPIRED << 8  # where CONTROL and STATUS are read at once
ABSENT, SEEN = 78, b"PMWAIS"  # N; and what is said of one that is there
FROZEN = b"FT"  # of one that is frozen in between


def tell(good: bool, letter: u8) -> None:
    """A letter of SEEN, or a question mark."""
    say(letter if good else 63)


def main() -> None:
    """Ports, memory, both of them, accesses, an interrupt, the status."""
    if port_in32(PORT) == 0xFFFF_FFFF and load32(MEMORY) == 0xFFFF_FFFF:
        say(ABSENT)
        power_off()
    port_out32(PORT + Register.PERIOD, 1000)
    tell(load32(MEMORY + Register.PERIOD) == 1000, SEEN[0])
    store32(MEMORY + Register.PERIOD, 2000)
    tell(port_in32(PORT + Register.PERIOD) == 2000, SEEN[1])
    tell(load64(MEMORY) == 2000, SEEN[2])
    # Three of four bytes at ports; a store and three loads, this one included.
    tell(load32(MEMORY + Register.ACCESSES) == 4 * 3 + 4, SEEN[3])
    await_interrupt()
    tell(True, SEEN[4])
    found = port_in32(PORT + Register.CONTROL)
    tell(found & EXPIRED != 0 and port_in32(PORT + Register.COUNT) != 0, SEEN[5])
    power_off()


def waits() -> None:
    """Have it count to a time that is far off; say a letter of FROZEN before, and one then."""
    port_out32(PORT + Register.PERIOD, 3_000_000)
    start_waiting()
    say(FROZEN[0])
    finish_waiting()
    found = port_in32(PORT + Register.CONTROL)
    tell(found & EXPIRED != 0 and port_in32(PORT + Register.COUNT) == 1, FROZEN[1])
    power_off()


def await_interrupt() -> None:
    """Let it run, until the interrupt waits in the local APIC."""
    start_waiting()
    finish_waiting()


def start_waiting() -> None:
    """Let it run, and interrupt."""
    start_interrupts()
    for half in range(2):
        store32(IOAPIC, u32(0x11 + 2 * PIN - half))
        store32(IOAPIC + 0x10, VECTOR * half)
    port_out8(PORT + Register.CONTROL, Control.RUN | Control.INTERRUPT)


def finish_waiting() -> None:
    """Until its interrupt waits in the local APIC."""
    while read_msr(X2APIC_IRR + VECTOR // 32) >> VECTOR % 32 & 1 == 0:
        pause()
