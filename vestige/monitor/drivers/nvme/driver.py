"""The block driver over NVMe controllers: requests of the models become their commands.

Every trap and every wake of the worker calls `reap`, then `start` and `advance` for what the
models ask, then `publish`. Nothing here waits or calls the host: commands are given by stores
to doorbells, answers are looked for in the queues, and `next_deadline` says when to look at a
controller that has said nothing.

A command not answered in time is aborted; if that doesn't bring its answer either, the
controller is reset and what was under way is given to it again. A command gets ATTEMPTS; a
controller that does nothing between RESTARTS resets, or is gone, fails all there is and will be.
"""

from enum import IntEnum

from vestige.abi import MAX_NVME, Config, Disk, Nvme, NvmeFailure, NvmeReport, Statistics
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.block import REQUESTS, SECTOR_SHIFT, BlockRequest, Operation
from vestige.monitor.clock import MILLISECOND
from vestige.monitor.drivers.nvme.command_slots import COUNT, CommandSlot, Kind
from vestige.monitor.drivers.nvme.controller import PLACES, Controller, State
from vestige.monitor.drivers.nvme.prp import move
from vestige.monitor.drivers.nvme.spec import (
    DEALLOCATE,
    DO_NOT_RETRY,
    IDENTIFIER,
    STATUS,
    STATUS_SHIFT,
    Code,
    Opcode,
)
from vestige.monitor.drivers.nvme.transfer import Transfer, must_follow
from vestige.monitor.line import NEVER

COMMAND_TIMEOUT = 10_000 * MILLISECOND  # a third of what Linux gives an ATA command
ABORT_TIMEOUT = 2_000 * MILLISECOND
ATTEMPTS = 3  # of one command


class Errno(IntEnum):
    """What a request fails with."""

    EIO = 5
    ENODEV = 19  # the controller has been given up
    EINVAL = 22
    ENOSPC = 28
    EROFS = 30
    ETIMEDOUT = 110


