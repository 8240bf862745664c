"""What the machine's process does: build both VMs, lock itself in, run the guest, say how it ended.

It is a fork of the run's process, whose objects it has as they were. What it says goes through the
link: it has no standard files, and before the guest runs it gives up all that it does not need.
"""

import os
import select
import sys
import time
from _collections_abc import Callable, Iterable, Sequence

from vestige import abi
from vestige.devices import DEVICES
from vestige.errors import GuestError, UsageError
from vestige.host import buses, domains, limits, options
from vestige.host.backends.disks import DiskImage
from vestige.host.backends.ring import Ring
from vestige.host.compiled import Compiled
from vestige.host.files.failures import Failure
from vestige.host.files.opening import Files
from vestige.host.files.size_limit import limit_file_size
from vestige.host.jail import layers
from vestige.host.jail.user import Ids
from vestige.host.kvm import api as kvm
from vestige.host.kvm import guest
from vestige.host.kvm.memory import GuestMemory
from vestige.host.kvm.twin import Twin
from vestige.host.loop import failure, statistics
from vestige.host.loop.session import Session
from vestige.host.messages import tell
from vestige.host.process.link import Kind, Link
from vestige.host.resources import Resources
from vestige.host.thread_name import set_thread_name
from vestige.lang.types import TYPE_CHECKING
from vestige.machine import boot
from vestige.machine.config import MachineConfig
from vestige.place import options_for

if TYPE_CHECKING:
    import signal
    from types import TracebackType
    from typing import NoReturn

    from vestige.host.backends.discards import Discards
    from vestige.host.backends.network import Network
    from vestige.host.jail.cgroup import Group
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

# What a terminal sends to all processes at it, and what ends a run: the run's process has them.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
STANDARD_FILES = 3
DESCRIPTORS = "/proc/self/fd"
MOST_DESCRIPTORS = 1 << 16
BUG = 70  # exit status, EX_SOFTWARE


class Given:
    """What the run's process has opened, and found out, and what it wants.

    `began`: when that process started, in seconds of CLOCK_BOOTTIME; `restarts`: of the guest;
    `user`: whose the machine's process is to be; `group`: the control group made for it.
    """

    __slots__ = (
        "asked", "began", "compiled", "config", "console", "disks", "domains", "entropy", "files",
        "first_instruction", "group", "network", "restarts", "system", "user",
    )  # fmt: skip

    def __init__(
        self,
        asked: options.RunOptions,
        files: Files,
        system: kvm.System,
        config: MachineConfig,
        domains_: int,
        entropy: int | None,
        network: "Network | None",
        compiled: Compiled,
        began: float,
        user: Ids | None,
    ) -> None:
        self.asked, self.files, self.system, self.config = asked, files, system, config
        self.disks, self.console = files.disks, files.consoles
        self.domains, self.entropy, self.network = domains_, entropy, network
        self.compiled, self.began = compiled, began
        self.user = user
        self.restarts = 0
        self.first_instruction = 0.0  # ms from the start of the run's process
        self.group: Group | None = None

    def note_first_instruction(self) -> None:
        """It is about to be, for the first time."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.first_instruction = 1000 * (now - self.began)


class Speaker:
    """In the place of sys.stderr: its lines go through the link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def write(self, text: str) -> int:
        """Send it."""
        self._link.send_text(Kind.LINES, text)
        return len(text)

    def flush(self) -> None:
        """Nothing: what was written has gone."""


def become(link: Link, body: Callable[[], object]) -> "NoReturn":
    """Right behind the fork: do what `body` does, tell of its error, and end."""
    status = BUG
    try:
        link.take_place()
        set_thread_name("the machine")
        sys.stderr = Speaker(link)
        sys.excepthook, sys.unraisablehook = _show, _show_unraisable
        signal.set_wakeup_fd(-1)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*IGNORED, signal.SIGUSR1))
        try:
            layers.end_with_parent()
            body()
            status = 0
        except (GuestError, UsageError, OSError, MemoryError, RuntimeError) as error:
            line = limits.line_of(error)
            if line is None:
                raise
            link.send_text(Kind.FAILED if isinstance(error, GuestError) else Kind.REFUSED, line)
    except BaseException as error:  # noqa: BLE001 - no frame of the run's may see it
        _show(type(error), error, error.__traceback__)
    finally:
        os._exit(status)


