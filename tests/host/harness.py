"""Runs a payload guest with the payload monitor, on this machine's /dev/kvm."""

import os
import select
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

from tests import compiling
from tests.host import guest_payload, monitor_payload
from tests.host.guest_payload import Report
from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host import images
from vestige.host.backends.ring import Ring
from vestige.host.domains import deal_out
from vestige.host.files.failures import FileFailures
from vestige.host.kvm import api as kvm
from vestige.host.kvm import guest
from vestige.host.kvm.memory import GuestMemory
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.kvm.twin import Blank, Twin
from vestige.host.loop import runloop
from vestige.host.loop.boot_bell import BootBell
from vestige.host.loop.monitor_log import MonitorLog
from vestige.host.loop.session import Session
from vestige.host.loop.wait import POWERED_OFF, RESET
from vestige.host.vfio.pass_through import PassThrough
from vestige.lang.image import Image
from vestige.lang.native import NativeImage
from vestige.machine.cpu import CODE, DATA, TSS, CpuState, Segment
from vestige.signals import Ended, Signals, Watch

GUEST = 0x10_0000
REPORT = 0x20_0000
STACK = 0x18_0000
TABLES, GDT, IDT = 0x2000, 0x1000, 0x1800
SELECTOR = 0x8
PATIENCE = 60.0  # seconds: this machine's KVM may emulate every instruction

# Real mode: 1 to STARTED + local APIC ID.
PROCESSOR_START_AT = 0xA000
PROCESSOR_START = bytes.fromhex(
    "66b801000000"  # mov eax, 1
    "0fa2"  # cpuid
    "66c1eb18"  # shr ebx, 24
    "31c0 8ed8"  # xor ax, ax; mov ds, ax
    "c68700b0 01"  # mov byte [bx + STARTED], 1
    "f4 ebfd"  # hlt; jmp to it
)


@cache
def monitor_image() -> Image:
    functions = [monitor_payload.vcpu_main, monitor_payload.worker_main]
    return compiling.image(functions, base=abi.IMAGE, runtime="monitor")


@cache
def guest_image(function: Callable[[Report], None]) -> Image:
    return compiling.image([function], base=GUEST, runtime="kernel")


@cache
def runner() -> Callable[[runloop.Loop], int]:
    image = compiling.image([runloop.run], base=None, runtime="process")
    return images.runner_of(NativeImage(image))


