"""`vestige run` on this machine's KVM: open what is asked for, start machines, wait for the end.

The machine itself, both VMs and the threads in them, is another process's, one for each start of
the guest: process/.
"""

import os
import time
from _collections_abc import Callable, Sequence

from vestige.errors import GuestError, UsageError
from vestige.host import domains, images, options
from vestige.host.backends.drive import Drive
from vestige.host.compiled import Compiled, compiled_here, kept_here
from vestige.host.control.server import Control, open_control
from vestige.host.files.failures import FileFailures
from vestige.host.files.opening import Files, open_files
from vestige.host.jail.user import find as find_user
from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import PRIVATE_SIZE
from vestige.host.loop import failure, statistics
from vestige.host.loop.ending import until_ended
from vestige.host.loop.monitor_log import MonitorLog
from vestige.host.loop.wait import RESET, wait
from vestige.host.messages import tell
from vestige.host.process.inner import check_guest
from vestige.host.process.orders import Orders, config_of, orders
from vestige.host.process.outer import MachineProcess, ProcessLines, machine_process
from vestige.host.resources import Resources
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.config import MachineConfig
from vestige.signals import SIGNALLED, Ended, Told, Watch

if TYPE_CHECKING:
    import signal
    from typing import Any

    from vestige.host.backends.network import Network
    from vestige.host.jail.cgroup import Group
    from vestige.host.process.mould import Mould
    from vestige.host.viewer.outer import ViewerProcess
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum


CACHE_FILES = 4  # descriptors that looking into the cache takes at once
Opener = Callable[[options.RunOptions, Resources, Watch], Files]


class Ready:
    """What there is before a run is asked for, and so spares it some time.

    `compiled`; what is `known` of this machine's KVM; a process for the first `machine`, in a jail.
    `began`: when the run was asked for, in seconds of CLOCK_BOOTTIME. `started` is called once the
    guest runs. `control` opens the run's. `hold`: a guest that is thawed waits until something
    comes to this socket, and `stands` is called once it does; the run ends where the other side of
    it is closed. `told`: what ends it in the place of signals, where its process has other runs as
    well; `machine` is all it ever has then, as there can be no fork.
    """

    __slots__ = (
        "began", "compiled", "control", "hold", "known", "machine", "stands", "started", "told",
    )  # fmt: skip

    def __init__(
        self,
        compiled: Compiled | None = None,
        known: kvm.Known | None = None,
        machine: MachineProcess | None = None,
        began: float | None = None,
        started: Callable[[], object] = lambda: None,
        control: "Callable[[options.RunOptions, Callable[[], object]], Control]" = open_control,
        hold: int = -1,
        stands: Callable[[], object] = lambda: None,
        told: Told | None = None,
    ) -> None:
        self.told = told
        self.compiled, self.known, self.machine, self.began = compiled, known, machine, began
        self.started, self.control = started, control
        self.hold, self.stands = hold, stands


def run(asked: options.RunOptions, ready: Ready | None = None, opened: Opener = open_files) -> int:
    """Run one guest to its end; the exit status. `opened` says what the names in `asked` stand for.

    0: the guest powered off. 3: it reset itself, and `on_reboot` is exit. 124: the timeout.
    128 + n: signal n, SIGPIPE too. Raises UsageError for bad input and a machine that can't,
    GuestError where the guest or its monitor fails.
    """
    there = ready or Ready()

    def work(resources: Resources, watch: Watch) -> int:
        return _opened(asked, there, opened, resources, watch).to_the_end()

    options.check(asked)
    return until_ended(asked.timeout, work, there.told)


def mould(asked: options.RunOptions, ready: Ready, opened: Opener) -> "Mould":
    """Of a machine that is asked for, by a run that ends before there is one. `asked` is its own.

    Raises as `run`, and where there is no mould for such a machine.
    """
    from vestige.host.process.mould import Mould  # noqa: PLC0415 - no run needs it

    made: list[Mould] = []

    def work(resources: Resources, watch: Watch) -> int:
        run = _opened(asked, ready, opened, resources, watch)
        made.append(Mould(run.orders(None, ()), run.compiled, run.system.known))
        return 0

    options.check(asked)
    if until_ended(asked.timeout, work) or not made:
        raise GuestError("ended before there was a mould")
    return made[0]


