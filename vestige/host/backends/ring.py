"""The restricted io_uring below the monitor's ring driver: its memory is the monitor's to write.

Threats. The monitor writes submission entries as it likes; the kernel refuses all but
READ_FIXED, WRITE_FIXED and FSYNC on registered files and registered buffers, and those are
the guest's own disks, consoles, network and RAM, the monitor's STATE, and /dev/urandom, to be
read. An entry may wait for the one before (HARD_LINK), as reads of a tap do: it counts as under way
meanwhile. For consoles and ports these are sockets, which relay.py explains. A restriction knows
operations, not priorities: real-time ones are refused for want of a capability (capabilities.py).
Nor does it know offsets and lengths: what a write beyond an image's end would do to the host's
disk, the process's limit on the size of files stops (files/size_limit.py).
FALLOCATE, which goes beyond that limit, is not let through: this process makes holes (discards.py).

Entries that are never answered, and answers that are never taken, are the kernel's memory: some 600
bytes each, without end. `Ring.look` counts them and ends the guest above a bound. The words in the
ring's pages are the monitor's to write; the kernel's own are in the descriptor's fdinfo, and there
alone (Linux 5.16).

The restriction lets two register operations through: BUFFERS_UPDATE, for guest RAM that is
registered at its first use, and FILES_UPDATE, for another disc in a drive. Register operations are
system calls of this process, which the monitor can't make; the only buffers this module ever
registers are guest RAM and STATE, and the only file it exchanges is that drive's, for one that the
run's process has opened to be read.
"""

import mmap
import os
from _collections_abc import Sequence

from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host import limits, steps
from vestige.host.backends.io_uring import (
    REGISTER_BUFFERS,
    REGISTER_BUFFERS2,
    REGISTER_BUFFERS_UPDATE,
    REGISTER_ENABLE,
    REGISTER_EVENTFD,
    REGISTER_FILES,
    REGISTER_FILES_UPDATE,
    REGISTER_IOWQ_MAX_WORKERS,
    RESTRICT_ALLOWED,
    RESTRICT_OPERATION,
    RESTRICT_REGISTER,
    RESTRICT_REQUIRED,
    SETUP_DISABLED,
    SETUP_POLLED,
    SETUP_SUBMIT_ALL,
    map_ring,
    register,
    restrict,
    set_up,
)
from vestige.host.backends.io_uring_records import (
    FIXED_FILE,
    FSYNC,
    HARD_LINK,
    READ_FIXED,
    WRITE_FIXED,
    Descriptor,
    IoVector,
    Parameters,
)
from vestige.host.kvm.memory import GuestMemory
from vestige.host.messages import tell
from vestige.host.options import VIRTIO, RunOptions
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, i32, u32, u64

POLL_IDLE = 50  # ms without an entry until that thread sleeps
ENTER_WAKEUP = 1 << 1  # io_uring_enter: wake it
ENTRIES = 256  # two IDE channels with a segment list of 128 each
SPARSE = 1 << 0
ENOMEM = 12
EINVAL = 22
EOPNOTSUPP = 95
# Kernel threads at most, for each thread of ours that enters the ring: for operations on disks, and
# for those on consoles, of which a machine has 16, one each at a time.
DISK_WORKERS, STREAM_WORKERS = 8, 16
# Seconds between two looks where the kernel's own thread takes the entries, for each so many chunks
# of RAM or part of them: the kernel shows a line for each, and lets nobody into the ring meanwhile.
LOOK_INTERVAL, LOOK_CHUNKS = 0.1, 2048
LOOKS = 100  # at the kernel's counters, which it shows only while nobody is in the ring
COUNTERS_SIZE = 512  # bytes of fdinfo, in whose first lines they are

RESTRICTIONS = (
    (RESTRICT_OPERATION, FSYNC),
    (RESTRICT_OPERATION, READ_FIXED),
    (RESTRICT_OPERATION, WRITE_FIXED),
    (RESTRICT_REQUIRED, FIXED_FILE),
    (RESTRICT_ALLOWED, FIXED_FILE | HARD_LINK),
    (RESTRICT_REGISTER, REGISTER_BUFFERS_UPDATE),
    (RESTRICT_REGISTER, REGISTER_FILES_UPDATE),
)


