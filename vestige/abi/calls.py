"""What the monitor asks of the host, and how: the calls, and the Cpu that holds their arguments."""

from vestige.abi.kvm import GuestExit
from vestige.lang import vcpu
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u8, u32, u64

# A port of the monitor VM, OUT only, not memory.
PORT_CALL = vcpu.PORT_CALL  # OUT AL: leave for the host; AL is the Call


class Call(IntEnum):
    """Monitor to host, all of them; arguments in the Cpu. Threat: a subverted monitor."""

    # The trap is answered. Before the guest goes on, the doorbell that Cpu.bell names is rung, as
    # OUT to its port would. Threat: an interrupt of its own guest, which OUT would send too.
    DONE = 0
    # [vector, more, alarm]: the same, by the boot CPU alone, whose guest takes an external
    # interrupt with this vector, unless it is NO_VECTOR; and the guest is to exit once it can take
    # one, unless `more` is 0, and in `alarm` ns, unless that is 0 or an alarm is under way; only
    # where there is PORT_ATTEND. Threat: any vector in its own guest, as from a PIC; CPU time of
    # its own thread.
    INJECT = 1
    ROUTE = 2  # [gsi, domain]: take its Shared.routes[gsi]. Threat: an MSI to its own LAPICs.
    # [domain, handed, under_way, moved]: io_uring_enter of its ring; unless `handed` is 0 other
    # threads on this processor, to one of which the kernel hands what was entered, run first.
    # `under_way`: requests of disks, of which there may be none. `moved`: bytes of the network
    # since the last one. Threat: CPU time of its own thread, when that runs, who serves its disks,
    # and kernel memory for so much as the host lets be under way.
    KICK = 3
    PIN = 4  # [chunk, domain]: register RAM with its ring. Threat: pins at most its own RAM.
    POWER = 5  # [Power]: the guest ends. Threat: none.
    PANIC = vcpu.PANIC  # Cpu.panic says why. Threat: text taken from there is bounded and escaped.
    # [length]: tell so many bytes of Shared.log, escaped, as a line; of a run 256 lines and 32 KiB.
    # And tell what is new in Statistics.disks, a line for each disk and errno, 16 of a disk.
    # Threat: so many lines on standard error at most, which may not be true.
    LOG = 7
    # The boot CPU is to exit, now; for kernels without PORT_ATTEND. Threat: CPU time of its own
    # threads.
    ATTEND = 8
    # [region, address]: have the guest find REGIONS[region] there, and nowhere else; 0: nowhere. It
    # is in the hole below IOAPIC, and not where RAM or another region is: else EINVAL is answered,
    # and it stays where it was; else 0. [WINDOW_NUMBER, what]: have the guest find that at WINDOW;
    # likewise. [FLASH_NUMBER, address]: have it read the flash memory there: at Config.flash's
    # address, or nowhere, for 0; likewise. [GATE_NUMBER, GATE_OPEN or GATE_CLOSED]: whether it has
    # the RAM at WRAPPED there, or that at 0; likewise. Threat: zeroes of its own, what it wrote
    # there itself, or a firmware's variables, in its own guest; CPU time of its own thread.
    MAP = 9


CALLS = max(Call) + 1
NO_VECTOR = 256  # of an INJECT
ARGUMENTS = 4  # of a call, at most


class Power(IntEnum):
    """Argument of Call.POWER."""

    OFF = 0
    RESET = 1
    PANICKED = 2  # the guest's kernel says so
    TRIPLE_FAULT = 3  # a reset, of which the host says where it was


Panic = vcpu.Panic  # why the monitor failed


class Cpu(Struct):
    """One monitor vCPU; at the lowest address of its stack. It begins as vcpu.Vcpu does."""

    panic: Panic
    signals: u8[vcpu.SIGNALS]  # 1: this interrupt has come; a worker's, who clears it
    ended: u32[1]  # bit 0: KVM has ended the interrupt under way; a worker's, outside/kvm.py
    index: u64  # guest vCPU it is paired with; of domain d's worker it is Config.cpus + d
    run: u64  # where that vCPU's kvm_run would begin, whose first page is absent; 0 for a worker
    exit: GuestExit  # that vCPU's
    argument: u64[ARGUMENTS]  # of the call being made
    calls: u64[CALLS]  # calls made, by number
    bell: u32[1]  # GSI + 1 of a doorbell that DONE rings; 0: none
