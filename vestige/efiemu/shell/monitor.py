"""The monitor as a second virtual machine, entered from one of its calls to the next.

It leaves by OUT: to PORT_CALL with a call in AL, to a doorbell. It has no other port, no MSR, and
of memory what its nested table maps; interrupts are the guest's, and wait while it runs.

What VMRUN doesn't switch is the guest's meanwhile: of all that, the monitor needs its TSS alone,
and only when it gets into its ring 0. So exceptions exit, and it takes them with what is its own.
"""

from vestige.abi import (
    IMAGE,
    NVME_QUEUES_SIZE,
    PINS,
    PORT_CALL,
    PORT_DOORBELL,
    STACK_SIZE,
    STATE,
    STATE_SIZE,
    Call,
    Config,
    Cpu,
    Shared,
    Window,
)
from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.console import begin_line, put_check, put_hexadecimal, put_line, put_text
from vestige.efiemu.shell.constants import Constants, load_all
from vestige.efiemu.shell.interrupt import raise_pin
from vestige.efiemu.shell.lines import line_of
from vestige.efiemu.shell.ram import end_of_ram
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.vmcb import (
    MASK_INTERRUPTS,
    Exit,
    Intercept,
    SvmInstruction,
    Vmcb,
)
from vestige.lang.intrinsics import (
    fill,
    let_interrupts_in,
    run_aside,
    run_guest,
    timestamp,
)
from vestige.lang.types import u8, u16, u32, u64

INTERCEPTED = (
    Intercept.INTERRUPT | Intercept.NMI | Intercept.SMI | Intercept.INIT | Intercept.HALT
    | Intercept.PORT | Intercept.MSR | Intercept.SHUTDOWN | Intercept.SOFTWARE
)  # fmt: skip
# Vectors 0 to 19, but for 2, 9 and 15, whose effect is undefined, as of many higher ones; the
# monitor can't meet the rest. APM volume 2, 15.12.
EXCEPTIONS = 0xF_7DFB
INSTRUCTIONS = (
    SvmInstruction.VMRUN | SvmInstruction.VMMCALL | SvmInstruction.VMLOAD | SvmInstruction.VMSAVE
    | SvmInstruction.STGI | SvmInstruction.CLGI | SvmInstruction.SKINIT
)  # fmt: skip
MONITOR_ASID = 2
ALL = 0xFF  # every bit of a permission map
IN = 1 << 0  # of Vmcb.information[0] at an exit for a port
LOW = 0xFFFF_FFFF
WRITE = 1  # Vmcb.information[0] at an exit for an MSR
TWO_BYTES = 2  # WRMSR
STALL = 10  # ms
GOES_ON = 0x101  # that neither
FAILED = 0x100  # what is no call: Shell.line says why


def monitor_cpu(shell: Shell) -> Cpu:
    """The struct of its CPU beside this processor."""
    return Cpu.at(u64(shell.block + block.MONITOR_STACKS + shell.number % CPUS * STACK_SIZE))


def monitor_place(shell: Shell, number: u32) -> u64:
    """Where the VMCB of the CPU beside a processor is; its registers are behind it."""
    return u64(shell.block + block.MONITOR_CPUS + number % CPUS * block.MONITOR_CPU_SIZE)


def monitor_vmcb(shell: Shell) -> Vmcb:
    """That of the CPU beside this processor."""
    return Vmcb.at(monitor_place(shell, shell.number))


def place_monitor(shell: Shell) -> None:
    """Its memory, and its CPUs before the first instruction, whose registers are a load."""
    place = shell.block
    load_all(shell.constants, place)
    fill(u64(place + block.MONITOR_MSRS), ALL, 0x2000)
    fill(u64(place + block.MONITOR_PORTS), ALL, 0x3000)
    configure(shell, Shared.at(u64(place + block.MONITOR_SHARED)).config)
    for number in range(CPUS):
        fill_vmcb(shell, Vmcb.at(monitor_place(shell, number)))


def fill_vmcb(shell: Shell, vmcb: Vmcb) -> None:
    """What it leaves for, and which memory it has."""
    place = shell.block
    vmcb.instructions = INSTRUCTIONS
    intercept_exceptions(vmcb, on=True)
    vmcb.msrs = u64(place + block.MONITOR_MSRS)
    vmcb.ports = u64(place + block.MONITOR_PORTS)
    vmcb.interrupt_control = MASK_INTERRUPTS
    vmcb.asid, vmcb.nested_paging = MONITOR_ASID, 1
    vmcb.nested_root = shell.monitor_root


def intercept_exceptions(vmcb: Vmcb, on: bool) -> None:
    """Whether it leaves for them, or takes them."""
    vmcb.exceptions = EXCEPTIONS if on else 0
    vmcb.intercepts = INTERCEPTED if on else INTERCEPTED & ~Intercept.SOFTWARE