class RegisterBuffers(Struct):
    """struct io_uring_rsrc_register."""

    count: u32
    flags: u32
    reserved: u64
    data: u64
    tags: u64


class UpdateBuffers(Struct):
    """struct io_uring_rsrc_update2."""

    first: u32
    reserved: u32
    data: u64
    tags: u64
    count: u32
    reserved2: u32


class UpdateFiles(Struct):
    """struct io_uring_files_update."""

    first: u32
    reserved: u32
    files: u64  # address of descriptors, an i32 each


class MaxWorkers(Struct):
    """How many threads for regular files and block devices, and for all else."""

    bounded: u32
    unbounded: u32


class Descriptors(Struct):
    """The fixed files: disks, consoles (output, input), random bytes, the network; -1 is none."""

    values: i32[32]


class Ring:
    """An io_uring, restricted, enabled, its buffers: STATE, and guest RAM in chunks on demand."""

    def __init__(
        self,
        memory: GuestMemory,
        state: int,
        files: Sequence[int],
        eventfd: int,
        *,
        state_size: int = abi.STATE_FIRST,
        polled: bool = False,
        insists: bool = True,
        orders: int = -1,
        domain: int = 0,
        pinned: "dict[tuple[Ring, int], None] | None" = None,
    ) -> None:
        """`state`: host address of STATE, of which the ring has so much; `files`: descriptors,
        their index the fixed number.

        `orders` is the socket for orders to make holes, -1: there is none. `eventfd` is written at
        every completion. Where it is `polled` a thread of the kernel takes the entries, and
        Call.KICK is only needed when that sleeps; unless it `insists` a kernel that gives no thread
        makes it a ring that is not. `domain` is whose it is. Chunks of all rings count together
        against RLIMIT_MEMLOCK, so a machine's rings have one `pinned`: ring and chunk, the oldest
        first.
        Raises UsageError where io_uring is switched off, the thread refused or a limit reached,
        GuestError where the kernel refuses something else.
        """
        self._memory = memory
        self._state = state
        self._state_size = state_size
        self._pinned = {} if pinned is None else pinned
        self.ever_pinned: set[int] = set()  # chunks: a write of the kernel's to others fails
        self._has_told = False  # that no chunk can be pinned
        self.domain = domain
        if orders >= 0:
            files = [*files, orders]
        self._orders = max(len(files) - 1, 0)
        parameters, descriptor = _setup(polled)
        if descriptor < 0 and polled:
            error = -descriptor
            parameters, descriptor = _setup(polled=False)
            if descriptor >= 0 and insists:
                os.close(descriptor)
                raise UsageError(
                    f"--ring poll: the kernel gives the ring no thread ({os.strerror(error)}); give"
                    " --ring kick"
                )
        if descriptor < 0:
            raise _unavailable(-descriptor)
        self.descriptor = descriptor
        self.unseen = False
        self._counters = _open_counters(descriptor)
        self.parameters = parameters
        self.polled = bool(parameters.flags & SETUP_POLLED)
        try:
            steps.do(self._map)
            for each in (self._rings, self._entries):
                steps.is_mapped_anew(each.address, each.size)
            self._restrict(files, eventfd)
        except BaseException:
            self._close_descriptors()
            raise

    def _map(self) -> None:
        self._rings, self._entries = map_ring(self.descriptor, self.parameters)

    def _restrict(self, files: Sequence[int], eventfd: int) -> None:
        """All of it before the ring is enabled: afterwards nothing can be added."""
        if error := restrict(self.descriptor, RESTRICTIONS):
            raise limits.ring_refusal("io_uring: its restrictions", error)
        chunks = self._chunks()
        table = RegisterBuffers(count=abi.FIRST_CHUNK_BUFFER + chunks, flags=SPARSE)
        self._register(REGISTER_BUFFERS2, table, 32)
        self._register(REGISTER_EVENTFD, Descriptor(value=eventfd), 1)
        if error := self._set_buffer(abi.STATE_BUFFER, self._state, self._state_size):
            what = f"io_uring: the monitor's state, {self._state_size >> 10} KiB"
            raise limits.ring_refusal(what, error)
        self._limit_workers()
        descriptors = Descriptors()
        for number, file in enumerate(files):
            descriptors.values[number] = file
        with steps.Late():
            self._register(REGISTER_FILES, descriptors, len(files))
            self._register(REGISTER_ENABLE, None, 0)

    def _limit_workers(self) -> None:
        """What may wait in a file the kernel hands to threads of its own, as many as there are
        such operations where nothing limits them. Linux before 5.15 can't limit them.
        """
        most = MaxWorkers(bounded=DISK_WORKERS, unbounded=STREAM_WORKERS)
        error = register(self.descriptor, REGISTER_IOWQ_MAX_WORKERS, most, 2)
        if error not in (0, EINVAL):
            raise limits.ring_refusal("io_uring: the number of its threads", error)

    def _register(self, operation: int, argument: Struct | None, count: int) -> None:
        if error := register(self.descriptor, operation, argument, count):
            raise limits.ring_refusal(f"io_uring_register {operation}", error)

    def _set_buffer(self, number: int, address: int, length: int) -> int:
        """Register one buffer, or none with length 0; the errno, or 0."""
        vector = IoVector(base=address, length=length)
        steps.keep(vector)
        update = UpdateBuffers(first=number, data=address_of(vector), count=1)
        return register(self.descriptor, REGISTER_BUFFERS_UPDATE, update, 32)

    def pin(self, chunk: int) -> int:
        """Register chunk `chunk` of RAM; the errno, or 0. A chunk that is not RAM: EINVAL.

        Where RLIMIT_MEMLOCK allows no more, the chunks pinned longest ago make room: what the
        monitor submits with one of them is answered EFAULT, and it pins that one again. Where it
        allows not even one, the guest's requests fail, and a line says why, once.
        """
        if (self, chunk) in self._pinned:
            return 0
        place = self._memory.chunk(chunk)
        if place is None:
            return 22
        error = self._set_buffer(abi.FIRST_CHUNK_BUFFER + chunk, *place)
        while error == ENOMEM and self._pinned:
            ring, oldest = next(iter(self._pinned))
            del self._pinned[ring, oldest]
            ring._set_buffer(abi.FIRST_CHUNK_BUFFER + oldest, 0, 0)
            error = self._set_buffer(abi.FIRST_CHUNK_BUFFER + chunk, *place)
        if not error:
            self._pinned[self, chunk] = None
            self.ever_pinned.add(chunk)
        elif not self._has_told:
            self._has_told = True
            tell(f"the guest's transfers fail: {limits.ring_refusal('io_uring', error)}")
        return error

    def exchange(self, number: int, descriptor: int) -> None:
        """Have this for a fixed file from now on; what is under way goes on with the old one.

        Raises UsageError where the kernel doesn't.
        """
        files = Descriptors()
        files.values[0] = descriptor
        update = UpdateFiles(first=number, files=address_of(files))
        if error := register(self.descriptor, REGISTER_FILES_UPDATE, update, 1):
            raise UsageError(f"the kernel takes no other file into the ring: {os.strerror(error)}")

    @property
    def completions(self) -> int:
        """The address in this process of how many completions there have been, a u32."""
        return self._rings.address + self.parameters.cq.tail

    def mappings(self) -> list[tuple[int, int, int]]:
        """(monitor address, size, host address) of the rings and of the entries."""
        place = self.domain * abi.RING_STRIDE
        return [
            (abi.RING + place, self._rings.size, self._rings.address),
            (abi.RING_ENTRIES + place, self._entries.size, self._entries.address),
        ]

    def describe(self, ring: abi.Ring) -> None:
        """Fill in what the monitor is told."""
        sq, cq = self.parameters.sq, self.parameters.cq
        rings = abi.RING + self.domain * abi.RING_STRIDE
        ring.present = 1
        ring.polled = self.polled
        ring.entries = self.parameters.sq_entries
        ring.completion_entries = self.parameters.cq_entries
        ring.sq_head = rings + sq.head
        ring.sq_tail = rings + sq.tail
        ring.sq_flags = rings + sq.flags
        ring.sq_array = rings + sq.array
        ring.cq_head = rings + cq.head
        ring.cq_tail = rings + cq.tail
        ring.cq_flags = rings + cq.flags
        ring.cqes = rings + cq.cqes
        ring.sqes = abi.RING_ENTRIES + self.domain * abi.RING_STRIDE
        ring.host_ram = self._memory.region.address
        ring.host_state = self._state
        ring.chunk = self._memory.chunk_size
        ring.orders = self._orders

    def _chunks(self) -> int:
        return -(-self._memory.size // self._memory.chunk_size)

    def look_interval(self) -> float | None:
        """Seconds from one look to the next; None: each follows KICKs."""
        return LOOK_INTERVAL * -(-self._chunks() // LOOK_CHUNKS) if self.polled else None

    def look(self) -> str | None:
        """Why the guest is over: more operations under way, or answers that found no room, than
        there are places for answers; None: it goes on.

        Where the kernel tells nothing at all (/proc not mounted, Linux before 5.16) it does too.
        Where a thread is in the ring at each of LOOKS it goes on until the next look, and `unseen`
        says that this one saw nothing.
        """
        self.unseen = False
        if self._counters is None:
            return None
        most = self.parameters.cq_entries
        for _ in range(LOOKS):
            counters = os.pread(self._counters, COUNTERS_SIZE, 0)
            number = _under_way(counters)
            if number is not None:
                return None if number <= most else _too_many(number, most)
            if b"SqMask" in counters:
                return None
            os.sched_yield()
        self.unseen = True
        return None

    def enter_flags(self) -> int:
        """What a KICK tells io_uring_enter."""
        return ENTER_WAKEUP if self.polled else 0

    def close(self) -> None:
        """Cancel what is under way and close the ring."""
        self._rings.close()
        self._entries.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        os.close(self.descriptor)
        if self._counters is not None:
            os.close(self._counters)


def _open_counters(descriptor: int) -> int | None:
    """Where the kernel shows a ring's counters; None where /proc is not mounted."""
    counters = steps.open_file(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY)
    return None if counters < 0 else counters


def _too_many(number: int, most: int) -> str:
    return f"the monitor has {number} operations under way in its ring, where {most} have room"


def _under_way(counters: bytes) -> int | None:
    """Entries taken that have no answer in the ring, of an fdinfo; None: it does not say.

    The kernel reads one counter after the other: what is answered in between makes it less than 0.
    """
    found: dict[bytes, int] = {}
    for line in counters.splitlines()[:-1]:  # the last may be cut
        name, _, value = line.partition(b":")
        if name in (b"CachedSqHead", b"CachedCqTail"):
            found[name] = int(value)
    if len(found) < 2:
        return None
    number = (found[b"CachedSqHead"] - found[b"CachedCqTail"]) & 0xFFFF_FFFF
    return number if number < 1 << 31 else 0


def _setup(polled: bool) -> tuple[Parameters, int]:
    flags = SETUP_DISABLED | SETUP_SUBMIT_ALL | (SETUP_POLLED if polled else 0)
    return set_up(ENTRIES, flags, POLL_IDLE if polled else 0)


def _unavailable(error: int) -> UsageError | GuestError:
    """Why there is no ring, and what to do."""
    if error in (1, 38):  # EPERM, ENOSYS
        return UsageError(
            "io_uring is switched off on this machine; allow it"
            " (sudo sysctl kernel.io_uring_disabled=0, or the container's seccomp profile)"
        )
    return limits.ring_refusal("io_uring_setup", error)


def takes_files_memory(address: int) -> bool:
    """Whether io_uring takes a page there, which is a file's, mapped as a copy. Linux 6.1 does so
    with files in memory alone.
    """
    with steps.Aside():
        _, descriptor = set_up(1, 0)
        if descriptor < 0:
            return False
        try:
            vector = IoVector(base=address, length=mmap.PAGESIZE)
            return register(descriptor, REGISTER_BUFFERS, vector, 1) != EOPNOTSUPP
        finally:
            os.close(descriptor)


def polls(asked: RunOptions, rings: int = 1) -> bool:
    """Whether a kernel thread for each of the rings takes their entries.

    It pays where a driver's requests reach the ring without an exit, and where there is a CPU
    for it that the guest leaves free: on one that it shares, its looking takes the guest's time.
    """
    if asked.ring != "auto":
        return asked.ring == "poll"
    without_exits = any(disk.bus == VIRTIO and not disk.controller for disk in asked.disks)
    return without_exits and len(os.sched_getaffinity(0)) >= asked.cpus + rings
