"""Compiled code on a monitor vCPU of a real VM: the smallest way to run a payload.

The payload is the monitor of a twin with 2 MiB of guest RAM and no guest: its memory, page
tables, interrupt table and stacks are those of a real run.
"""

import fcntl
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType

import pytest

from vestige import abi
from vestige.errors import UsageError
from vestige.host.kvm import api as kvm
from vestige.host.kvm import monitor_tables
from vestige.host.kvm.memory import GuestMemory
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.kvm.twin import Blank, Twin
from vestige.lang.image import Image

PATIENCE = 60  # seconds: this machine's KVM may emulate every instruction
RAM = 2 * abi.MIB


def needs_kvm() -> None:
    """Skip the test where no payload can run."""
    try:
        kvm.open_system().close()
    except UsageError as error:
        pytest.skip(str(error))


def in_ring_0(registers: kvm.SystemRegisters) -> kvm.SystemRegisters:
    """Those of a monitor that has got out of ring 3."""
    for segment, selector in (
        (registers.cs, monitor_tables.PRIVILEGED_CODE),
        (registers.ss, monitor_tables.PRIVILEGED_DATA),
    ):
        segment.selector, segment.dpl = selector, 0
    return registers


class Payload:
    """A payload image in a VM of its own; `vcpu_main` and `worker_main` are its entries."""

    def __init__(self, twin: Twin) -> None:
        self.twin, self.code = twin, twin.code
        twin.wire()
        twin.load()
        twin.configure()

    @property
    def cpu(self) -> abi.Cpu:
        """The first vCPU's own struct, live."""
        return self.twin.private.cpu(0)

    def run(self, *arguments: int) -> abi.Call:
        """Run vcpu_main with these in Cpu.argument until it calls the host.

        Raises AssertionError if it leaves in another way, TimeoutError if it doesn't.
        """
        for number, argument in enumerate(arguments):
            self.cpu.argument[number] = argument
        cpu = self.twin.monitor.cpus[0]
        with _deadline():
            fcntl.ioctl(cpu.descriptor, kvm.Request.RUN)
        page = abi.RunPage.from_buffer(cpu.mapping)
        access = abi.RunIo.from_buffer(cpu.mapping, abi.RUN_UNION)
        reason, port = kvm.exit_name(page.exit_reason), access.port
        call = cpu.mapping[access.data_offset]
        del page, access  # the mapping can't be closed while they are
        assert (reason, port) == ("IO", abi.PORT_CALL), f"left by {reason}, port {port:#x}"
        return abi.Call(call)


@contextmanager
def payload(image: Image) -> Iterator[Payload]:
    """A payload ready to run."""
    with ExitStack() as stack:
        system = stack.enter_context(closing(kvm.open_system()))
        memory = stack.enter_context(closing(GuestMemory(RAM)))
        blank = Blank(system, MonitorCode(image))
        yield Payload(stack.enter_context(closing(Twin(blank, memory, 1))))


@contextmanager
def _deadline() -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the payload did not call the host within {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
