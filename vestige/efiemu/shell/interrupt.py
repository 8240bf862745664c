"""The guest's interrupts: what its I/O APIC has for a pin, sent by the processor itself.

Intel 82093AA data sheet (290566-001), 3.2.4: the entry of a pin. AMD64 APM volume 2, 16.5 and
16.11: the register by which a local APIC sends an interrupt, in memory or an MSR. The guest may be
between its two writes of that in memory, so the first one's is put back.
"""

from vestige.efiemu.shell.ioapic import read_entry
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import load32, read_msr, store32, write_msr
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.ioapic.spec import Entry

APIC_BASE, APIC_ADDRESS = 0x1B, 0xF_FFFF_F000
ENABLED, X2APIC = 1 << 11, 1 << 10
COMMAND, COMMAND_HIGH, PENDING = 0x300, 0x310, 1 << 12
X2APIC_COMMAND = 0x830
ASSERT = 1 << 14
# Delivery modes that the I/O APIC has not: to a local APIC they are a remote read and STARTUP, by
# which a guest would get a processor past the shell.
RESERVED = (3 << 8, 6 << 8)
DESTINATION = 24  # of the high half, in memory, and of an entry's


def raise_pin(shell: Shell, pin: u8) -> None:
    """An edge at a pin: lost where that is masked, as in the I/O APIC, or has no mode there is."""
    low, high = read_entry(shell, pin)
    if low & Entry.MASKED or low & Entry.DELIVERY_MODE in RESERVED:
        shell.dropped += 1
        return
    shell.sent += 1
    send(low & (Entry.VECTOR | Entry.DELIVERY_MODE | Entry.LOGICAL) | ASSERT, high >> DESTINATION)


def send(command: u32, destination: u32) -> None:
    """By this processor's local APIC, once it has sent what it was told before; if it is on."""
    base = read_msr(APIC_BASE)
    if not base & ENABLED:
        return  # its registers read as ones, and so always busy
    if base & X2APIC:
        write_msr(X2APIC_COMMAND, u64(destination << 32 | command))
        return
    place = base & APIC_ADDRESS
    while load32(u64(place + COMMAND)) & PENDING:
        pass
    kept = load32(u64(place + COMMAND_HIGH))
    store32(u64(place + COMMAND_HIGH), u32(destination << DESTINATION))
    store32(u64(place + COMMAND), command)
    store32(u64(place + COMMAND_HIGH), kept)