def _opened(
    asked: options.RunOptions, ready: Ready, opened: Opener, resources: Resources, watch: Watch
) -> "Run":
    """A run with all that its user names open."""
    control = resources.keep(ready.control(asked, watch.signals.end))
    watch.beside.append(control)
    if control.agent is not None:
        asked.place_agent(control.agent)
    files = opened(asked, resources, watch)
    control.events = files.events
    if asked.drive is not None:
        control.drive = resources.keep(Drive(asked.drive, files.disks))
    return Run(asked, files, watch, resources, ready, control)


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
        ready: Ready,
        control: Control,
    ) -> None:
        """Each resource is closed by `resources` after what uses it."""
        self.asked, self.files, self.watch, self.control = asked, files, watch, control
        self.counters = b""
        self.config = config_of(asked)
        self.system = resources.keep(kvm.open_system(known=ready.known))
        frozen = files.frozen
        self.domains = (
            domains.count(asked.disks, asked.net is not None, asked.cpus)
            if frozen is None
            else frozen.domains
        )
        self.system.check_cpus(asked.cpus, self.domains)
        self.console = files.consoles
        self.failures = FileFailures(files.disks)
        self.log, self.lines = MonitorLog(), ProcessLines()
        self.entropy = _open_entropy(resources) if asked.entropy else None
        self.network: Network | None = None
        if asked.net is not None:
            from vestige.host.backends.network import open_network  # noqa: PLC0415 - few runs need it

            self.network = resources.keep(open_network(asked.net, asked.cpus))
            # A snapshot says so: the tap of that name may be another once it is thawed.
            asked.net = options.NetOption(asked.net.way, self.network.mac)
        self.console.connect()
        self.began = ready.began
        if files.stats is not None and self.began is None:
            self.began = statistics.start_of_process()
        self.user = None if asked.jail.user is None else find_user(asked.jail.user)
        self.compiled = ready.compiled or _compiled(asked, files, self.config, watch)
        if frozen is not None:
            frozen.check_monitor(self.compiled.code)
        control.manifest = self.manifest
        self.viewer = None if asked.display is None else self._open_viewer(resources)
        self.restarts = 0
        self._fault = ""  # by which the machine reset itself last, in words
        self._elapsed = 0.0  # seconds from the run's begin to the guest's first instruction
        self._spare, self._started = ready.machine, ready.started
        self._has_others = ready.told is None
        self._hold, self._stands = ready.hold, ready.stands

    def to_the_end(self) -> int:
        """One machine after the other, as long as the guest resets and may; the exit status."""
        if not self.asked.jail.is_on:
            tell("--jail off: the machine's process is not locked in")
        try:
            status = self._machine()
            while status == RESET and self.asked.on_reboot == "restart":
                for disk in self.files.disks.values():
                    disk.renew(self.watch)
                if self.network is not None:
                    self.network.renew()
                self.restarts += 1
                status = self._machine()
        except GuestError:
            self._check_snapshot()
            raise
        finally:
            self._write_last_words()
        self.files.check_whole()
        if status == RESET:
            self._check_snapshot()
        if status == RESET and self.files.frozen is not None:
            tell("the guest has reset itself, and one that was thawed is not started anew")
        elif status == RESET:
            tell(failure.reset_ends_run(self._fault, self.asked))
        return status

    def _check_snapshot(self) -> None:
        """Raise GuestError where a guest that was thawed has failed for want of its memory."""
        if self.files.frozen is not None:
            self.files.frozen.check_whole()

    def manifest(self, folder: int) -> "dict[str, Any]":
        """What a snapshot in `folder` says of this run, whose guest has come to rest."""
        from vestige.host.freeze import manifest  # noqa: PLC0415 - few runs are frozen

        disks, code = self.files.disks, self.compiled.code
        return manifest.of_run(self.asked, disks, self.domains, code, folder)

    def _write_last_words(self) -> None:
        """The rest of the guest's output, and the statistics.

        The timeout may be over, and is no reason not to write.
        """
        patient = self.watch.patient()
        try:
            self.console.finish(patient)
        finally:
            self.console.close()
            self.log.close()
            self.lines.close()
            if self.files.stats is not None and self.counters:
                statistics.write(self.files.stats.descriptor, self.counters, patient)

    def _machine(self) -> int:
        """Run the guest from its power-on to its power-off, reset, failure, or the run's end."""
        self.console.new_size()  # the machine learns of it by itself
        group = self._group()
        try:
            return self._run(None if group is None else (group.option, group.path))
        finally:
            if self.files.variables is not None:
                self.files.variables.keep()
            if group is not None:
                if group.ran_out():
                    tell(f"{group.option}: the machine took more memory than it may")
                group.close()

    def _open_viewer(self, resources: Resources) -> "ViewerProcess | None":
        """The viewer's process, which those have that connect."""
        from vestige.host.viewer.start import viewer_process  # noqa: PLC0415 - few runs need it

        display, events = self.files.display, self.files.events
        if display is None or events is None:
            return None
        code = display.filter or images.viewer_call_filter()
        viewer = resources.keep(viewer_process(self.asked, display, events, code, self.user))
        self.watch.beside.append(viewer)
        display.begin(viewer.take_client)
        return viewer

    def _run(self, group: tuple[str, str] | None) -> int:
        if self.viewer is None:
            return self._run_machine(group, ())
        from vestige.host.viewer import memory  # noqa: PLC0415 - few runs need it

        frozen = self.files.frozen
        files = memory.make() if frozen is None else memory.make(frozen.parts)
        try:
            return self._run_machine(group, files)
        finally:
            memory.close(files)

    def orders(self, group: tuple[str, str] | None, shown: Sequence[int]) -> Orders:
        """For the next machine. `shown`: as of Orders; `group`, too."""
        return orders(
            self.asked,
            self.files,
            entropy=self.entropy,
            network=self.network,
            machine=self.config,
            domains=self.domains,
            restarts=self.restarts,
            user=self.user,
            group=group,
            shown=shown,
        )

    def _run_machine(self, group: tuple[str, str] | None, shown: Sequence[int]) -> int:
        machine = self._process()
        try:
            machine.hear(self.failures, self.log, self.lines)
            machine.begin(self.orders(group, shown))
            if machine.wait_for_start(self.watch):
                if self.viewer is not None:
                    self.viewer.sees(shown)
                if not self.restarts:
                    self.files.begin()
                    if self._hold >= 0:
                        self._hold_ready(machine)
                    self.console.start()
                    self.watch.begin()
                    now = time.clock_gettime(time.CLOCK_BOOTTIME)
                    self._elapsed = now - (self.began or now)
                if self._hold < 0:
                    machine.go(self._elapsed)
                self._started()
                machine.answer_to(self.control)
                self.control.runs(machine)
            try:
                return wait(machine, self.watch, self.console, self.network)
            finally:
                machine.answer_to(None)
                self.control.runs(None)
                machine.stop()
                self.counters = machine.counters
                self._fault = machine.outcome.fault if machine.outcome is not None else ""
        finally:
            machine.close()

    def _hold_ready(self, machine: MachineProcess) -> None:
        """Wait until the guest, which is wanted at any moment, runs; or until the machine is over.

        Who wants it tells the machine's process: one process less that has to wake. Raises Ended as
        `watch` does, and where nobody is left to want it.
        """
        self.watch.hold()
        machine.go(self._elapsed, self._hold)
        self.control.is_held = True
        self._stands()
        closing = {self._hold: 0}  # poll(2) tells of it unasked
        while not machine.runs and machine.outcome is None:
            ready = self.watch.wait(machine.waits_for() | closing)
            if self._hold in ready:  # what came before counts: the machine's process will tell
                closing = {}
            machine.serve(ready)
        if not closing and not machine.runs:
            raise Ended(SIGNALLED + signal.SIGTERM)

    def _process(self) -> MachineProcess:
        """The spare one, if that serves, or a new one."""
        spare, self._spare = self._spare, None
        jailed = self.asked.jail.is_on
        if spare is not None and not (self._has_others and (spare.is_over or not jailed)):
            return spare
        if spare is not None:
            spare.close()
        return machine_process(self.compiled, self.system.known, jailed=jailed)

    def _group(self) -> "Group | None":
        """A control group for the machine, where one is named above it."""
        parent = self.asked.jail.cgroup
        if parent is None:
            return None
        from vestige.host.jail import cgroup  # noqa: PLC0415 - few runs need it

        threads = self.asked.cpus + self.domains + 2  # its first one, and that for holes
        found = [cgroup.device_of(disk.descriptor) for disk in self.files.disks.values()]
        disks = dict.fromkeys(each for each in found if each is not None)
        memory = self.asked.memory + PRIVATE_SIZE + self._size_for_firmware()
        return cgroup.Group(parent, cgroup.Size(memory, threads, self.asked.cpus, disks))

    def _size_for_firmware(self) -> int:
        """Bytes of what a firmware reads, which the machine's process has beside RAM."""
        if not self.asked.by_firmware:
            return 0
        return sum(each.size for each in self.files.inputs if each is not None)


def _compiled(
    asked: options.RunOptions, files: Files, config: MachineConfig, watch: Watch
) -> Compiled:
    """What is compiled. Before that is compiled anew, bad input is told: it takes a while.

    The run is asked and ended meanwhile as always, but what is compiled is compiled to its end:
    LLVM is not to be torn down while it works.
    Raises OSError where no descriptors are left to look for it: then it would be compiled, too.
    """
    for descriptor in [os.dup(0) for _ in range(CACHE_FILES)]:
        os.close(descriptor)
    key = images.key()
    kept = kept_here(key)
    if kept is not None:
        return kept
    import vestige.tables  # noqa: F401, PLC0415 - all that follows believes the devices' places

    check_guest(asked, files, config)
    return watch.call(lambda: compiled_here(key), whole=True)


def _open_entropy(resources: Resources) -> int:
    """The kernel's random bytes, the same that getrandom(2) gives."""
    try:
        descriptor = os.open("/dev/urandom", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"/dev/urandom: {error.strerror}; make it, or leave --rng out") from None
    return resources.keep_file(descriptor)
