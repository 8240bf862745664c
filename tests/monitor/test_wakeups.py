"""No wake-up of a worker is lost, however CPUs, workers, drivers and the kernel take their turns.

The code is the monitor's own, in CPython; a step is a place where it touches what others do.
"""

import sys
from collections.abc import Callable
from functools import partial
from unittest import mock

import pytest

from tests.devices.virtio.reference import Buffer
from tests.monitor.fake_ring import FakeRing
from tests.monitor.interleaving import Schedule
from tests.monitor.rig import Rig
from tests.monitor.virtio_guest import DATA, IN, DiskQueue, VirtioDisk
from vestige import abi
from vestige.lang.intrinsics import Processor, address_of, running_on
from vestige.monitor.core import lock
from vestige.monitor.core.trap_turn import serve
from vestige.monitor.core.worker_turn import work
from vestige.monitor.drivers.ring.spec import CompletionFlag, Submission
from vestige.monitor.outside import kvm

REQUESTS = 3  # of each disk
TRAPS = 4  # of each CPU
WRITES = 3  # of each CPU, to a register that both write
RUNS = 12  # of each kind
CONFIG_VECTOR, STATUS, NOTIFY = 0x10, 0x14, abi.VIRTIO_NOTIFY
CPUS = 2  # that trap for other reasons; behind them is one for each driver
SPINS = 1


