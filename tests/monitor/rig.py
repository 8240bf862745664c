"""The whole monitor in CPython: its state, a fake host, guest CPUs that are method calls."""

import ctypes
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tests.monitor.fake_ring import FakeRing
from vestige import abi
from vestige.devices import DEVICES, POSTS
from vestige.host.buses import place_disks
from vestige.host.domains import deal_out
from vestige.host.options import VIRTIO, DiskOption
from vestige.lang.intrinsics import Processor, address_of, running_on
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.posted import begin_posts
from vestige.monitor.core.trap_turn import serve
from vestige.monitor.core.worker_turn import work
from vestige.monitor.line import NEVER
from vestige.monitor.outside import kvm
from vestige.place import Post, options_for

RAM_SIZE = 8 * abi.MIB
TSC_KHZ = 1_000_000  # a counter of nanoseconds
DATA_OFFSET = 4096  # of port data in a kvm_run page, as KVM has it


class PoweredOff(Exception):
    """The monitor called POWER; its argument."""


class Rig(Processor):
    """One machine, and the processor its monitor runs on, in KVM's transport.

    `routed`, `pinned`, `told` and `rung` are what the host has seen.

    With `ide_in_memory`, `pages_shown` are what the guest reads at abi.IDE_MEMORY. A virtio disk
    has as many `queues` as there are CPUs, unless told. `devices` are the fields of those that the
    user asks for by their options.
    """

    def __init__(
        self,
        *,
        disks: list[bytearray] | None = None,
        console: bool = True,
        reads_input: bool = False,
        cpus: int = 1,
        read_only: bool = False,
        ide_in_memory: bool = False,
        virtio: bool = False,
        domains: int = 1,
        queues: int | None = None,
        devices: Collection[str] = (),
    ) -> None:
        self.disks = disks or []
        self.output: list[bytes] = []
        self.input: list[bytes] = []
        files: list[bytearray | list[bytes]] = [*self.disks, self.output, self.input]
        self.rings = [FakeRing(files) for _ in range(domains)]
        self.ring = self.rings[0]
        self.memory = (ctypes.c_uint8 * RAM_SIZE)()
        self.running = abi.Cpu()  # whose call is being served
        self.state = (ctypes.c_uint8 * (domains * abi.STATE_SIZE))()
        self.machines = [
            Machine.from_buffer(self.state, domain * abi.STATE_SIZE) for domain in range(domains)
        ]
        self.machine = self.machines[0]
        self.shared_memory = (ctypes.c_uint8 * (domains * abi.SHARED_STRIDE))()
        self.shared_by_domain = [
            abi.Shared.from_buffer(self.shared_memory, domain * abi.SHARED_STRIDE)
            for domain in range(domains)
        ]
        self.shared = self.shared_by_domain[0]
        self.cpus = [abi.Cpu(index=index) for index in range(cpus)]
        self.pages = [(ctypes.c_uint8 * abi.RUN_STRIDE)() for _ in range(cpus)]
        for cpu, page in zip(self.cpus, self.pages, strict=True):
            cpu.run = ctypes.addressof(page)
        self.workers = [abi.Cpu(index=cpus + domain) for domain in range(domains)]
        self.worker = self.workers[0]
        self.rung: list[int] = []
        self.routed: list[tuple[int, int, int]] = []
        self.wired: set[int] = set()  # GSIs
        self.pinned: list[int] = []
        self.told: list[bytes] = []
        self.pin_answer = 0
        self.map_answer = 0
        self.mapped: list[tuple[int, int]] = []  # regions, and where
        self.calls: list[int] = []
        self.bells = 0  # rung, of the boot CPU's
        self.reply = 0  # the call that the last turn of a guest's CPU ended with
        self.wakes = 0  # of the first worker, by another CPU
        self.woken: list[int] = []  # workers, by another CPU
        self.timer = 0  # its initial count
        self.expiry = NEVER  # and when that has run down
        self.now = 0
        self.step = 100  # ns between two looks at the time
        self.configure(cpus, console, reads_input, read_only)
        self.pages_shown = (ctypes.c_uint8 * (abi.IDE_MEMORY_PAGES * abi.IDE_MEMORY_PAGE))()
        if ide_in_memory:
            self.shared.config.ide_in_memory = 1
            self.shared.config.shadow = ctypes.addressof(self.pages_shown)
        self.shared.config.options = options_for(DEVICES, devices)
        if virtio:
            place_disks(
                self.shared.config, [DiskOption("", VIRTIO)] * len(self.disks), queues or cpus
            )
        deal_out(self.shared_by_domain)

    def configure(self, cpus: int, console: bool, reads_input: bool, read_only: bool) -> None:
        """What the host writes before the monitor's first instruction."""
        for domain, shared in enumerate(self.shared_by_domain):
            config = shared.config
            config.cpus = cpus
            config.tsc_khz = TSC_KHZ
            config.ram.low = ctypes.addressof(self.memory)
            config.ram.low_size = RAM_SIZE
            ram, state = ctypes.addressof(self.memory), address_of(self.machines[domain])
            self.rings[domain].describe(config.ring, ram, state)
        config = self.shared.config
        for number, data in enumerate(self.disks):
            disk = config.disks[number]
            disk.present = 1
            disk.read_only = read_only
            disk.channel, disk.unit = number >> 1, number & 1
            disk.file = number
            disk.sectors = len(data) // 512
        config.console.present = console
        config.console.output = len(self.disks)
        config.console.input = len(self.disks) + 1 if reads_input else -1

    # ---- the host --------------------------------------------------------------------------

    def port_out8(self, port: int, value: int) -> None:
        """The monitor's OUT: a doorbell or a call."""
        if port == abi.PORT_CALL:
            self.serve(abi.Call(value))
        elif port == abi.PORT_ATTEND:
            assert self.shared.config.attend_port
            self.attend()
            self.bells += 1
        else:
            gsi = port - abi.PORT_DOORBELL
            assert 0 <= gsi < abi.GSIS
            # A vector's, by an only CPU, may wait for the next call: nobody else changes messages.
            assert self.machines[self.domain_of(gsi)].lock.held or len(self.cpus) == 1
            assert gsi in self.wired
            self.rung.append(gsi)

    def ring_held(self, cpu: abi.Cpu) -> None:
        """The doorbell that DONE rings."""
        if self.reply == abi.Call.DONE and cpu.bell[0]:
            self.rung.append(cpu.bell[0] - 1)
            assert self.rung[-1] in self.wired
        cpu.bell[0] = 0

    def domain_of(self, gsi: int) -> int:
        """Whose a doorbell is."""
        function = (gsi - abi.VIRTIO_GSI) // abi.VIRTIO_VECTORS
        if function < 0 or gsi == abi.INIT_GSI:
            return 0
        share, number = divmod(function, abi.MAX_VIRTIO)
        assert share < self.shared.config.shares[number]
        return self.shared.config.homes[number] + share

    def domain_of_queue(self, number: int, queue: int) -> int:
        """Who serves a queue of a virtio function."""
        config = self.shared.config
        return config.homes[number] + queue % config.shares[number]

    def serve(self, call: abi.Call) -> None:
        """One host call, of whichever CPU is running."""
        self.calls.append(call)
        argument = self.running.argument[0]
        domain = self.running.argument[1]
        if call == abi.Call.KICK:
            assert not self.machines[argument].lock.held
            self.rings[argument].enter()
        elif call == abi.Call.PIN:
            self.pinned.append(argument)
            self.running.argument[0] = self.pin_answer
            if not self.pin_answer:
                self.register(argument, domain)
        elif call == abi.Call.ROUTE:
            assert domain == self.domain_of(argument)
            route = self.shared_by_domain[domain].routes[argument]
            self.wired.add(argument)
            self.routed.append((argument, route.address, route.data))
        elif call == abi.Call.MAP:
            assert self.machine.lock.held
            self.running.argument[0] = self.map_answer
            if not self.map_answer:
                self.mapped.append((argument, domain))
        elif call == abi.Call.ATTEND:
            assert not self.shared.config.attend_port
            self.attend()
        elif call == abi.Call.LOG:
            self.told.append(bytes(self.shared.log[index] for index in range(argument)))
        elif call == abi.Call.POWER:
            raise PoweredOff(abi.Power(argument).name)

    def attend(self) -> None:
        """The boot CPU's guest is to exit: the worker gives the lock back before."""
        assert self.running in self.cpus or not self.machine.lock.held

    def register(self, chunk: int, domain: int = 0) -> None:
        """Make a chunk of RAM a buffer of a domain's ring."""
        address = ctypes.addressof(self.memory) + chunk * abi.CHUNK
        self.rings[domain].buffers[abi.FIRST_CHUNK_BUFFER + chunk] = (address, abi.CHUNK)

    def write_msr(self, number: int, value: int) -> None:
        """WRMSR: an IPI to a worker, or its timer."""
        if number == kvm.INTERRUPT_COMMAND:
            domain = (value >> 32) - len(self.cpus)
            assert 0 <= domain < len(self.workers)
            if value & 0xFF == abi.FENCE_VECTOR:
                assert domain == 0
                self.worker.signals[abi.FENCE_SIGNAL] = 1
            else:
                assert value & 0xFF == abi.WORKER_VECTOR
                self.wakes += domain == 0
                self.woken.append(domain)
        elif number == kvm.INITIAL_COUNT:
            self.timer = value
            self.expiry = self.now + value

    @contextmanager
    def entered(self, cpu: abi.Cpu) -> Iterator[None]:
        """While the monitor runs on `cpu`."""
        before, self.running = self.running, cpu
        with running_on(self):
            yield
        self.running = before

    def pause(self) -> None:
        """PAUSE of a CPU that waits for the worker gives it its turn."""
        if self.machine.fence.asked:
            assert not self.machine.lock.held
            self.work()

    def timestamp(self) -> int:
        """RDTSC: time goes on a little at every look."""
        self.now += self.step
        return self.now

    # ---- the guest -------------------------------------------------------------------------

    def start(self) -> "Rig":
        """Power on."""
        for machine, shared in zip(self.machines, self.shared_by_domain, strict=True):
            machine.reset(shared.config)
        begin_posts(self.machine, self.shared.config)  # the worker's first act
        return self

    def enter(self, cpu: int = 0) -> None:
        """The monitor's answer to the exit in this Cpu."""
        held = [machine.lock.held for machine in self.machines]
        with self.entered(self.cpus[cpu]):
            self.reply = serve(self.cpus[cpu], self.machine, self.shared)
        self.ring_held(self.cpus[cpu])
        assert [machine.lock.held for machine in self.machines] == held

    def port(self, port: int, size: int, data: bytes, *, write: bool, cpu: int = 0) -> bytes:
        """A port access of len(data) / size times; what stands in its place afterwards."""
        page, shown = self.cpus[cpu].run, self.cpus[cpu].exit
        shown.reason = abi.ExitReason.IO
        record = abi.RunIo.at(address_of(shown.union))
        record.direction, record.size, record.port = write, size, port
        record.count, record.data_offset = len(data) // size, DATA_OFFSET
        ctypes.memmove(page + DATA_OFFSET, data, len(data))
        before = self.answer(record)
        self.enter(cpu)
        found = ctypes.string_at(page + DATA_OFFSET, len(data))
        assert before in (None, found), "what the host would answer is what the monitor does"
        return found

    def answer(self, record: abi.RunIo) -> bytes | None:
        """What the host answers that access without the monitor, if it does."""
        page = self.shared.config.coalesced
        if page and abi.CoalescedRing.at(page).first != abi.CoalescedRing.at(page).last:
            return None
        asked = int.from_bytes(bytes(record)[:4], "little")
        for known in self.shared.answers.known:
            if known & 0xFFFF_FFFF == asked and record.count == 1:
                return bytes([known >> 32 & 0xFF])
        return None

    def out(self, port: int, value: int, size: int = 1, cpu: int = 0) -> None:
        """OUT."""
        self.port(port, size, value.to_bytes(size, "little"), write=True, cpu=cpu)

    def inp(self, port: int, size: int = 1, cpu: int = 0) -> int:
        """IN."""
        return int.from_bytes(self.port(port, size, bytes(size), write=False, cpu=cpu), "little")

    def memory_access(self, address: int, size: int, value: int | None, cpu: int = 0) -> int:
        """An access outside RAM; None reads."""
        shown = self.cpus[cpu].exit
        shown.reason = abi.ExitReason.MMIO
        record = abi.RunMmio.at(address_of(shown.union))
        record.address, record.length, record.is_write = address, size, value is not None
        place = address_of(record.data)
        ctypes.memmove(place, (value or 0).to_bytes(8, "little"), 8)
        self.enter(cpu)
        return int.from_bytes(ctypes.string_at(place, size), "little")

    def read(self, address: int, size: int = 4, cpu: int = 0) -> int:
        """A load outside RAM."""
        return self.memory_access(address, size, None, cpu)

    def write(self, address: int, value: int, size: int = 4, cpu: int = 0) -> None:
        """A store outside RAM."""
        self.memory_access(address, size, value, cpu)

    def look(self, address: int, size: int = 1) -> int:
        """A load from the pages at IDE_MEMORY, which doesn't exit."""
        offset = address - abi.IDE_MEMORY
        return int.from_bytes(bytes(self.pages_shown)[offset : offset + size], "little")

    def post(self, address: int, value: int) -> None:
        """A store that KVM turns into an interrupt of the worker."""
        self.worker.signals[POSTS.index(Post(address, value))] = 1

    def end_of_interrupt(self, vector: int, cpu: int = 0) -> None:
        """A local APIC's EOI of a level interrupt."""
        shown = self.cpus[cpu].exit
        shown.reason = abi.ExitReason.IOAPIC_EOI
        abi.RunEoi.at(address_of(shown.union)).vector = vector
        self.enter(cpu)

    def shut_down(self, cpu: int = 0, reason: abi.ExitReason = abi.ExitReason.SHUTDOWN) -> None:
        """A triple fault, or what else a processor can't go on after."""
        self.cpus[cpu].exit.reason = reason
        self.enter(cpu)

    def work(self, domain: int = 0) -> None:
        """A worker wakes; the first one's timer too, if it has run down."""
        if domain == 0 and self.now >= self.expiry:
            self.expiry = NEVER
            self.worker.signals[abi.TIMER_SIGNAL] = 1
        worker, machine = self.workers[domain], self.machines[domain]
        with self.entered(worker):
            work(worker, machine, self.shared_by_domain[domain])
        assert not machine.lock.held

    def enable_pin(self, pin: int, vector: int, flags: int = 0) -> None:
        """Program a redirection entry, unmasked, as a guest does."""
        for half, value in ((1, 0), (0, vector | flags)):
            self.write(abi.IOAPIC, 0x10 + 2 * pin + half)
            self.write(abi.IOAPIC + 0x10, value)
