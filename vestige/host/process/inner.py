"""What the machine's process does: build both VMs, lock itself in, run the guest, say how it ended.

It is a fork of the run's process, of which it has what is imported and compiled, but no descriptor.
All else comes with its orders, maybe much later, and what it says goes through the link. Before the
guest runs it gives up all that it does not need.
"""

import gc
import os
import select
import sys
from _collections_abc import Callable, Iterable, Sequence

from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host import domains, limits, options, steps
from vestige.host.apart import MOST_DESCRIPTORS
from vestige.host.backends.drive import NO_DRIVE
from vestige.host.backends.ring import Ring
from vestige.host.compiled import Compiled
from vestige.host.control import commands
from vestige.host.control.answers import answer
from vestige.host.files.failures import Failure
from vestige.host.files.opening import Files
from vestige.host.files.size_limit import limit_file_size
from vestige.host.jail import layers
from vestige.host.kvm import api as kvm
from vestige.host.kvm import guest
from vestige.host.kvm.memory import GuestMemory
from vestige.host.kvm.twin import Blank, Twin
from vestige.host.loop import failure, statistics
from vestige.host.loop.boot_bell import BootBell
from vestige.host.loop.session import Session
from vestige.host.messages import tell
from vestige.host.process.link import PLACE, Kind, Link
from vestige.host.process.orders import FIRST, Orders, received
from vestige.host.resources import Resources
from vestige.host.thread_name import set_thread_name
from vestige.lang.types import TYPE_CHECKING
from vestige.machine import boot
from vestige.machine.config import MachineConfig
from vestige.machine.files import Piece
from vestige.signals import NOTED, note

if TYPE_CHECKING:
    import signal
    from types import TracebackType
    from typing import Any, NoReturn

    from vestige.host.backends.discards import Discards
    from vestige.host.freeze.parts import Part
    from vestige.host.freeze.restoring import Thawed
    from vestige.host.freeze.saving import Saver
    from vestige.host.process.mould import Mould
    from vestige.machine.cpu_features import Entry
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

# What a terminal sends to all processes at it, and what ends a run: the run's process has them.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
STANDARD_FILES = (0, 1, 2)
NAME = "the machine"  # its thread's
BUG = 70  # exit status, EX_SOFTWARE


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


def become(link: Link, body: Callable[[], object], name: str) -> "NoReturn":
    """Right behind the fork: do what `body` does, tell of its error, and end. `name`: its own."""
    status = BUG
    try:
        link.take_place()
        _close_files()
        gc.freeze()  # what the run's process had is never collected: its descriptors are others'
        set_thread_name(name)
        sys.stderr = Speaker(link)
        sys.excepthook, sys.unraisablehook = _show, _show_unraisable
        signal.set_wakeup_fd(-1)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in NOTED:
            signal.signal(number, note)
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


