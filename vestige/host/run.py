"""`vestige run` on this machine's KVM: put everything together, wait for the end, clean up."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

from vestige import abi
from vestige.errors import GuestError
from vestige.host import disks, failure, guest, images, kvm, options, statistics
from vestige.host.background import Background
from vestige.host.code import MonitorCode
from vestige.host.console import Console, occupy_standard_files, open_console
from vestige.host.memory import GuestMemory
from vestige.host.ring import Ring
from vestige.host.session import Session
from vestige.host.signals import Signals
from vestige.host.twin import Twin
from vestige.host.wait import wait
from vestige.machine import boot
from vestige.machine.config import MachineConfig


def run(asked: options.RunOptions) -> int:
    """Run one guest to its end; the exit status.

    0: the guest powered off. 124: the timeout. 128 + n: signal n. Raises UsageError for bad
    input and a machine that can't, GuestError where the guest or its monitor fails.
    """
    options.check(asked)
    occupy_standard_files()
    with ExitStack() as stack:
        return _run(asked, stack)


def _run(asked: options.RunOptions, stack: ExitStack) -> int:
    """Each resource is closed by `stack` after what uses it."""
    stats = stack.enter_context(statistics.open_file(asked.stats)) if asked.stats else None
    config = MachineConfig(cpus=asked.cpus, memory=asked.memory)
    system = stack.enter_context(closing(kvm.System()))
    images_of_disks = {
        number: stack.enter_context(closing(disks.open_disk(disk)))
        for number, disk in enumerate(asked.disks)
        if disk.controller is None
    }
    console = stack.enter_context(closing(open_console(asked.console)))
    memory = stack.enter_context(closing(GuestMemory(asked.memory)))
    twin = stack.enter_context(closing(Twin(system, memory, asked.cpus)))
    pages = _take_controllers(asked, twin, stack)
    ring = stack.enter_context(closing(_connect_ring(twin, images_of_disks, console, stack)))
    in_memory = asked.ide == options.IDE_IN_MEMORY
    if in_memory:
        twin.place_ide_in_memory()
    wiring = stack.enter_context(closing(Background(twin.wire)))
    _load_guest(asked, config, twin)
    key = images.key()
    code = MonitorCode(images.monitor_image(key))
    twin.load(code, pages)
    twin.configure()
    twin.coalesce(abi.COALESCED_PORTS, abi.COALESCED_MEMORY if in_memory else ())
    signals = stack.enter_context(closing(Signals()))
    session = stack.enter_context(
        closing(Session(twin, code, ring, images.runner_of(images.run_loop_image(key))))
    )
    wiring.wait()
    deadline = None if asked.timeout is None else time.monotonic() + asked.timeout
    first_instruction = 0.0
    try:
        if session.prepare():
            _check_controllers(asked, twin)
            console.start()
            first_instruction = statistics.milliseconds_since_start()
            session.start()
        return wait(session, signals, console, deadline)
    finally:
        session.stop()
        console.close()
        if stats is not None:
            shared = twin.private.shared()
            statistics.write(stats, statistics.collect(session, shared, first_instruction))


def _load_guest(asked: options.RunOptions, config: MachineConfig, twin: Twin) -> None:
    """Fill RAM and give the guest's CPUs their first state."""
    state = boot.load(
        twin.memory.region.view, config, asked.kernel, initrd=asked.initrd, append=asked.append
    )
    supported = twin.system.supported_cpuid()
    deadline = bool(twin.system.has(kvm.Capability.TSC_DEADLINE_TIMER))
    for cpu in twin.guest.cpus:
        guest.set_cpuid(cpu, supported, asked.cpus, deadline)
        for number, value in state.msrs:
            cpu.set_msr(number, value)
    guest.set_start(twin.guest.cpus[0], state)


def _take_controllers(
    asked: options.RunOptions, twin: Twin, stack: ExitStack
) -> Sequence[tuple[int, int, int]]:
    """Take the NVMe controllers that are asked for; their memory, for the page tables."""
    if all(disk.controller is None for disk in asked.disks):
        return ()
    from vestige.host.vfio_twin import PassThrough  # noqa: PLC0415 - few runs need it

    return stack.enter_context(closing(PassThrough(twin, asked.disks))).pages


def _check_controllers(asked: options.RunOptions, twin: Twin) -> None:
    """Raise GuestError for a controller that the monitor could not bring up."""
    reports = twin.private.shared().statistics.nvme
    addresses = [disk.controller for disk in asked.disks if disk.controller is not None]
    for report, address in zip(reports, addresses, strict=False):
        if report.failure:
            raise GuestError(f"--disk vfio:{address}: {failure.controller(report)}")


def _connect_ring(
    twin: Twin, images_of_disks: dict[int, disks.DiskImage], console: Console, stack: ExitStack
) -> Ring:
    """Make the ring over the disks and the console, and tell the monitor of all three."""
    config = twin.private.shared().config
    files: list[int] = []
    for number, image in images_of_disks.items():
        image.describe(config.disks[number], number, len(files))
        files.append(image.descriptor)
    config.console.present = 1
    config.console.output, config.console.input = len(files), -1
    files.append(console.output)
    if console.input is not None:
        config.console.input = len(files)
        files.append(console.input)
    eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    stack.callback(os.close, eventfd)
    twin.monitor.connect_interrupt(abi.Irq.RING, eventfd)
    ring = Ring(twin.memory, twin.private.host_address(abi.STATE), files, eventfd)
    twin.connect(ring)
    return ring