class Race(Processor):
    """One machine, and one order of all that happens to it; every actor's processor."""

    def __init__(
        self,
        seed: int,
        *,
        domains: int,
        inline: bool,
        uart: bool,
        share: bool = False,
        exits: bool = False,
    ) -> None:
        """`exits`: a notification may be an exit, and the driver's own CPU looks at the queues."""
        self.schedule = Schedule(seed, (0.05, 0.2, 0.5)[seed % 3])
        count = 1 if share else domains
        disks = [bytearray([number]) * 4096 for number in range(count)]
        each = domains // count
        cpus = CPUS + domains
        self.rig = Rig(disks=disks, virtio=True, cpus=cpus, domains=domains, queues=each).start()
        self.exits = exits
        self.share = share
        whole = [VirtioDisk(self.rig, number, queues=each) for number in range(count)]
        self.disks: list[DiskQueue] = [queue for disk in whole for queue in disk.queues]
        self.bar = whole[-1].bar
        self.bars = [disk.bar for disk in whole for _ in disk.queues]
        self.pending = [False] * domains  # interrupts in the workers' local APICs
        self.uart = uart
        self.asked: list[set[int]] = [set() for _ in range(domains)]
        for domain in range(domains):
            self.rig.rings[domain].inline = inline
            self.rig.work(domain)
            self.schedule.add(f"worker {domain}", partial(self.worker, domain))
            self.schedule.add(f"driver {domain}", partial(self.driver, domain))
            if not inline:
                self.schedule.add(f"kernel {domain}", partial(self.kernel, domain))
        for cpu in range(CPUS):
            self.schedule.add(f"CPU {cpu}", partial(self.cpu, cpu))

    # ---- the actors ------------------------------------------------------------------------

    def worker(self, domain: int) -> None:
        """Sleeps in HLT; an interrupt that came meanwhile ends that at once."""
        rig = self.rig
        while True:
            self.schedule.wait(lambda: self.pending[domain] or self.others_are_done())
            if not self.pending[domain]:
                return
            self.pending[domain] = False
            work(rig.workers[domain], rig.machines[domain], rig.shared_by_domain[domain])

    def others_are_done(self) -> bool:
        """Whether nobody is left who could wake anybody."""
        others = [actor for actor in self.schedule.actors if not actor.name.startswith("worker")]
        return all(actor.over for actor in others) and not any(self.pending)

    def driver(self, domain: int) -> None:
        """A guest's virtio driver, which asks for one thing after the other, and waits for none."""
        disk = self.disks[domain]
        for number in range(REQUESTS):
            place = Buffer(DATA + 512 * (8 * domain + number), 512, writable=True)
            self.asked[domain].add(disk.ask(IN, number, place))
            self.schedule.step()
            if disk.driver.kick():
                self.schedule.step()
                if self.exits and self.schedule.random.random() < 0.5:
                    offset = NOTIFY + abi.VIRTIO_NOTIFY_STRIDE * disk.queue
                    self.store(CPUS + domain, self.bars[domain] + offset, 0)
                else:
                    self.pending[domain] = True
            self.schedule.step()

    def kernel(self, domain: int) -> None:
        """Completes what was taken, at any later time."""
        ring = self.rig.rings[domain]
        for _ in range(REQUESTS):
            self.schedule.wait(lambda: len(ring.taken) > 0)
            ring.complete()

    def cpu(self, number: int) -> None:
        """A guest's CPU that traps now and then, in any domain."""
        rig = self.rig
        shown = rig.cpus[number].exit
        union = address_of(shown.union)
        for turn in range(TRAPS):
            record = abi.RunIo.at(union)
            shown.reason = abi.ExitReason.IO
            record.direction, record.size, record.count, record.data_offset = 1, 1, 1, 4096
            record.port = abi.PORT_UART if self.uart else 0x80
            if turn % 2:
                shown.reason = abi.ExitReason.MMIO
                access = abi.RunMmio.at(union)
                access.address, access.length, access.is_write = self.bar + STATUS, 1, 0
            serve(rig.cpus[number], rig.machine, rig.shared)
            self.schedule.step()
        for _ in range(WRITES if self.share else 0):
            self.store(number, self.bar + CONFIG_VECTOR, number)
            self.schedule.step()

    def store(self, cpu: int, address: int, value: int) -> None:
        """A CPU's store of two bytes, which exits."""
        shown = self.rig.cpus[cpu].exit
        shown.reason = abi.ExitReason.MMIO
        access = abi.RunMmio.at(address_of(shown.union))
        access.address, access.length, access.is_write = address, 2, 1
        access.data[0] = value
        serve(self.rig.cpus[cpu], self.rig.machine, self.rig.shared)

    # ---- what they share -------------------------------------------------------------------

    def run(self) -> None:
        """To the end; then nothing may be left."""
        with (
            mock.patch.object(lock, "SPINS", SPINS),
            mock.patch.object(FakeRing, "finish", self.finishing()),
            running_on(self),
        ):
            self.schedule.run()
        for disk, asked in zip(self.disks, self.asked, strict=True):
            assert set(disk.done()) == asked
        devices = [machine.virtio.functions[0].device for machine in self.rig.machines]
        assert not self.share or len({device.config_vector for device in devices}) == 1
        assert self.rig.machine.sharing.held == 0
        for machine in self.rig.machines:
            assert machine.lock.held == machine.lock.left == 0
            assert machine.armed <= machine.next_deadline()

    def before_ordered_access(self) -> None:
        """Others may go on here."""
        self.schedule.step()

    def pause(self) -> None:
        """Who may leave its turn goes on; who may not waits until the lock is free."""
        frame = sys._getframe(2)  # behind the intrinsic
        if frame.f_code.co_name == "take_or_leave":
            self.schedule.step()
        else:
            held = frame.f_locals["self"]
            self.schedule.wait(lambda: held.held == 0)

    def timestamp(self) -> int:
        """RDTSC."""
        return self.rig.timestamp()

    def port_out8(self, port: int, value: int) -> None:
        """A doorbell, or a call of the running CPU."""
        self.schedule.step()
        if port == abi.PORT_CALL:
            name = self.schedule.now.name  # type: ignore[union-attr]
            number = int(name.split()[1])
            if name.startswith("worker"):
                self.rig.running = self.rig.workers[number]
            else:
                self.rig.running = self.rig.cpus[number + CPUS * name.startswith("driver")]
        if (port, value) == (abi.PORT_CALL, abi.Call.KICK):
            self.rig.rings[self.rig.running.argument[0]].enter()
        else:
            self.rig.port_out8(port, value)
        self.schedule.step()

    def write_msr(self, number: int, value: int) -> None:
        """An interrupt of a worker, or its timer."""
        self.schedule.step()
        if number == kvm.INTERRUPT_COMMAND:
            self.pending[(value >> 32) - len(self.rig.cpus)] = True

    def finishing(self) -> Callable[[FakeRing, Submission], None]:
        """FakeRing.finish, with the kernel's steps: the tail, then the flag, then the eventfd."""
        rings = self.rig.rings

        def finish(ring: FakeRing, submission: Submission) -> None:
            result = ring.perform(submission)
            self.schedule.step()
            place = ring.completions[ring.words.cq_tail % (2 * ring.entries)]
            place.user_data, place.result = submission.user_data, result
            ring.words.cq_tail = ring.words.cq_tail + 1
            self.schedule.step()
            if not ring.words.cq_flags & CompletionFlag.EVENTFD_DISABLED:
                self.schedule.step()
                self.pending[rings.index(ring)] = True

        return finish


@pytest.mark.parametrize("uart", [False, True])
@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("domains", [1, 2])
def test_no_order_loses_a_wakeup(domains: int, inline: bool, uart: bool) -> None:
    for seed in range(RUNS):
        try:
            Race(seed, domains=domains, inline=inline, uart=uart).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("uart", [False, True])
@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("domains", [2, 3])
def test_nor_where_domains_share_a_disk_and_both_cpus_access_it(
    domains: int, inline: bool, uart: bool
) -> None:
    for seed in range(RUNS):
        try:
            Race(seed, domains=domains, inline=inline, uart=uart, share=True).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("domains", [1, 2])
def test_nor_where_a_cpu_serves_its_own_notifications_now_and_then(
    domains: int, inline: bool, share: bool
) -> None:
    for seed in range(RUNS):
        try:
            Race(seed, domains=domains, inline=inline, uart=False, share=share, exits=True).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