def _close_files() -> None:
    """Have nothing of the run's process open but the link."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in STANDARD_FILES:
        os.dup2(nowhere, number)
    os.closerange(PLACE + 1, MOST_DESCRIPTORS)


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


def live(
    compiled: Compiled,
    known: kvm.Known,
    link: Link,
    problem: str | None,
    mould: "Mould | None" = None,
) -> None:
    """One machine's life, from its orders on. `known`: of this machine's KVM; `problem`: why there
    are no namespaces; `mould`: of the machine that it is likely to be.

    Raises UsageError and GuestError for what fails before the guest runs.
    """

    def made() -> Blank:
        return Blank(kvm.open_system(known=known), compiled.code)

    blank = made() if mould is None else None
    if mould is not None:
        mould.begin_again()
    with Resources() as resources:
        orders = received(link)
        if orders is None:
            return
        if orders.group is not None:
            from vestige.host.jail.cgroup import enter  # noqa: PLC0415 - few runs need it

            enter(*orders.group)
        machine = None if mould is None else mould.copy(orders, link)
        if machine is None:
            machine = Machine(orders, compiled, blank or made(), resources, link)
        if machine.prepare():
            machine.lock(problem)
            machine.go()
        machine.report()
        os._exit(0)  # nothing is to be closed: the kernel does that


class Machine:
    """Both VMs, the rings, the threads. `memory` is the guest's RAM; `regions` are what memory it
    finds elsewhere; `has_screen`: it was given a VGA.
    """

    def __init__(
        self,
        orders: Orders,
        compiled: Compiled,
        blank: Blank,
        resources: Resources,
        link: Link,
    ) -> None:
        """Build it. Raises UsageError and GuestError."""
        self._orders = orders
        self._filter = compiled.filter
        self._link = link
        self._discards: Discards | None = None
        self._counters = statistics.Counters() if orders.counts else None
        self._first_instruction = 0.0  # ms from the start of the run's process
        self._sized: tuple[abi.Config, int] | None = None
        self._wakes: list[int] = []  # of each domain's worker
        self.memory = resources.keep(GuestMemory(orders.memory))
        self._drive = _drive_of(abi.Config.from_buffer_copy(orders.config))
        self._changes = 0  # of the disc in it, as abi.Disc counts them
        twin = resources.keep(Twin(blank, self.memory, orders.cpus, orders.domains))
        self._twin = twin
        self._thawed: Thawed | None = None
        if orders.thaws:
            from vestige.host.freeze import restoring  # noqa: PLC0415 - few runs need it

            shows = bool(orders.shows)
            self._thawed = restoring.Thawed(twin, _parts(orders), jumps=orders.jumps, shows=shows)
            self._thawed.set_frequency()
        if orders.shows:
            twin.show(orders.shown)
        first = twin.shared()[0]
        first.config = abi.Config.from_buffer_copy(orders.config)
        first.config.thaws = bool(orders.thaws)
        self.has_screen = bool(first.config.vga)  # what the monitor says later is not believed
        pages = self._take_controllers(resources)
        rings = self._rings = self._connect_rings(resources)
        if orders.ide_in_memory:
            twin.place_ide_in_memory()
        for file, address, size in orders.maps:
            twin.place_map(orders.files[file], address, size)
        self.regions = twin.make_regions(_regions(orders)) if self.has_screen else ()
        is_pc = orders.board == abi.Board.PC
        if is_pc:
            twin.make_gate()
        if self._thawed is not None:
            self._thawed.place()
        domains.deal_out(twin.shared())
        twin.wire(moved=orders.firmware)
        self._cpuid = self._show_processor()
        if self._thawed is None:
            _load_guest(orders, twin)
        twin.load(pages, thawed=self._thawed is not None)
        twin.configure()
        memory_writes: Sequence[tuple[int, int]] = ()
        if orders.ide_in_memory:
            memory_writes = abi.COALESCED_MEMORY
        elif self.has_screen:
            memory_writes = abi.COALESCED_WINDOW
        port_writes = abi.COALESCED_PC_PORTS if is_pc else abi.COALESCED_PORTS
        twin.coalesce(port_writes, memory_writes)
        hear = self._tell_failures, self._log
        bell = self._hang_bell(resources) if is_pc else None
        if self._thawed is not None:
            self._thawed.check()
            self._thawed.map()
            self._thawed.set_cpus()
        self._saver = self._make_saver()
        self.session = Session(twin, rings, compiled.runner, *hear, bell)
        if self._thawed is not None:
            self._thawed.restore_routes(self.session.untrusted)

    def be_of(self, link: Link, orders: Orders) -> None:
        """A fork's, for its orders: what is its own."""
        self._link, self._orders = link, orders
        own, config = abi.Config.from_buffer_copy(orders.config), self._twin.shared()[0].config
        config.generation = own.generation
        config.columns, config.rows = own.columns, own.rows
        self.session.be_this_process()

    def _show_processor(self) -> "Sequence[Entry]":
        """Have the guest's CPUs their CPUID; the first's."""
        twin, apart = self._twin, self._orders.board == abi.Board.PC
        deadline = bool(twin.system.has(kvm.Capability.TSC_DEADLINE_TIMER))
        supported = twin.system.supported_cpuid()
        here = guest.cpuid_of(twin.guest.cpus, supported, deadline, apart=apart)
        if self._thawed is not None:
            return self._thawed.set_cpuid(here, apart=apart)
        guest.set_cpuid(twin.guest.cpus, here, apart=apart)
        return here

    def _take_controllers(self, resources: Resources) -> Sequence[tuple[int, int, int]]:
        """Take the NVMe controllers that are asked for; their memory, for the page tables."""
        if not self._orders.controllers:
            return ()
        from vestige.host.vfio.pass_through import PassThrough  # noqa: PLC0415 - few runs need it

        return resources.keep(PassThrough(self._twin, self._orders.controllers)).pages

    def _connect_rings(self, resources: Resources) -> list[Ring]:
        """Make each domain's ring, over all files."""
        orders, twin = self._orders, self._twin
        by_order = self._take_orders(resources)
        rings: list[Ring] = []
        pinned: dict[tuple[Ring, int], None] = {}
        for domain in range(orders.domains):
            eventfd = resources.keep_file(steps.eventfd())
            twin.monitor.connect_interrupt(abi.Irq.RING + domain, eventfd)
            self._wakes.append(eventfd)
            ring = Ring(
                twin.memory,
                twin.private.host_address(abi.STATE + domain * abi.STATE_SIZE),
                orders.files,
                eventfd,
                state_size=orders.state_size,
                polled=orders.polled,
                insists=orders.insists,
                orders=by_order[domain],
                domain=domain,
                pinned=pinned,
            )
            rings.append(resources.keep(ring))
            if domain == 0:  # the console's
                self._sized = twin.private.shared().config, eventfd
            twin.connect(ring)
        return rings

    def _hang_bell(self, resources: Resources) -> BootBell | None:
        """The boot CPU's; None where this kernel has none."""
        try:
            bell = resources.keep(BootBell(self._twin.monitor, self._twin.guest.cpus[0]))
        except OSError:
            return None
        self._twin.private.shared().config.attend_port = 1
        return bell

    def _take_orders(self, resources: Resources) -> Sequence[int]:
        """For each domain's ring the socket for orders to make holes, -1: no disk may have any."""
        orders = self._orders
        if not orders.holes:
            return [-1] * orders.domains
        from vestige.host.backends.discards import Discards  # noqa: PLC0415 - few runs need it

        files = {file: (orders.files[file], *where) for file, where in orders.holes.items()}
        self._discards = resources.keep(Discards(files, orders.domains))
        return self._discards.descriptors

    def prepare(self) -> bool:
        """Let the monitor initialise; False if that ended it all.

        Raises GuestError where it could not bring a controller up.
        """
        if not self.session.prepare():
            return False
        reports = self.session.untrusted.statistics()[0].nvme
        for address, report in zip(self._orders.controllers, reports, strict=False):
            if report.failure:
                raise GuestError(f"--disk vfio:{address}: {failure.controller(report)}")
        return True

    def lock(self, problem: str | None) -> None:
        """Give up what the guest's run needs not, and make threads.

        Raises UsageError where a layer is off that is required.
        """
        orders = self._orders
        commands.prepare(has_screen=self.has_screen)
        limit_file_size(orders.largest)
        orders.close()  # the rings have the files
        self._twin.system.close()
        put_on = layers.Layers(problem)
        jailed = orders.jail != options.JAIL_OFF
        if jailed:
            put_on.leave_everything(orders.user)
        if self._discards is not None:
            self._discards.start()
        self.session.make_threads()
        if not jailed:
            return
        listener = put_on.confine(self._filter)
        if listener >= 0:
            self._link.send_descriptor(Kind.LISTENER, listener)
            os.close(listener)
        if put_on.problems:
            self._tell_of(put_on.problems)

    def _tell_of(self, problems: dict[str, str]) -> None:
        words = layers.words(problems)
        if self._orders.jail == options.JAIL_REQUIRED:
            raise UsageError(f"--jail require: it is without {words}; `vestige doctor` has cures")
        if not self._orders.restarts:
            tell(f"the jail is without {words}")

    def go(self) -> None:
        """Say that the guest could run; run it when told to, until its end, or until told to stop.

        Also where the run's process is no more.
        """
        session = self.session
        self._link.send(Kind.STARTS)
        if (message := self._link.receive()) is None or message[0] != Kind.GO:
            return
        self._first_instruction = int.from_bytes(message[1], "little") / 1000
        thawed, others = self._thawed, self._link.fileno()
        if thawed is not None and not session.let_go(thawed.clocks, message[2], others):
            return
        try:
            session.start()
            if self._thawed is not None:
                for wake in self._wakes:
                    os.eventfd_write(wake, 1)
            if message[2] >= 0:
                self._link.send(Kind.RUNS)
                os.close(message[2])
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
                if message[0] == Kind.ASK:
                    for piece in answer(self, message[1], message[2]):
                        self._link.send(Kind.ANSWER, piece)
                    if message[2] >= 0:
                        os.close(message[2])
                elif message[0] == Kind.SIZE and self._sized is not None:
                    config, wake = self._sized
                    config.columns = int.from_bytes(message[1][:2], "little")
                    config.rows = int.from_bytes(message[1][2:4], "little")
                    os.eventfd_write(wake, 1)

    def _make_saver(self) -> "Saver":
        from vestige.host.freeze import saving  # noqa: PLC0415 - to be measured

        bases = {} if self._thawed is None else self._thawed.bases
        return saving.Saver(self._twin, self._rings, self._cpuid, bases, self._shared_parts())

    def _shared_parts(self) -> "dict[Part, list[tuple[int, int]]]":
        """What of memory a viewer has, too."""
        if not self._orders.shows:
            return {}
        from vestige.host.freeze.parts import Part  # noqa: PLC0415 - as above
        from vestige.host.kvm.memory import PRIVATE  # noqa: PLC0415
        from vestige.host.viewer.memory import LOW, SCREEN  # noqa: PLC0415

        screen = abi.SHARED - PRIVATE + SCREEN.place
        return {
            Part.RAM: [(LOW.place, LOW.place + LOW.size)],
            Part.PRIVATE: [(screen, screen + SCREEN.size)],
            Part.REGION: [(0, abi.REGIONS[0][1])],
        }

    def freeze(self, pipe: int, *, stays: bool) -> bool:
        """Write all state into `pipe` once nothing is under way; `stays`: be paused behind it.

        Whether it is paused by that, and was not before. Raises UsageError where it can't.
        """
        orders, session = self._orders, self.session
        if orders.controllers:
            raise UsageError(
                f"--disk vfio:{orders.controllers[0]}: a controller that is handed over keeps state"
                " of its own; only a machine without one can be frozen"
            )
        was_paused, saver = session.is_paused, self._saver
        try:
            if not was_paused:
                saver.save_ahead(pipe, session.look)
            session.settle(self._wakes)
            if session.outcome is not None:
                raise commands.NotNowError(commands.BETWEEN)
            try:
                saver.save(pipe)
            except BaseException:
                stays = False
                raise
            finally:
                if not (was_paused or stays):
                    session.resume()
        finally:
            saver.end()
        return stays and not was_paused

    def change_disc(self, descriptor: int, sectors: int) -> None:
        """Have this file for the drive's disc, of so many sectors; none: it is empty.

        Raises UsageError where there is no drive, or the rings don't take the file: it is empty
        then. What the monitor writes over the Disc is its own loss: nothing is read there.
        """
        if self._drive is None:
            raise UsageError(NO_DRIVE)
        number, file = self._drive
        disc = self._twin.private.shared().config.disks[number].disc
        self._changes += 1
        disc.changes = self._changes & 0xFFFF_FFFF
        there = 0
        try:
            for ring in self._rings:
                ring.exchange(file, descriptor)
            there = sectors
        finally:
            disc.sectors = there
            self._changes += 1
            disc.changes = self._changes & 0xFFFF_FFFF

    def statistics(self) -> "dict[str, Any]":
        """The counters as they are: threads go on meanwhile."""
        return statistics.collect(self.session, self._orders.restarts)

    def report(self) -> None:
        """Tell the counters, and how it ended."""
        outcome = self.session.outcome
        if self._counters is not None:
            first, restarts = self._first_instruction, self._orders.restarts
            text = self._counters.text_of(self.session, first, restarts)
            self._link.send_text(Kind.COUNTERS, text)
        if outcome is not None and outcome.error is not None:
            self._link.send_text(Kind.FAILED, outcome.error)
        elif outcome is not None:
            self._link.send(Kind.OVER, bytes((outcome.reset,)) + outcome.fault.encode())

    def _log(self, text: bytes) -> None:
        self._link.send(Kind.LOG, text)

    def _tell_failures(self, failures: Iterable[Failure]) -> None:
        if data := b"".join(map(bytes, failures)):
            self._link.send(Kind.FAILURES, data)


