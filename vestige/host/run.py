"""`vestige run` on this machine's KVM: put everything together, wait for the end, clean up."""

import os
from _collections_abc import Callable, Iterable, Sequence

from vestige import abi
from vestige.devices import DEVICES, STANDARD
from vestige.errors import GuestError, UsageError
from vestige.host import buses, domains, images, options
from vestige.host.backends.disks import DiskImage
from vestige.host.backends.ring import Ring
from vestige.host.files.failures import FileFailures
from vestige.host.files.opening import Files, open_files
from vestige.host.files.size_limit import FileSizeLimit
from vestige.host.kvm import api as kvm
from vestige.host.kvm import guest
from vestige.host.kvm.memory import GuestMemory
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.kvm.twin import Twin
from vestige.host.loop import failure, statistics
from vestige.host.loop.ending import until_ended
from vestige.host.loop.monitor_log import MonitorLog
from vestige.host.loop.session import Session
from vestige.host.loop.wait import RESET, wait
from vestige.host.messages import tell
from vestige.host.resources import Resources
from vestige.lang.image import Image
from vestige.lang.types import TYPE_CHECKING
from vestige.machine import boot
from vestige.machine.config import MachineConfig
from vestige.place import options_for
from vestige.signals import Watch

if TYPE_CHECKING:
    from vestige.host.backends.network import Network


Opener = Callable[[options.RunOptions, Resources, Watch], Files]


class Compiled:
    """The monitor and the run loop. Runs leave them as they are."""

    __slots__ = ("code", "runner")

    def __init__(self, monitor: Image, run_loop: Image) -> None:
        self.code = MonitorCode(monitor)
        self.runner = images.runner_of(run_loop)


def compiled_here() -> Compiled:
    """Both, from the cache or compiled."""
    key = images.key()
    return Compiled(images.monitor_image(key), images.run_loop_image(key))


def run(
    asked: options.RunOptions,
    compiled: Compiled | None = None,
    known: kvm.Known | None = None,
    opened: Opener = open_files,
) -> int:
    """Run one guest to its end; the exit status. `compiled` spares it the loading, `known` asking.

    `opened` says what the names in `asked` stand for. 0: the guest powered off. 3: it reset itself,
    and `on_reboot` is exit. 124: the timeout. 128 + n: signal n, SIGPIPE too. Raises UsageError for
    bad input and a machine that can't, GuestError where the guest or its monitor fails.
    """

    def work(resources: Resources, watch: Watch) -> int:
        files = opened(asked, resources, watch)
        return Run(asked, files, watch, resources, compiled, known).to_the_end()

    options.check(asked)
    return until_ended(asked.timeout, work)


