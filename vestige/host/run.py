"""`vestige run` on this machine's KVM: open what is asked for, start machines, wait for the end.

The machine itself, both VMs and the threads in them, is another process's, one for each start of
the guest: process/.
"""

import os
from _collections_abc import Callable

from vestige.devices import STANDARD
from vestige.errors import UsageError
from vestige.host import domains, images, options
from vestige.host.compiled import Compiled, compiled_here
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
from vestige.host.process import inner
from vestige.host.process.inner import check_guest
from vestige.host.process.link import Link
from vestige.host.process.outer import MachineProcess, ProcessLines
from vestige.host.resources import Resources
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.config import MachineConfig
from vestige.signals import Watch

if TYPE_CHECKING:
    from vestige.host.backends.network import Network
    from vestige.host.jail.cgroup import Group


CACHE_FILES = 4  # descriptors that looking into the cache takes at once
Opener = Callable[[options.RunOptions, Resources, Watch], Files]


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
        self.counters = b""
        config = MachineConfig(
            cpus=asked.cpus, memory=asked.memory, devices=STANDARD.union(asked.devices)
        )
        system = resources.keep(kvm.System(known=known))
        count = domains.count(asked.disks, asked.net is not None, asked.cpus)
        system.check_cpus(asked.cpus, count)
        self.console = files.consoles
        self.failures = FileFailures(files.disks)
        self.log, self.lines = MonitorLog(), ProcessLines()
        entropy = _open_entropy(resources) if asked.entropy else None
        self.network: Network | None = None
        if asked.net is not None:
            from vestige.host.backends.network import open_network  # noqa: PLC0415 - few runs need it

            self.network = resources.keep(open_network(asked.net, asked.cpus))
        self.console.connect()
        began = 0.0 if files.stats is None else statistics.start_of_process()
        user = None if asked.jail.user is None else find_user(asked.jail.user)
        compiled = compiled or _compiled(asked, files, config)
        self.given = inner.Given(
            asked, files, system, config, count, entropy, self.network, compiled, began, user
        )

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
                self.given.restarts += 1
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
            self.log.close()
            self.lines.close()
            if self.files.stats is not None and self.counters:
                statistics.write(self.files.stats, self.counters, patient)

    def _machine(self) -> int:
        """Run the guest from its power-on to its power-off, reset, failure, or the run's end."""

        def body(link: Link, problem: str | None) -> None:
            inner.live(self.given, link, problem)

        self.console.new_size()  # the machine learns of it by itself
        self.given.group = self._group()
        try:
            return self._run(body)
        finally:
            if self.given.group is not None:
                if self.given.group.ran_out():
                    tell(f"{self.given.group.option}: the machine took more memory than it may")
                self.given.group.close()

    def _run(self, body: Callable[[Link, str | None], None]) -> int:
        machine = MachineProcess(
            body, self.failures, self.log, self.lines, jailed=self.asked.jail.is_on
        )
        try:
            if machine.wait_for_start(self.watch):
                if not self.given.restarts:
                    self.files.start()
                    self.watch.begin()
                    self.given.note_first_instruction()
                machine.go()
            try:
                return wait(machine, self.watch, self.console, self.network)
            finally:
                machine.stop()
                self.counters = machine.counters
        finally:
            machine.close()

    def _group(self) -> "Group | None":
        """A control group for the machine, where one is named above it."""
        parent, given = self.asked.jail.cgroup, self.given
        if parent is None:
            return None
        from vestige.host.jail import cgroup  # noqa: PLC0415 - few runs need it

        threads = self.asked.cpus + given.domains + 2  # its first one, and that for holes
        found = [cgroup.device_of(disk.descriptor) for disk in self.files.disks.values()]
        disks = dict.fromkeys(each for each in found if each is not None)
        memory = self.asked.memory + PRIVATE_SIZE
        return cgroup.Group(parent, cgroup.Size(memory, threads, self.asked.cpus, disks))


def _compiled(asked: options.RunOptions, files: Files, config: MachineConfig) -> Compiled:
    """What is compiled. Before that is compiled anew, bad input is told: it takes a while.

    Raises OSError where no descriptors are left to look for it: then it would be compiled, too.
    """
    for descriptor in [os.dup(0) for _ in range(CACHE_FILES)]:
        os.close(descriptor)
    if images.not_cached():
        check_guest(asked, files, config)
    return compiled_here()


def _open_entropy(resources: Resources) -> int:
    """The kernel's random bytes, the same that getrandom(2) gives."""
    try:
        descriptor = os.open("/dev/urandom", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"/dev/urandom: {error.strerror}; make it, or leave --rng out") from None
    return resources.keep_file(descriptor)