def _parts(orders: Orders) -> "dict[Part, int]":
    """The files of a frozen machine."""
    from vestige.host.freeze.parts import Part  # noqa: PLC0415 - few runs need it

    return {Part(part): file for part, file in zip(orders.thaws, orders.frozen, strict=True)}


def _regions(orders: Orders) -> Sequence[int]:
    return orders.shown[-len(abi.REGIONS) :] if orders.shows else ()


def _drive_of(config: abi.Config) -> tuple[int, int] | None:
    """The number of the disk that is a drive for discs, and of its file in the rings."""
    for number, disk in enumerate(config.disks):
        if disk.present and disk.is_optical:
            return number, disk.file
    return None


def check_guest(asked: options.RunOptions, files: Files, config: MachineConfig) -> None:
    """Load what it starts from once, for nothing but the errors of it. Raises UsageError."""
    if files.start is None:
        return
    if asked.by_firmware:
        from vestige.machine import firmware  # noqa: PLC0415 - few runs need it

        firmware.read(files.start, 0 if files.variables is None else files.variables.file.size)
        if files.kernel is not None:
            from vestige.machine import linux_rom  # noqa: PLC0415 - few runs need it

            linux_rom.items(asked.memory, files.kernel, files.initrd, asked.append)
        return
    with Resources() as resources:
        view = resources.keep(GuestMemory(asked.memory)).region.view
        boot.load(view, config, files.start, initrd=files.initrd, append=asked.append)