class NvmeDriver(Struct):
    """All controllers, and the requests on their way to them by number."""

    present: u8  # 1: there is a controller
    controllers: Controller[MAX_NVME]
    transfers: Transfer[REQUESTS]
    active: u32  # how many of them are under way
    held: u8  # 1: some of them may wait for another one, for a place, or for the controller

    # ---- set-up ---------------------------------------------------------------------------

    def reset(self, config: Config, now: u64) -> None:
        """Begin to bring up every controller there is: `reap` goes on until `settled`."""
        for i in range(MAX_NVME):
            if config.nvme[i].present:
                self.present = 1
                start(self.controllers[i], config.nvme[i], config.cpus, now)

    def settled(self) -> bool:
        """Whether no controller is still coming up."""
        settled = 0
        for i in range(MAX_NVME):
            settled |= self.controllers[i].settled() << i
        return settled == (1 << MAX_NVME) - 1

    def describe(self, disk: Disk) -> bool:
        """Fill in what the controller says of the drive; False if it failed."""
        controller = self.controllers[disk.nvme]
        if controller.state != State.READY:
            return False
        disk.sectors = u64(controller.blocks << (controller.block_shift - SECTOR_SHIFT & 7))
        disk.read_only = disk.read_only or controller.read_only
        disk.can_discard = controller.can_discard
        for i in range(len(disk.serial)):
            disk.serial[i] = controller.serial[i]
        for i in range(len(disk.firmware)):
            disk.firmware[i] = controller.firmware[i]
        for i in range(len(disk.model)):
            disk.model[i] = controller.model[i]
        return True

    # ---- requests of the models -----------------------------------------------------------

    def start(self, tag: u8, request: BlockRequest, controller: u8, cpu: u32) -> None:
        """Take over a request, `tag` being its number; it stays where it is. `cpu`: who asks."""
        target = self.controllers[controller]
        transfer = self.transfers[tag]
        transfer.start(request, address_of(request), target.block_shift)
        transfer.controller = controller
        self.active += 1
        self.held = 1
        if target.state == State.FAILED or target.queue_count == 0:
            transfer.error = Errno.ENODEV
        else:
            transfer.queue = u8(cpu % target.queue_count)

    def advance(self, tag: u8, now: u64) -> None:
        """Make as much of the request commands as there are places for."""
        transfer = self.transfers[tag]
        if transfer.active and not transfer.cut_all():
            self.cut(tag, now)
            if not transfer.cut_all():
                self.held = 1

    def cut(self, tag: u8, now: u64) -> None:
        """The same of a request that is not all commands yet."""
        transfer = self.transfers[tag]
        controller = self.controllers[transfer.controller]
        if controller.state != State.READY:
            return
        if not transfer.begun:
            if self.active > 1 and self.must_wait(tag):
                return
            transfer.begun = 1
        while controller.places.free and not transfer.cut_all():
            number = controller.places.take()
            controller.places.place[number].tag = tag
            transfer.cut(controller, number)
            issue(controller, number, now)

    def must_wait(self, tag: u8) -> bool:
        """Whether a request that was begun before has to be done first."""
        transfer = self.transfers[tag]
        for other in range(REQUESTS):
            if other != tag and must_follow(transfer, self.transfers[other]):
                return True
        return False

    def finished(self, tag: u8) -> bool:
        """Whether the request is answered; if so its error is in `error_of`."""
        transfer = self.transfers[tag]
        if not transfer.done():
            return False
        transfer.active = 0
        self.active -= 1
        return True

    def error_of(self, tag: u8) -> u8:
        """The errno of the last request of this number, 0 if all of it was done."""
        return self.transfers[tag].error

    def publish(self, now: u64) -> None:
        """Advance what waited for another request or a place, and ring the doorbells."""
        if self.held:
            self.held = 0
            for tag in range(REQUESTS):
                self.advance(tag, now)
        if not self.present:
            return
        for i in range(MAX_NVME):
            controller = self.controllers[i]
            if controller.state == State.READY:
                for number in range(controller.queue_count):
                    controller.queues[number].ring()

    # ---- what the controllers say ---------------------------------------------------------

    def next_deadline(self) -> u64:
        """When `reap` has to look though no interrupt came."""
        due = NEVER
        if not self.present:
            return due
        for i in range(MAX_NVME):
            if self.controllers[i].state != State.OFF:
                due = min(due, self.controllers[i].due)
        return due

    def reap(self, statistics: Statistics, now: u64) -> None:
        """Take every answer there is; see to controllers that are late, or coming up."""
        if not self.present:
            return
        for i in range(MAX_NVME):
            controller = self.controllers[i]
            if controller.state != State.OFF:
                self.look_at(controller, i, statistics.nvme[i], now)

    def look_at(self, controller: Controller, index: u8, report: NvmeReport, now: u64) -> None:
        """One controller."""
        due = controller.due
        if controller.state == State.READY:
            self.take_answers(controller, report)
        controller.poll(now)
        if controller.state == State.READY and now >= due:
            self.hurry(controller, report, now)
        if controller.stopped:
            controller.stopped = 0
            self.recover(controller, index, report)
        if controller.state == State.READY and controller.places.waiting:
            again = controller.places.waiting
            for number in range(COUNT):
                if again >> number & 1:
                    issue(controller, number, now)

    def take_answers(self, controller: Controller, report: NvmeReport) -> None:
        """The completions in all of a controller's queues, at most a round of each."""
        if controller.places.busy == 0:
            return
        for number in range(controller.queue_count):
            queue = controller.queues[number]
            taken = 0
            word = queue.last_word()
            while queue.is_new(word) and taken < queue.depth:
                queue.consume()
                taken = u32(taken + 1)
                identifier = word & IDENTIFIER
                if controller.places.is_busy(identifier):
                    self.answer(controller, identifier & 31, word >> STATUS_SHIFT, report)
                word = queue.last_word()
            if taken:
                queue.acknowledge()

    def answer(self, controller: Controller, number: u8, status: u16, report: NvmeReport) -> None:
        """The answer to one command: done, to be given again, or failed."""
        places = controller.places
        places.busy &= ~u32(1 << (number & 31))
        place = places.place[number]
        code = status & STATUS
        if code == Code.SUCCESS:
            controller.restarts = 0
            if self.succeeded(controller, number):
                count_command(place, report)
                self.end(controller, number, 0)
            return
        report.errors += 1
        aborted = code in (Code.ABORT_REQUESTED, Code.SQ_DELETED)
        if place.attempts >= ATTEMPTS:
            self.end(controller, number, Errno.ETIMEDOUT if aborted else errno_of(code))
        elif aborted or not status & DO_NOT_RETRY:
            places.waiting |= u32(1 << (number & 31))
        else:
            self.end(controller, number, errno_of(code))

    def succeeded(self, controller: Controller, number: u8) -> bool:
        """The controller's part is done: move what was bounced. Whether that is all of it."""
        place = controller.places.place[number]
        if place.kind not in (Kind.BOUNCED, Kind.PARTIAL):
            return True
        request = BlockRequest.at(self.transfers[place.tag].request)
        page = place.prp1
        if place.kind == Kind.PARTIAL:
            page = u64(page + place.into)
        if request.operation == Operation.READ:
            move(request, place.segment, place.position, place.length, page, into_buffer=False)
            return True
        if place.opcode == Opcode.WRITE:
            return True
        move(request, place.segment, place.position, place.length, page, into_buffer=True)
        place.opcode = Opcode.WRITE
        place.attempts = 0
        controller.places.waiting |= u32(1 << (number & 31))
        return False

    def end(self, controller: Controller, number: u8, error: u8) -> None:
        """The command is answered for good."""
        place = controller.places.place[number]
        transfer = self.transfers[place.tag]
        transfer.pending -= 1
        if transfer.error == 0:
            transfer.error = error
        controller.places.release(number)

    # ---- what has gone wrong --------------------------------------------------------------

    def hurry(self, controller: Controller, report: NvmeReport, now: u64) -> None:
        """Abort what is late; where that was tried before, reset the controller."""
        places = controller.places
        for number in range(COUNT):
            place = places.place[number]
            late = places.is_busy(number) and now >= place.deadline
            if late and place.aborting:
                controller.restart(NvmeFailure.HUNG, now)
                return
            if late and controller.abort(place.queue, number, now):
                place.aborting = 1
                place.deadline = u64(now + ABORT_TIMEOUT)
                report.timeouts += 1

    def recover(self, controller: Controller, index: u8, report: NvmeReport) -> None:
        """The controller was reset, or given up: nothing is under way there any more."""
        failed = controller.state == State.FAILED
        places = controller.places
        if failed:
            report.failure = controller.failure
            report.status = controller.status
        elif controller.restarts:
            report.resets += 1
        pending = places.busy | places.waiting
        places.busy = 0
        places.waiting = pending
        for number in range(COUNT):
            if pending >> number & 1:
                if failed:
                    self.end(controller, number, Errno.ENODEV)
                elif places.place[number].attempts >= ATTEMPTS:
                    self.end(controller, number, Errno.ETIMEDOUT)
        for tag in range(REQUESTS):
            transfer = self.transfers[tag]
            if failed and transfer.active and transfer.controller == index and transfer.error == 0:
                transfer.error = Errno.ENODEV


