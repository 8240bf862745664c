"""What the shell does for the guest: its exits."""

from vestige.efiemu.shell import block
from vestige.efiemu.shell.completion import answer_nmi, begin_interrupts, take_pending
from vestige.efiemu.shell.controller import stop
from vestige.efiemu.shell.ending import calls_firmware, has_ended
from vestige.efiemu.shell.fault import Vector
from vestige.efiemu.shell.features import answer_cpuid, answer_msr
from vestige.efiemu.shell.ioapic import take_ioapic
from vestige.efiemu.shell.mapped import answer_memory
from vestige.efiemu.shell.others import end_all, join, prepare_others
from vestige.efiemu.shell.ports import answer_port
from vestige.efiemu.shell.serial import write_line
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Exit, Vmcb
from vestige.lang.intrinsics import (
    address_of,
    let_interrupts_in,
    nmi_entry,
    panic,
    port_out8,
    run_guest,
    store64,
    wait_for_interrupt,
)
from vestige.lang.types import u32, u64
from vestige.monitor.devices.piix3_isa.spec import PORT_RESET_CONTROL, ResetControl

LOW = 0xFFFF_FFFF
GATE_SIZE, NMI_VECTOR, CODE, INTERRUPT_GATE = 16, 2, 8, 0x8E00


def efi_serve(state: u64) -> None:
    """The machine is taken over, by this processor."""
    shell = Shell.at(state)
    open_gate(shell)
    prepare_others(shell)
    take_ioapic(shell)
    begin_interrupts(shell)
    run(shell)


def efi_join(state: u64, cr0: u64) -> None:
    """Another processor has been started."""
    shell = Shell.at(state)
    join(shell, cr0)
    run(shell)


def run(shell: Shell) -> None:
    """Run the guest for ever."""
    vmcb = Vmcb.at(shell.vmcb)
    while True:
        run_guest(shell.vmcb, address_of(shell.guest))
        vmcb.flush = 0
        serve(shell, vmcb)


def open_gate(shell: Shell) -> None:
    """The host's for NMIs. APM volume 2, 4.8.4 and 8.2.3."""
    place, entry = u64(shell.block + block.GATES + GATE_SIZE * NMI_VECTOR), nmi_entry()
    low = entry & 0xFFFF | CODE << 16 | INTERRUPT_GATE << 32 | (entry >> 16 & 0xFFFF) << 48
    store64(place, low)
    store64(u64(place + 8), entry >> 32)


def serve(shell: Shell, vmcb: Vmcb) -> None:
    """Answer one exit, and decide what the guest is entered with; end here if the monitor fails."""
    answer(shell, vmcb)
    take_pending(shell)
    if shell.failed:
        end_machine(shell, vmcb)
    if block.common(shell).end.held:
        halt()
    decide(shell, vmcb)


def decide(shell: Shell, vmcb: Vmcb) -> None:
    """What the guest is entered with, if it is."""
    if not shell.events.decide(vmcb):
        reset_machine()


def answer(shell: Shell, vmcb: Vmcb) -> None:
    """Answer it."""
    code, events, place = vmcb.exit, shell.events, vmcb.instruction
    events.take_exit(vmcb)
    if code == Exit.CPUID:
        answer_cpuid(shell, vmcb)
    elif code == Exit.MSR:
        answer_msr(shell, vmcb)
    elif code == Exit.PORT:
        answer_port(shell, vmcb)
    elif code == Exit.MEMORY:
        answer_memory(shell, vmcb)
    elif code == Exit.NMI:
        answer_nmi(shell)
    elif code == Exit.SMI:
        let_interrupts_in()
    elif code == Exit.INVLPGA or Exit.VMRUN <= code <= Exit.SKINIT:
        events.raise_exception(vmcb, Vector.INVALID_OPCODE)
    elif code == Exit.IRET:
        events.take_iret(vmcb)
    elif code == Exit.DEBUG:
        events.take_debug(vmcb)
    elif code == Exit.SHUTDOWN:
        reset_machine()
    elif code != Exit.WINDOW:
        panic(u32(code & LOW))
    if vmcb.instruction != place:
        events.end_instruction(vmcb)


def reset_machine() -> None:
    """As a board does where its processor shuts down. PIIX3 data sheet (290550), 2.5.4.1."""
    port_out8(PORT_RESET_CONTROL, ResetControl.HARD)
    port_out8(PORT_RESET_CONTROL, ResetControl.HARD | ResetControl.RESET)
    halt()


def end_machine(shell: Shell, vmcb: Vmcb) -> None:
    """The monitor has failed: say where, and end here. The firmware is let say it, too."""
    end_all(shell)
    stop(shell)
    write_line(shell)
    if calls_firmware(shell, vmcb):
        while True:
            decide(shell, vmcb)
            run_guest(shell.vmcb, address_of(shell.guest))
            if has_ended(vmcb):
                break
            answer(shell, vmcb)
    halt()


def halt() -> None:
    """For ever."""
    while True:
        wait_for_interrupt()