def configure(shell: Shell, config: Config) -> None:
    """Tell it of this machine. What is the same in all of them is a load: efiemu/monitor.py."""
    config.cpus = shell.processors
    config.tsc_khz = measure_counter(shell)
    place = shell.block
    end = end_of_ram(shell, block.RAM_WINDOW_SIZE)
    config.ram.low, config.ram.low_size = block.RAM_WINDOW, end
    nvme = config.nvme[0]
    nvme.elsewhere = u64(place + block.DECOY)
    before, behind = min(end, place), min(end, u64(place + block.SIZE))
    low, above = shell.low, u64(shell.low + block.LOW_SIZE)
    show(nvme.windows[0], u64(block.RAM_WINDOW + above), u64(before - above), above)
    show(nvme.windows[1], u64(block.RAM_WINDOW + behind), u64(end - behind), behind)
    show(nvme.windows[2], block.RAM_WINDOW, low, 0)
    show(nvme.windows[3], STATE, STATE_SIZE, u64(place + block.MONITOR_STATE))
    show(nvme.windows[4], nvme.queues, NVME_QUEUES_SIZE, u64(place + block.MONITOR_QUEUES))


def show(window: Window, address: u64, size: u64, bus: u64) -> None:
    """Tell of memory where the controller finds it."""
    window.address, window.size, window.bus = address, size, bus


def measure_counter(shell: Shell) -> u32:
    """How fast the time-stamp counter is, in kHz, by the firmware's own clock. UEFI 2.10, 7.5."""
    before = timestamp()
    uefi.call(shell.boot, uefi.STALL, STALL * 1000)
    return u32(u64(timestamp() - before) // STALL)


def run_to_call(shell: Shell) -> u16:
    """Run it until it is DONE, or has FAILED."""
    vmcb = monitor_vmcb(shell)
    place = monitor_place(shell, shell.number)
    while True:
        run_guest(place, u64(place + block.MONITOR_REGISTERS))
        if is_exception(vmcb.exit):
            intercept_exceptions(vmcb, on=False)
            run_aside(place, u64(place + block.MONITOR_REGISTERS), shell.vmcb)
            intercept_exceptions(vmcb, on=True)
        code = vmcb.exit
        if code == Exit.PORT:
            call = leaves_by_port(shell, vmcb)
            if call in (Call.DONE, FAILED):
                return call
        elif code == Exit.MSR and vmcb.information[0] == WRITE:
            vmcb.instruction = u64(vmcb.instruction + TWO_BYTES)  # it wakes a worker: there is none
        elif code in (Exit.NMI, Exit.SMI):
            if code == Exit.NMI:
                shell.pending = 1
            let_interrupts_in()
        else:
            return left(shell, vmcb)


def is_exception(code: u64) -> bool:
    """Whether it has left before an exception, or before INT3, which asks its ring 0.

    They come again when it is entered; a machine check does not, and is its end.
    """
    known = Exit.EXCEPTION <= code < Exit.EXCEPTION + 32 and code != Exit.MACHINE_CHECK
    return known or code == Exit.SOFTWARE


def leaves_by_port(shell: Shell, vmcb: Vmcb) -> u16:
    """Which call it is, or FAILED. What else a host would do for it is done by what is below."""
    port = vmcb.information[0] >> 16 & 0xFFFF
    pin = u16(port - PORT_DOORBELL)
    if vmcb.information[0] & IN or (port != PORT_CALL and pin >= PINS):
        return left(shell, vmcb)
    vmcb.instruction = vmcb.information[1]  # the one after this
    if port != PORT_CALL:
        raise_pin(shell, u8(pin))
        return GOES_ON
    call = u8(vmcb.rax & 0xFF)
    return panicked(shell) if call == Call.PANIC else call


def panicked(shell: Shell) -> u16:
    """Say where, by file and line; of code that has none by its address."""
    record = monitor_cpu(shell).panic
    constants = Constants.at(shell.constants)
    begin_failure(shell)
    if record.site != 0:
        table = u64(shell.block + block.MONITOR_CHECKS)
        if record.site < constants.monitor_check_count:
            put_check(shell, table, u32(record.site & LOW))
            return FAILED
    file, line = line_of(u64(shell.block + block.MONITOR_LINES), u64(record.rip - IMAGE))
    if line != 0:
        put_line(shell, file, line)
    else:
        put_hexadecimal(shell, record.rip, 16)
    put_text(shell, Text.EXCEPTION)
    put_hexadecimal(shell, record.vector, 2)
    put_text(shell, Text.ERROR)
    put_hexadecimal(shell, record.error, 8)
    put_text(shell, Text.ADDRESS)
    put_hexadecimal(shell, record.address, 16)
    return FAILED


def left(shell: Shell, vmcb: Vmcb) -> u16:
    """Say that it did what it may not."""
    begin_failure(shell)
    put_hexadecimal(shell, vmcb.instruction, 16)
    put_text(shell, Text.EXIT)
    put_hexadecimal(shell, vmcb.exit, 8)
    put_text(shell, Text.ERROR)
    put_hexadecimal(shell, vmcb.information[0], 16)
    put_text(shell, Text.ADDRESS)
    put_hexadecimal(shell, vmcb.information[1], 16)
    return FAILED


def begin_failure(shell: Shell) -> None:
    """What the line of one begins with."""
    begin_line(shell, Text.PANIC)
    put_text(shell, Text.MONITOR_FAILED)