def start(controller: Controller, description: Nvme, cpus: u32, now: u64) -> None:
    """Bring up one controller, with a queue pair for each guest CPU."""
    controller.start(description, cpus, now)
    memory = u64(description.queues + PLACES)
    controller.places.reset(memory, u32(max(controller.depth, 1) - 1))


def issue(controller: Controller, number: u8, now: u64) -> None:
    """Put a place's command into its queue; the controller sees it at `publish`."""
    places = controller.places
    place = places.place[number]
    places.waiting &= ~u32(1 << (number & 31))
    places.busy |= u32(1 << (number & 31))
    place.attempts += 1
    place.aborting = 0
    place.deadline = u64(now + COMMAND_TIMEOUT)
    place.queue = place.queue % max(controller.queue_count, 1)  # a reset may have left fewer
    command = controller.queues[place.queue].next_command(place.opcode, number)
    command.namespace = controller.namespace
    if place.prp1:  # a FLUSH has no memory
        command.prp1 = controller.bus.address(place.prp1)
    command.prp2 = place.prp2
    match place.opcode:
        case Opcode.READ | Opcode.WRITE:
            command.cdw10 = u32(place.first)
            command.cdw11 = u32(place.first >> 32)
            command.cdw12 = u32(place.blocks - 1)
        case Opcode.DATASET_MANAGEMENT:
            command.cdw10 = u32(place.blocks - 1)
            command.cdw11 = DEALLOCATE
        case _:
            pass
    controller.expect_answer(now)


def errno_of(code: u16) -> u8:
    """What a status is to the model."""
    match code:
        case Code.WRITE_PROTECTED:
            return Errno.EROFS
        case Code.LBA_OUT_OF_RANGE:
            return Errno.EINVAL
        case Code.CAPACITY_EXCEEDED:
            return Errno.ENOSPC
        case _:
            return Errno.EIO


def count_command(place: CommandSlot, report: NvmeReport) -> None:
    """Count what was done."""
    length = place.length
    if place.kind in (Kind.BOUNCED, Kind.PARTIAL):
        report.bounced_bytes += length
    match place.opcode:
        case Opcode.READ:
            report.reads += 1
            report.read_bytes += length
        case Opcode.WRITE:
            report.writes += 1
            report.write_bytes += length
        case Opcode.FLUSH:
            report.flushes += 1
        case _:
            report.discards += 1