class Run:
    """What stays as it is when the guest restarts: disks, console, network, signals, deadline.

    All else is made anew for each machine: RAM, both VMs, the ring, the controllers' queues.
    """

    def __init__(
        self,
        asked: options.RunOptions,
        files: Files,
        watch: Watch,
        resources: Resources,
        compiled: Compiled | None,
        known: kvm.Known | None,
    ) -> None:
        """Each resource is closed by `resources` after what uses it."""
        self.asked, self.files, self.watch = asked, files, watch
        self.counters: dict[str, object] | None = None
        self.config = MachineConfig(
            cpus=asked.cpus, memory=asked.memory, devices=STANDARD.union(asked.devices)
        )
        self.system = resources.keep(kvm.System(known=known))
        self.domains = domains.count(asked.disks, asked.net is not None, asked.cpus)
        self.system.check_cpus(asked.cpus, self.domains)
        self.disks, self.console = files.disks, files.consoles
        self.failures = FileFailures(self.disks)
        self.log = MonitorLog()
        self.entropy = _open_entropy(resources) if asked.entropy else None
        self.network: Network | None = None
        if asked.net is not None:
            from vestige.host.backends.network import open_network  # noqa: PLC0415 - few runs need it

            self.network = resources.keep(open_network(asked.net, asked.cpus))
        largest = max((image.sectors * abi.SECTOR for image in self.disks.values()), default=0)
        self.limit = resources.keep(FileSizeLimit(largest))
        self.console.connect(self.limit.extend)
        self.compiled = compiled
        self.first_instruction = 0.0
        self.restarts = 0

    def to_the_end(self) -> int:
        """One machine after the other, as long as the guest resets and may; the exit status."""
        try:
            status = self._machine()
            while status == RESET and self.asked.on_reboot == "restart":
                for disk in self.disks.values():
                    disk.renew(self.watch)
                if self.network is not None:
                    self.network.renew()
                self.restarts += 1
                status = self._machine()
        finally:
            self._write_last_words()
        if status == RESET:
            tell(failure.RESET_ENDS_RUN)
        return status

    def _write_last_words(self) -> None:
        """The rest of the guest's output, and the statistics.

        The timeout may be over, and is no reason not to write.
        """
        patient = Watch(self.watch.signals)
        try:
            self.console.finish(patient)
        finally:
            self.console.close()
            self.limit.close()
            self.log.close()
            if self.files.stats is not None and self.counters is not None:
                statistics.write(self.files.stats, self.counters, patient)

    def _machine(self) -> int:
        """Run the guest from its power-on to its power-off, reset, failure, or the run's end."""
        asked = self.asked
        with Resources() as resources:
            memory = resources.keep(GuestMemory(asked.memory))
            twin = resources.keep(Twin(self.system, memory, asked.cpus, self.domains))
            pages = _take_controllers(asked, twin, resources)
            rings = self._connect_rings(twin, resources)
            in_memory = asked.ide == options.IDE_IN_MEMORY
            if in_memory:
                twin.place_ide_in_memory()
            _place_devices(asked, twin)
            domains.deal_out(twin.shared())
            twin.wire()
            _load_guest(asked, self.files, self.config, twin)
            if self.compiled is None:  # late, as bad input is told before anything is compiled
                self.compiled = compiled_here()
            twin.load(self.compiled.code, pages)
            twin.configure()
            twin.private.shared().config.options = options_for(DEVICES, asked.devices)
            twin.coalesce(abi.COALESCED_PORTS, abi.COALESCED_MEMORY if in_memory else ())
            code, runner = self.compiled.code, self.compiled.runner
            session = resources.keep(Session(twin, code, rings, runner, self.failures, self.log))
            self.watch.check()  # all until here may have taken a while
            return self._session(session)

    def _connect_rings(self, twin: Twin, resources: Resources) -> list[Ring]:
        """Make each domain's ring, over all files, and tell the monitor of them."""
        config = twin.private.shared().config
        files: list[int] = []
        holed: dict[int, DiskImage] = {}  # by their numbers among the files
        for number, image in self.disks.items():
            image.describe(config.disks[number], number, len(files))
            if image.discard:
                holed[len(files)] = image
            files.append(image.descriptor)
        self.console.describe(config, files)
        if self.entropy is not None:
            config.entropy = len(files)
            files.append(self.entropy)
        if self.network is not None:
            self.network.describe(config.net, len(files))
            files.extend(self.network.descriptors)
        orders = self._take_orders(holed, resources)
        size = self._state_size(config)
        rings: list[Ring] = []
        pinned: dict[tuple[Ring, int], None] = {}
        for domain in range(self.domains):
            eventfd = resources.keep_file(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            twin.monitor.connect_interrupt(abi.Irq.RING + domain, eventfd)
            ring = Ring(
                twin.memory,
                twin.private.host_address(abi.STATE + domain * abi.STATE_SIZE),
                files,
                eventfd,
                state_size=size,
                polled=polls(self.asked, self.domains),
                insists=self.asked.ring != "auto",
                orders=orders[domain],
                domain=domain,
                pinned=pinned,
            )
            rings.append(resources.keep(ring))
            if domain == 0:  # the console's
                self.console.follow_size(config, eventfd)
            twin.connect(ring)
        return rings

    def _take_orders(self, images: dict[int, DiskImage], resources: Resources) -> Sequence[int]:
        """For each domain's ring the socket for orders to make holes, -1: no disk may have any."""
        if not images:
            return [-1] * self.domains
        from vestige.host.backends.discards import Discards  # noqa: PLC0415 - few runs need it

        discards = resources.keep(Discards(images, self.domains))
        discards.start()
        return discards.descriptors

    def _state_size(self, config: abi.Config) -> int:
        """How much of a domain's STATE its ring has: it is pinned, so no more than is used."""
        if config.net.pairs:
            return abi.STATE_SIZE if config.net.pairs > 1 else abi.STATE_FIRST
        asked = self.asked
        others = any(port.present for port in config.ports) or asked.entropy
        disks = any(disk.bus == options.VIRTIO for disk in asked.disks)
        return abi.STATE_VIRTIO if disks or others else abi.STATE_PLAIN

    def _session(self, session: Session) -> int:
        try:
            if session.prepare():
                _check_controllers(self.asked, session.untrusted.statistics()[0].nvme)
                if not self.restarts:
                    self.files.start()
                    self.watch.begin()
                    if self.files.stats is not None:
                        self.first_instruction = statistics.milliseconds_since_start()
                session.start()
            return wait(session, self.watch, self.console, self.network)
        finally:
            session.stop()
            if self.files.stats is not None:
                self.counters = statistics.collect(session, self.first_instruction, self.restarts)


def _load_guest(asked: options.RunOptions, files: Files, config: MachineConfig, twin: Twin) -> None:
    """Fill RAM and give the guest's CPUs their first state."""
    state = boot.load(
        twin.memory.region.view, config, files.kernel, initrd=files.initrd, append=asked.append
    )
    deadline = bool(twin.system.has(kvm.Capability.TSC_DEADLINE_TIMER))
    guest.set_cpuid(twin.guest.cpus, twin.system.supported_cpuid(), deadline)
    for cpu in twin.guest.cpus:
        for number, value in state.msrs:
            cpu.set_msr(number, value)
    guest.set_start(twin.guest.cpus[0], state)


def _open_entropy(resources: Resources) -> int:
    """The kernel's random bytes, the same that getrandom(2) gives."""
    try:
        descriptor = os.open("/dev/urandom", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"/dev/urandom: {error.strerror}; make it, or leave --rng out") from None
    return resources.keep_file(descriptor)


def _place_devices(asked: options.RunOptions, twin: Twin) -> None:
    """Where the guest finds what was asked for."""
    config = twin.private.shared().config
    buses.place_disks(config, asked.disks, asked.cpus)
    if asked.net is not None:
        buses.place_network(config)
    buses.place_consoles(config)
    if asked.entropy:
        buses.place_entropy(config)


def _take_controllers(
    asked: options.RunOptions, twin: Twin, resources: Resources
) -> Sequence[tuple[int, int, int]]:
    """Take the NVMe controllers that are asked for; their memory, for the page tables."""
    if all(disk.controller is None for disk in asked.disks):
        return ()
    from vestige.host.vfio.pass_through import PassThrough  # noqa: PLC0415 - few runs need it

    return resources.keep(PassThrough(twin, asked.disks)).pages


def _check_controllers(asked: options.RunOptions, reports: Iterable[abi.NvmeReport]) -> None:
    """Raise GuestError for a controller that the monitor could not bring up."""
    addresses = [disk.controller for disk in asked.disks if disk.controller is not None]
    for report, address in zip(reports, addresses, strict=False):
        if report.failure:
            raise GuestError(f"--disk vfio:{address}: {failure.controller(report)}")


def polls(asked: options.RunOptions, rings: int = 1) -> bool:
    """Whether a kernel thread for each of the rings takes their entries.

    It pays where a driver's requests reach the ring without an exit, and where there is a CPU
    for it that the guest leaves free: on one that it shares, its looking takes the guest's time.
    """
    if asked.ring != "auto":
        return asked.ring == "poll"
    without_exits = any(disk.bus == options.VIRTIO and not disk.controller for disk in asked.disks)
    return without_exits and len(os.sched_getaffinity(0)) >= asked.cpus + rings