class Payload:
    """A guest that starts at a function of guest_payload."""

    def __init__(
        self,
        function: Callable[[Report], None] = guest_payload.echoes,
        *,
        cpus: int = 1,
        memory: int = 64 * abi.MIB,
        files: Sequence[int] = (),
        command: int = 0,
        interpreted: bool = False,
        interrupts: bool = True,
        monitor: Image | None = None,
        controllers: Sequence[str] = (),
        ide_in_memory: bool = False,
        regions: bool = False,
        polled: bool = False,
        has_bell: bool = False,
    ) -> None:
        with ExitStack() as stack:
            self.system = stack.enter_context(closing(kvm.open_system()))
            self.memory = stack.enter_context(closing(GuestMemory(memory)))
            self.code: MonitorCode = MonitorCode(monitor or monitor_image())
            blank = Blank(self.system, self.code)
            self.twin = stack.enter_context(closing(Twin(blank, self.memory, cpus)))
            passed = PassThrough(self.twin, controllers) if controllers else None
            if passed is not None:
                stack.enter_context(closing(passed))
            if regions:
                self.twin.make_regions()
            self.twin.load(passed.pages if passed is not None else ())
            self.twin.configure()
            if ide_in_memory:
                self.twin.place_ide_in_memory()
            memory_writes: Sequence[tuple[int, int]] = ()
            if ide_in_memory:
                memory_writes = abi.COALESCED_MEMORY
            elif regions:
                memory_writes = abi.COALESCED_WINDOW
            self.twin.coalesce(abi.COALESCED_PORTS, memory_writes)
            rings = []
            if files:
                eventfd = os.eventfd(0, os.EFD_NONBLOCK)
                stack.callback(os.close, eventfd)
                self.twin.monitor.connect_interrupt(abi.Irq.RING, eventfd)
                state = self.twin.private.host_address(abi.STATE)
                ring = Ring(self.memory, state, files, eventfd, polled=polled)
                rings = [stack.enter_context(closing(ring))]
                self.twin.connect(rings[0])
            deal_out(self.twin.shared())
            self.twin.wire()
            self.signals = stack.enter_context(closing(Signals()))
            self.log = stack.enter_context(closing(MonitorLog()))
            run = runloop.run if interpreted else runner()
            hear = FileFailures({}).tell, self.log.take
            bell = None
            if has_bell:
                bell = BootBell(self.twin.monitor, self.twin.guest.cpus[0])
                stack.enter_context(closing(bell))
                self.twin.private.shared().config.attend_port = 1
            self.session = Session(self.twin, rings, run, *hear, bell)
            stack.callback(self._wait_for_threads)
            stack.enter_context(closing(self.session))
            self._write_guest(guest_image(function), function.__name__, interrupts)
            self.report.command = command
            self._stack = stack.pop_all()

    @property
    def report(self) -> Report:
        return Report.at(self.memory.region.address + REPORT)

    def _write_guest(self, image: Image, name: str, interrupts: bool) -> None:
        view = self.memory.region.view

        def put(address: int, words: Sequence[int]) -> None:
            view[address : address + 8 * len(words)] = array("Q", words).tobytes()

        view[GUEST : GUEST + len(image.code)] = image.code
        view[PROCESSOR_START_AT : PROCESSOR_START_AT + len(PROCESSOR_START)] = PROCESSOR_START
        put(GDT, (0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
        put(TABLES, (TABLES + 0x1003,))
        put(TABLES + 0x1000, [TABLES + 0x2003 + 0x1000 * number for number in range(5)])
        put(TABLES + 0x2000, range(0x83, (5 << 30) + 0x83, 2 << 20))
        wake = GUEST + image.symbols["interrupt_wake"]
        gate = wake & 0xFFFF | SELECTOR << 16 | 0x8E << 40 | (wake >> 16 & 0xFFFF) << 48
        put(IDT + 16 * monitor_payload.GUEST_VECTOR, (gate, wake >> 32))
        cpus = self.twin.guest.cpus
        processor = guest.cpuid_of(cpus, self.system.supported_cpuid(), True, apart=False)
        guest.set_cpuid(cpus, processor, apart=False)
        boot = self.twin.guest.cpus[0]
        state = CpuState(
            rip=GUEST + image.symbols[name],
            code=Segment(SELECTOR, CODE, long=True, default_32=False),
            data=Segment(0x10, DATA),
            task=Segment(0, TSS, limit=0x67, nonsystem=False),
            gdt_base=GDT,
            gdt_limit=0x17,
            cr0=0x8001_0031,
            cr3=TABLES,
            cr4=0x20,
            efer=0x500,
        )
        guest.set_start(boot, state)
        registers = boot.registers()
        registers.rdi, registers.rsp = REPORT, STACK - 8
        boot.set_registers(registers)
        system = boot.system_registers()
        if interrupts:
            system.idt.base, system.idt.limit = IDT, 0xFFF
        boot.set_system_registers(system)

    def _wait_for_threads(self) -> None:
        """They have left their loops: a nudge that still finds one must find its handler too."""
        deadline = time.monotonic() + PATIENCE
        for each in self.session.threads:
            while each.native_id and Path(f"/proc/self/task/{each.native_id}").exists():
                assert time.monotonic() < deadline
                select.select([], [], [], 0.001)

    def start(self) -> None:
        """Let it run."""
        assert self.session.prepare()
        self.session.make_threads()
        self.session.start()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end: the exit status."""
        session, watch = self.session, Watch(self.signals, seconds)
        try:
            while session.outcome is None:
                watch.wait({session.ended: select.POLLIN}, session.look(), noted=True)
        except Ended as ended:
            return ended.status
        if session.outcome.error is not None:
            raise GuestError(session.outcome.error)
        return RESET if session.outcome.reset else POWERED_OFF

    def run(self) -> int:
        """Start and wait."""
        self.start()
        return self.wait()

    def close(self) -> None:
        self._stack.close()


def why_not() -> str | None:
    """Why no payload can run here; None: one can."""
    try:
        kvm.open_system().close()
    except UsageError as error:
        return str(error)
    return None
