"""One clear line for each way a guest or its monitor can fail.

Threat: a Panic record and a log line are written by the monitor. Numbers are printed as
numbers, text is bounded and escaped.
"""

import os

from vestige import abi
from vestige.host import limits
from vestige.host.kvm import api as kvm
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.kvm.vm import VirtualCpu
from vestige.host.loop.runloop import Leave, Loop
from vestige.host.loop.untrusted import exit_detail
from vestige.host.options import NOWHERE, PC, STDIO, VIRTIO, RunOptions

EXCEPTION_NAMES = {
    0: "division error",
    1: "debug exception",
    3: "breakpoint",
    6: "invalid opcode",
    8: "double fault",
    13: "general protection fault",
    14: "page fault",
}
PAGE_FAULT = 14
RESET_RIP = 0xFFF0
INTERNAL_SUBERRORS = {1: "instruction emulation failed", 3: "event delivery failed"}
PANICKED = "the guest's kernel panicked; its console says why"
RESET_ENDS_RUN = (
    "the guest reset itself, which ends the run (status 3); {} ({}). --on-reboot restart starts it"
    " anew"
)
SCREEN = ", and `vestige screen {}` shows its screen then"
BY_KERNEL = "a kernel's panic does that with panic=-1"
BY_FIRMWARE = "a BIOS that finds nothing to boot does that, and a kernel's panic with panic=-1"
FAULT_ENDS_RUN = "which resets it and ends the run (status 3). --on-reboot restart starts it anew"
NO_BIOS = (
    "; if the kernel calls the BIOS: it was started without one, and --firmware bios starts a"
    " bzImage by one"
)


def escaped(text: bytes) -> str:
    """Text of the monitor as one printable ASCII line."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in text)


def panic(record: abi.Panic, who: str, code: MonitorCode) -> str:
    """A failed check or an exception of the monitor, on `who`'s behalf."""
    if record.site:
        reason = code.site(record.site) or f"check {record.site}, which the image doesn't have"
    else:
        name = EXCEPTION_NAMES.get(record.vector, f"exception {record.vector}")
        place = code.line(record.rip) or f"RIP {record.rip:#x}"
        reason = f"{place}: {name} (error code {record.error:#x}"
        reason += f", address {record.address:#x})" if record.vector == PAGE_FAULT else ")"
    return f"the monitor failed at {reason}, serving {who}"


def controller(report: abi.NvmeReport) -> str:
    """Why the monitor's driver has given an NVMe controller up."""
    reason = abi.NVME_FAILURES.get(report.failure, f"failure {report.failure}")
    if report.failure == abi.NvmeFailure.COMMAND:
        reason += f" (status {report.status:#05x}, type and code)"
    return f"the NVMe controller can't be used: {reason}"


def triple_fault(who: str, guest: VirtualCpu) -> str:
    """That a guest's CPU has had one, and where."""
    address = guest.registers().rip
    rip = f"RIP {address:#x}"
    if address == RESET_RIP:  # kvm-amd resets the vCPU before it tells
        rip = "this processor doesn't say where"
    return f"the guest had a triple fault on {who} ({rip})"


def reset_ends_run(fault: str, asked: RunOptions) -> str:
    """The line for a reset where that ends the run; `fault`: of a triple fault, what it was."""
    if fault:
        lacks_bios = asked.machine == PC and not asked.by_firmware
        return f"{fault}, {FAULT_ENDS_RUN}" + (NO_BIOS if lacks_bios else "")
    cause = BY_FIRMWARE if asked.by_firmware else BY_KERNEL
    screen = SCREEN.format(asked.name or "NAME") if asked.has_vga else ""
    return RESET_ENDS_RUN.format(_why(asked), cause) + screen


def _why(asked: RunOptions) -> str:
    """Where the guest has said why it did so. A BIOS says it at the serial port alone."""
    console = asked.console
    is_dropped = asked.by_firmware and console.device == VIRTIO and not console.early
    if is_dropped or console.backend == NOWHERE:
        return "to see why, give --console FILE"
    place = "standard output" if console.backend == STDIO else console.backend
    return f"its console, {place}, says why"


def left(
    leave: int, loop: Loop, who: str, guest: VirtualCpu | None, monitor: VirtualCpu | None
) -> str:
    """Why the run loop left for good; the vCPUs are asked for where that happened."""
    if leave == Leave.GUEST and guest is not None:
        return guest_exit(loop.reason, who, guest)
    if leave == Leave.MONITOR and monitor is not None:
        rip = monitor.registers().rip
        what = kvm.exit_name(loop.reason)
        return f"the monitor left without a call ({what}, RIP {rip:#x}), serving {who}"
    if leave == Leave.CLOCK_ERROR:
        name = kvm.Request(loop.reason).name
        return f"a thawed guest's clocks can't go on: KVM_{name}: {os.strerror(loop.error)}"
    error, remedy = os.strerror(loop.error), limits.cure(loop.error)
    operation = {
        Leave.GUEST_ERROR: "KVM_RUN of the guest",
        Leave.MONITOR_ERROR: "KVM_RUN of the monitor",
        Leave.RING_ERROR: "io_uring_enter",
    }.get(Leave(leave), "the run loop")
    return f"{operation} failed on {who}: {error}" + (f"; {remedy}" if remedy else "")


def guest_exit(reason: int, who: str, guest: VirtualCpu) -> str:
    """That the guest's last exit, of this reason, is one that it can't go on from."""
    rip = f"RIP {guest.registers().rip:#x}"
    detail = exit_detail(guest)
    if reason == kvm.Exit.INTERNAL_ERROR:
        suberror = detail & 0xFFFF_FFFF
        what = INTERNAL_SUBERRORS.get(suberror, f"suberror {suberror}")
        return f"KVM could not go on with the guest on {who}: {what} ({rip})"
    if reason == kvm.Exit.FAIL_ENTRY:
        return f"the processor refused to enter the guest on {who}: reason {detail:#x} ({rip})"
    return f"the guest stopped on {who}: KVM exit {kvm.exit_name(reason)} ({rip})"