def _show(
    kind: type[BaseException], error: BaseException | None, trace: "TracebackType | None"
) -> None:
    """A bug of ours, as Python shows it but for the source lines: no file can be opened here."""
    while trace is not None:
        code = trace.tb_frame.f_code
        sys.stderr.write(f"  {code.co_filename}:{trace.tb_lineno}, in {code.co_qualname}\n")
        trace = trace.tb_next
    sys.stderr.write(f"{kind.__name__}: {error}\n")


def _show_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    _show(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)


def live(given: Given, link: Link, problem: str | None) -> None:
    """One machine's life. `problem`: why there are no namespaces.

    Raises UsageError and GuestError for what fails before the guest runs.
    """
    if given.group is not None:
        given.group.enter()
    inherited = [*filter(_is_open, _descriptors())]
    with Resources() as resources:
        machine = Machine(given, resources, link)
        if machine.prepare():
            machine.lock(problem, inherited)
            machine.go()
        machine.report()
        os._exit(0)  # nothing is to be closed: the kernel does that


class Machine:
    """Both VMs, the rings, the threads."""

    def __init__(self, given: Given, resources: Resources, link: Link) -> None:
        """Build it. Raises UsageError and GuestError."""
        self._given = given
        self._link = link
        self._discards: Discards | None = None
        self._counters = None if given.files.stats is None else statistics.Counters()
        self._sized: tuple[abi.Config, int] | None = None
        asked = given.asked
        memory = resources.keep(GuestMemory(asked.memory))
        twin = resources.keep(Twin(given.system, memory, asked.cpus, given.domains))
        self._twin = twin
        pages = _take_controllers(asked, twin, resources)
        rings = self._connect_rings(resources)
        in_memory = asked.ide == options.IDE_IN_MEMORY
        if in_memory:
            twin.place_ide_in_memory()
        _place_devices(asked, twin)
        domains.deal_out(twin.shared())
        twin.wire()
        _load_guest(asked, given.files, given.config, twin)
        code, runner = given.compiled.code, given.compiled.runner
        twin.load(code, pages)
        twin.configure()
        twin.private.shared().config.options = options_for(DEVICES, asked.devices)
        twin.coalesce(abi.COALESCED_PORTS, abi.COALESCED_MEMORY if in_memory else ())
        self.session = Session(twin, code, rings, runner, self._tell_failures, self._log)

    def _connect_rings(self, resources: Resources) -> list[Ring]:
        """Make each domain's ring, over all files, and tell the monitor of them."""
        given, twin = self._given, self._twin
        config = twin.private.shared().config
        files: list[int] = []
        holed: dict[int, DiskImage] = {}  # by their numbers among the files
        for number, image in given.disks.items():
            image.describe(config.disks[number], number, len(files))
            if image.discard:
                holed[len(files)] = image
            files.append(image.descriptor)
        given.console.describe(config, files)
        if given.entropy is not None:
            config.entropy = len(files)
            files.append(given.entropy)
        if given.network is not None:
            given.network.describe(config.net, len(files))
            files.extend(given.network.descriptors)
        orders = self._take_orders(holed, resources)
        size = self._state_size(config)
        rings: list[Ring] = []
        pinned: dict[tuple[Ring, int], None] = {}
        for domain in range(given.domains):
            eventfd = resources.keep_file(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            twin.monitor.connect_interrupt(abi.Irq.RING + domain, eventfd)
            ring = Ring(
                twin.memory,
                twin.private.host_address(abi.STATE + domain * abi.STATE_SIZE),
                files,
                eventfd,
                state_size=size,
                polled=polls(given.asked, given.domains),
                insists=given.asked.ring != "auto",
                orders=orders[domain],
                domain=domain,
                pinned=pinned,
            )
            rings.append(resources.keep(ring))
            if domain == 0:  # the console's
                self._sized = config, eventfd
            twin.connect(ring)
        return rings

    def _take_orders(self, images: dict[int, DiskImage], resources: Resources) -> Sequence[int]:
        """For each domain's ring the socket for orders to make holes, -1: no disk may have any."""
        if not images:
            return [-1] * self._given.domains
        from vestige.host.backends.discards import Discards  # noqa: PLC0415 - few runs need it

        self._discards = resources.keep(Discards(images, self._given.domains))
        return self._discards.descriptors

    def _state_size(self, config: abi.Config) -> int:
        """How much of a domain's STATE its ring has: it is pinned, so no more than is used."""
        if config.net.pairs:
            return abi.STATE_SIZE if config.net.pairs > 1 else abi.STATE_FIRST
        asked = self._given.asked
        others = any(port.present for port in config.ports) or asked.entropy
        disks = any(disk.bus == options.VIRTIO for disk in asked.disks)
        return abi.STATE_VIRTIO if disks or others else abi.STATE_PLAIN

    def prepare(self) -> bool:
        """Let the monitor initialise; False if that ended it all.

        Raises GuestError where it could not bring a controller up.
        """
        if not self.session.prepare():
            return False
        _check_controllers(self._given.asked, self.session.untrusted.statistics()[0].nvme)
        return True

    def lock(self, problem: str | None, inherited: Iterable[int]) -> None:
        """Give up what the guest's run needs not, `inherited` descriptors too, and make threads.

        Raises UsageError where a layer is off that is required.
        """
        jailed = self._given.asked.jail.is_on
        disks = self._given.disks.values()
        limit_file_size(max((image.sectors * abi.SECTOR for image in disks), default=0))
        self._close(inherited)
        put_on = layers.Layers(problem)
        if jailed:
            put_on.leave_everything(self._given.user)
        if self._discards is not None:
            self._discards.start()
        self.session.make_threads()
        if not jailed:
            return
        listener = put_on.confine(self._given.compiled.filter)
        if listener >= 0:
            self._link.send_descriptor(Kind.LISTENER, listener)
            os.close(listener)
        if put_on.problems:
            self._tell_of(put_on.problems)

    def _close(self, inherited: Iterable[int]) -> None:
        """Close all but what there is of the link, and images to make holes in."""
        kept = {self._link.fileno()}
        kept.update(image.descriptor for image in self._given.disks.values() if image.discard)
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in inherited:
            if descriptor < STANDARD_FILES:
                os.dup2(nowhere, descriptor)
            elif descriptor not in kept:
                os.close(descriptor)
        os.close(nowhere)

    def _tell_of(self, problems: dict[str, str]) -> None:
        words = layers.words(problems)
        if self._given.asked.jail.mode == options.JAIL_REQUIRED:
            raise UsageError(f"--jail require: it is without {words}; `vestige doctor` has cures")
        if not self._given.restarts:
            tell(f"the jail is without {words}")

    def go(self) -> None:
        """Say that the guest could run; run it when told to, until its end, or until told to stop.

        Also where the run's process is no more.
        """
        given, session = self._given, self.session
        self._link.send(Kind.STARTS)
        if (message := self._link.receive()) is None or message[0] != Kind.GO:
            return
        if not given.restarts:
            given.note_first_instruction()
        try:
            session.start()
            self._attend()
        finally:
            session.stop()

    def _attend(self) -> None:
        poll = select.poll()
        poll.register(self.session.ended, select.POLLIN)
        poll.register(self._link, select.POLLIN)
        while self.session.outcome is None:
            wait = self.session.look()
            poll.poll(None if wait is None else 1000 * wait)
            for message in self._link.waiting():
                if message is None or message[0] == Kind.STOP:
                    return
                if message[0] == Kind.SIZE and self._sized is not None:
                    config, wake = self._sized
                    config.columns = int.from_bytes(message[1][:2], "little")
                    config.rows = int.from_bytes(message[1][2:4], "little")
                    os.eventfd_write(wake, 1)

    def report(self) -> None:
        """Tell the counters, and how it ended."""
        given, outcome = self._given, self.session.outcome
        if self._counters is not None:
            first = given.first_instruction
            text = self._counters.text_of(self.session, first, given.restarts)
            self._link.send_text(Kind.COUNTERS, text)
        if outcome is not None and outcome.error is not None:
            self._link.send_text(Kind.FAILED, outcome.error)
        elif outcome is not None:
            self._link.send(Kind.OVER, bytes((outcome.reset,)))

    def _log(self, text: bytes) -> None:
        self._link.send(Kind.LOG, text)

    def _tell_failures(self, failures: Iterable[Failure]) -> None:
        if data := b"".join(map(bytes, failures)):
            self._link.send(Kind.FAILURES, data)


def _descriptors() -> Iterable[int]:
    """Numbers among which are all open ones."""
    try:
        return map(int, os.listdir(DESCRIPTORS))  # noqa: PTH208 - pathlib is slow to import
    except FileNotFoundError:  # /proc is not mounted
        return range(min(os.sysconf("SC_OPEN_MAX"), MOST_DESCRIPTORS))


def _is_open(descriptor: int) -> bool:
    """That of the list itself is not, once the list is made."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def check_guest(asked: options.RunOptions, files: Files, config: MachineConfig) -> None:
    """Load the kernel once, for nothing but the errors of it. Raises UsageError."""
    with Resources() as resources:
        view = resources.keep(GuestMemory(asked.memory)).region.view
        boot.load(view, config, files.kernel, initrd=files.initrd, append=asked.append)


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