def _load_firmware(orders: Orders, config: MachineConfig, twin: Twin) -> None:
    """Put it where the guest's CPUs begin, with what it is told of the machine, and a kernel."""
    from vestige.host.firmware.fw_cfg import region  # noqa: PLC0415 - few runs need it
    from vestige.machine import firmware  # noqa: PLC0415 - few runs need it

    files = orders.input_files()
    variables, kernel = files.get("variables"), files.get("kernel")
    image = firmware.read(files[FIRST], 0 if variables is None else variables.size)
    firmware.shadow(twin.memory.region.view, image)
    order = firmware.boot_order(abi.Config.from_buffer_copy(orders.config))
    items: dict[int, bytes | Piece] = {**firmware.items(config)}
    roms: dict[str, bytes] = {}
    if kernel is not None:
        from vestige.machine import linux_rom  # noqa: PLC0415 - few runs need it

        roms, parts = linux_rom.items(orders.memory, kernel, files.get("initrd"), orders.append)
        order.insert(0, linux_rom.DEVICE)
        items |= parts
    shown = firmware.files(config, files.get("vga_bios"), order)
    twin.place_firmware(image, region(shown | roms, items))
    if variables is not None:
        end = abi.HIGH_RAM - len(image)
        twin.place_flash(variables.descriptor, variables.size, end)


def _load_guest(orders: Orders, twin: Twin) -> None:
    """Fill RAM and give the guest's CPUs their first state."""
    config = MachineConfig(
        cpus=orders.cpus,
        memory=orders.memory,
        devices=orders.devices,
        board=abi.Board(orders.board),
        uefi=orders.variables is not None,
    )
    view = twin.memory.region.view
    if orders.firmware:
        _load_firmware(orders, config, twin)
        return
    files = orders.input_files()
    state = boot.load(view, config, files[FIRST], initrd=files.get("initrd"), append=orders.append)
    if (vga_bios := files.get("vga_bios")) is not None:
        from vestige.machine.screen import load_font  # noqa: PLC0415 - few runs need it

        load_font(view, vga_bios)
    for cpu in twin.guest.cpus:
        for number, value in state.msrs:
            cpu.set_msr(number, value)
    guest.set_start(twin.guest.cpus[0], state)
