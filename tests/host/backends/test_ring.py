"""The restricted io_uring: what it does for the monitor, and all that it refuses."""

import ctypes
import errno
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.host.files.lifted import limited_file_size
from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host.backends import io_uring
from vestige.host.backends import ring as module
from vestige.host.backends.console import Console
from vestige.host.backends.io_uring_records import (
    FIXED_FILE,
    FSYNC,
    HARD_LINK,
    READ_FIXED,
    READV,
    WRITE_FIXED,
    Parameters,
)
from vestige.host.backends.relay import LIMIT, Relay
from vestige.host.backends.ring import Ring
from vestige.host.capabilities import drop_real_time_io
from vestige.host.kvm.memory import GuestMemory, PrivateMemory
from vestige.lang.intrinsics import load32, store32, syscall

ENTRY = struct.Struct("<BBHiQQIIQHHIQQ")
SIZE = 65 * abi.MIB  # not a multiple of the chunk
OPENAT, NOP, FALLOCATE = 18, 0, 17
OWN_POSITION = 2**64 - 1
PATIENCE = 10  # seconds
LARGEST = 2 << 20  # bytes that a file may have


class Rig:
    """A ring over a file, and the monitor's part played by the test."""

    def __init__(
        self,
        *,
        polled: bool = False,
        insists: bool = True,
        file: int | None = None,
        others: Sequence[int] = (),
    ) -> None:
        self.memory = GuestMemory(SIZE)
        self.private = PrivateMemory()
        self.file = os.memfd_create("disk") if file is None else file
        if file is None:
            os.ftruncate(self.file, 1 << 20)
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        state = self.private.host_address(abi.STATE)
        files = [self.file, *others]
        self.ring = Ring(
            self.memory,
            state,
            files,
            self.eventfd,
            polled=polled,
            insists=insists,
        )
        self.shown = abi.Ring()
        self.ring.describe(self.shown)
        self.places = [(address, size, host) for address, size, host in self.ring.mappings()]

    def host(self, address: int) -> int:
        """Where the monitor's `address` is here."""
        for start, size, host in self.places:
            if start <= address < start + size:
                return host + address - start
        raise ValueError(hex(address))

    def queue(
        self,
        operation: int,
        address: int,
        length: int,
        buffer: int,
        *,
        offset: int = 0,
        flags: int = FIXED_FILE,
        priority: int = 0,
        file: int = 0,
        how: int = 0,
    ) -> None:
        """One entry, as the monitor writes it."""
        entry = ENTRY.pack(
            operation, flags, priority, file, offset, address, length, how, 7, buffer, 0, 0, 0, 0
        )
        tail = load32(self.host(self.shown.sq_tail))
        index = tail % self.shown.entries
        base = self.host(self.shown.sqes) + 64 * index
        for word, (value,) in enumerate(struct.iter_unpack("<I", entry)):
            store32(base + 4 * word, value)
        store32(self.host(self.shown.sq_array) + 4 * index, index)
        store32(self.host(self.shown.sq_tail), tail + 1)

    def enter(self, *words: int, **others: int) -> None:
        """One entry as `queue` has it, handed to the kernel."""
        self.queue(*words, **others)
        wake = self.ring.enter_flags()
        assert syscall(426, self.ring.descriptor, 1, 0, wake, 0, 0) >= 0

    def answer(self, seconds: float = 0.2) -> int | None:
        """The result of the oldest completion; None: there is none, and none comes so soon."""
        head = load32(self.host(self.shown.cq_head))
        poll = select.poll()
        poll.register(self.ring.descriptor, select.POLLIN)
        if not poll.poll(1000 * seconds):
            return None
        assert load32(self.host(self.shown.cq_tail)) == head + 1
        place = self.host(self.shown.cqes) + 16 * (head % self.shown.completion_entries)
        store32(self.host(self.shown.cq_head), head + 1)
        return int.from_bytes(load32(place + 8).to_bytes(4, "little"), "little", signed=True)

    def submit(self, *words: int, **others: int) -> int:
        """One entry, and the result of its completion."""
        self.enter(*words, **others)
        result = self.answer(PATIENCE)
        assert result is not None
        return result

    def close(self) -> None:
        self.ring.close()
        self.private.close()
        self.memory.close()
        os.close(self.file)
        os.close(self.eventfd)


@contextmanager
def opened(
    *,
    polled: bool = False,
    insists: bool = True,
    others: Sequence[int] = (),
) -> Iterator[Rig]:
    try:
        made = Rig(polled=polled, insists=insists, others=others)
    except UsageError as error:
        pytest.skip(str(error))
    with closing(made):
        yield made


@pytest.fixture
def rig() -> Iterator[Rig]:
    with opened() as made:
        yield made


def test_data_goes_between_file_and_guest_ram(rig: Rig) -> None:
    os.pwrite(rig.file, b"from the disk", 512)
    assert rig.ring.pin(3) == 0
    offset = 3 * abi.CHUNK + 4096
    buffer = abi.FIRST_CHUNK_BUFFER + 3
    address = rig.shown.host_ram + offset
    assert rig.submit(READ_FIXED, address, 512, buffer, offset=512) == 512
    assert bytes(rig.memory.region.view[offset : offset + 13]) == b"from the disk"
    rig.memory.region.view[offset : offset + 4] = b"back"
    assert rig.submit(WRITE_FIXED, address, 512, buffer, offset=1024) == 512
    assert os.pread(rig.file, 4, 1024) == b"back"
    assert rig.submit(FSYNC, 0, 0, 0) == 0
    assert os.eventfd_read(rig.eventfd) == 3


def test_a_terminal_that_nobody_reads_holds_up_no_other_file() -> None:
    ours, theirs = pty.openpty()
    with closing(Relay(Console(theirs, None))) as relay, opened(others=[relay.output]) as rig:
        write = (WRITE_FIXED, rig.shown.host_state, 4096, abi.STATE_BUFFER)
        read = (READ_FIXED, rig.shown.host_state, 4096, abi.STATE_BUFFER)
        rig.enter(*write, offset=OWN_POSITION, file=1)
        while (result := rig.answer()) is not None:  # else it waits, in the ring
            assert result == 4096
            relay.serve(dict.fromkeys(relay.waits_for(), select.POLLIN))
            assert rig.submit(*read) == 4096
            rig.enter(*write, offset=OWN_POSITION, file=1)
        assert relay._outlet.waiting >= LIMIT
        assert rig.submit(*read) == 4096
    os.close(ours)
    os.close(theirs)


def test_the_monitors_state_is_buffer_zero(rig: Rig) -> None:
    assert rig.submit(READ_FIXED, rig.shown.host_state, 4096, abi.STATE_BUFFER) == 4096


@pytest.mark.parametrize("operation", [NOP, READV, 2, FALLOCATE, OPENAT, 22, 23, 26, 46])
def test_other_operations_are_refused(rig: Rig, operation: int) -> None:
    assert rig.submit(operation, rig.shown.host_state, 512, 0) == -errno.EACCES


REAL_TIME, BEST_EFFORT, IDLE = (value << 13 for value in (1, 2, 3))  # linux/ioprio.h


@pytest.mark.parametrize("polled", [False, True])
def test_no_entry_gets_a_priority_before_other_programs(polled: bool) -> None:
    with opened(polled=polled) as rig:
        operation = (READ_FIXED, rig.shown.host_state, 512, abi.STATE_BUFFER)
        answers: list[int] = []

        def submit() -> None:  # as a vCPU's thread does
            drop_real_time_io()
            answers.extend(
                rig.submit(*operation, priority=priority)
                for priority in (REAL_TIME, REAL_TIME | 7, BEST_EFFORT | 7, IDLE)
            )

        thread = threading.Thread(target=submit)
        thread.start()
        thread.join()
    assert answers == [-errno.EPERM, -errno.EPERM, 512, 512]


WAYS = (0, 1, 2, 3, 8, 16, 32, 48, 64)  # of fallocate(2): each alone, and those that go together


@pytest.mark.parametrize("way", WAYS)
def test_no_file_is_punched_moved_or_given_room(rig: Rig, way: int) -> None:
    """An entry's address is the length there, its length the mode."""
    os.pwrite(rig.file, b"x" * 8192, 0)
    before = os.fstat(rig.file)
    for offset, length in ((0, 4096), (4096, 1 << 20), (1 << 30, 4096)):
        assert rig.submit(FALLOCATE, length, way, 0, offset=offset) == -errno.EACCES
    assert os.fstat(rig.file).st_size == before.st_size
    assert os.fstat(rig.file).st_blocks == before.st_blocks
    assert os.pread(rig.file, 8192, 0) == b"x" * 8192


def test_no_way_of_writing_lengthens_a_file_beyond_the_limit(rig: Rig) -> None:
    """RWF_APPEND and NOAPPEND among them, of preadv2(2)."""
    with limited_file_size(LARGEST):
        os.ftruncate(rig.file, LARGEST)
        for bit in range(32):
            write = (WRITE_FIXED, rig.shown.host_state, 4096, abi.STATE_BUFFER)
            rig.submit(*write, offset=LARGEST - 512, how=1 << bit)
            assert os.fstat(rig.file).st_size == LARGEST, bit


def test_what_a_consoles_file_holds_can_not_be_overwritten(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"earlier|")
    with closing(Relay(Console(log, None))) as relay, opened(others=[relay.output]) as rig:
        memory, sent = rig.private.region.view, 0
        start = rig.shown.host_state - rig.private.region.address
        for bit in (None, *range(32)):
            for offset in (0, 4, 1 << 40, OWN_POSITION):
                memory[start : start + 8] = b"%7d|" % sent
                how = 0 if bit is None else 1 << bit
                write = (WRITE_FIXED, rig.shown.host_state, 8, abi.STATE_BUFFER)
                sent += rig.submit(*write, offset=offset, how=how, file=1) == 8
                relay.serve(dict.fromkeys(relay.waits_for(), select.POLLIN))
        assert rig.submit(FSYNC, 0, 0, 0, file=1) == -errno.EINVAL
    os.close(log)
    lines = (tmp_path / "log").read_bytes().split(b"|")
    assert lines == [b"earlier", *(b"%7d" % number for number in range(sent)), b""]


def test_a_write_behind_the_end_does_not_make_a_file_longer_than_the_limit(rig: Rig) -> None:
    write = (WRITE_FIXED, rig.shown.host_state, 4096, abi.STATE_BUFFER)
    with limited_file_size(LARGEST):
        assert rig.submit(*write, offset=LARGEST - 4096) == 4096
        assert rig.submit(*write, offset=LARGEST) == -errno.EFBIG
        assert rig.submit(*write, offset=1 << 40) == -errno.EFBIG
        assert os.fstat(rig.file).st_size == LARGEST
    assert rig.submit(*write, offset=LARGEST) == 4096


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM, errno.EAGAIN])
def test_a_kernel_that_gives_no_thread(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse_threads(number: int, entries: int, parameters: int, *rest: int) -> int:
        flags = Parameters.at(parameters).flags if number == io_uring.SYS_SETUP else 0
        if flags & io_uring.SETUP_POLLED:
            return -error
        return syscall(number, entries, parameters, *rest)

    monkeypatch.setattr(io_uring, "syscall", refuse_threads)
    with opened(polled=True, insists=False) as rig:
        assert (rig.ring.polled, rig.shown.polled) == (False, 0)
        assert rig.submit(READ_FIXED, rig.shown.host_state, 4096, abi.STATE_BUFFER) == 4096
    with pytest.raises(UsageError, match=r"^--ring poll: .*give --ring kick$"):
        Rig(polled=True)


def test_a_thread_of_the_kernel_takes_the_entries_where_it_may() -> None:
    with opened(polled=True) as rig:
        assert (rig.ring.polled, rig.shown.polled) == (True, 1)


def test_a_plain_descriptor_is_refused(rig: Rig) -> None:
    answer = rig.submit(READ_FIXED, rig.shown.host_state, 512, 0, flags=0, file=rig.file)
    assert answer == -errno.EACCES


def test_other_flags_are_refused(rig: Rig) -> None:
    for bit in (1, 2, 4, 5, 6):  # all but HARD_LINK's
        flags = FIXED_FILE | 1 << bit
        answer = rig.submit(READ_FIXED, rig.shown.host_state, 512, 0, flags=flags)
        assert answer in (-errno.EACCES, -errno.EOPNOTSUPP), bit


def test_reads_in_a_chain_take_what_comes_in_its_order() -> None:
    ours, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, others, opened(others=[ours.fileno()]) as rig:
        words = {"offset": OWN_POSITION, "file": 1}
        for number in range(3):
            flags = FIXED_FILE | HARD_LINK if number < 2 else FIXED_FILE
            address = rig.shown.host_state + 64 * number
            rig.queue(READ_FIXED, address, 64, abi.STATE_BUFFER, flags=flags, **words)
        wake = rig.ring.enter_flags()
        assert syscall(426, rig.ring.descriptor, 3, 0, wake, 0, 0) == 3
        for number, data in enumerate((b"one", b"three", b"five")):
            assert rig.answer() is None
            others.send(data)
            assert rig.answer(PATIENCE) == len(data)
            assert ctypes.string_at(rig.shown.host_state + 64 * number, len(data)) == data


def test_a_file_that_is_not_registered_is_refused(rig: Rig) -> None:
    assert rig.submit(READ_FIXED, rig.shown.host_state, 512, 0, file=1) == -errno.EBADF


def test_addresses_outside_of_their_buffer_are_refused(rig: Rig) -> None:
    assert rig.ring.pin(0) == 0
    ram = rig.shown.host_ram
    for address, length, buffer in (
        (ram - 512, 512, 1),
        (ram + abi.CHUNK - 256, 512, 1),
        (ram + abi.CHUNK, 512, 1),
        (rig.shown.host_state + abi.STATE_FIRST, 512, 0),
        (rig.private.host_address(abi.IMAGE), 512, 0),
        (2**64 - 256, 512, 0),
        (ram, 512, 2),  # not pinned
        (ram, 512, 34),  # beyond the table
    ):
        answer = rig.submit(READ_FIXED, address, length, buffer)
        assert answer in (-errno.EFAULT, -errno.EOVERFLOW), (hex(address), length, buffer)


def test_only_ram_can_be_pinned_and_the_last_chunk_is_short(rig: Rig) -> None:
    assert rig.ring.pin(32) == 0
    end = rig.shown.host_ram + SIZE
    assert rig.submit(READ_FIXED, end - 512, 512, 33) == 512
    assert rig.submit(READ_FIXED, end - 256, 512, 33) == -errno.EFAULT
    for chunk in (33, 2**31, 2**64 - 1):
        assert rig.ring.pin(chunk) == errno.EINVAL


def never_answered(rig: Rig, count: int) -> None:
    """Reads of a pipe that nobody writes."""
    for _ in range(count):
        rig.queue(READ_FIXED, rig.shown.host_state, 512, abi.STATE_BUFFER)
        if not rig.ring.polled:
            assert syscall(426, rig.ring.descriptor, 1, 0, 0, 0, 0) == 1


@contextmanager
def over_a_pipe(*, polled: bool = False) -> Iterator[Rig]:
    read, write = os.pipe()
    with closing(Rig(file=read, polled=polled)) as rig:
        yield rig
    os.close(write)


TOO_MANY = r"the monitor has (\d+) operations under way in its ring, where 512 have room"


def test_operations_that_are_never_answered_are_counted_by_the_kernel() -> None:
    with over_a_pipe() as rig:
        never_answered(rig, 512)
        store32(rig.host(rig.shown.sq_head), 0)  # what the monitor can write is not believed
        store32(rig.host(rig.shown.cq_tail), 512)
        assert rig.ring.look() is None
        never_answered(rig, 1)
        found = re.fullmatch(TOO_MANY, rig.ring.look() or "")
        assert found
        assert found[1] == "513"


def test_answers_that_are_never_taken_are_counted_once_they_find_no_room(rig: Rig) -> None:
    read = (READ_FIXED, rig.shown.host_state, 512, abi.STATE_BUFFER)
    assert rig.submit(*read) == 512  # on a busy machine it may take a while the first time
    for number in range(1025):
        assert rig.ring.look() is None, number
        rig.queue(*read)
        assert syscall(426, rig.ring.descriptor, 1, 0, 0, 0, 0) == 1
    found = re.fullmatch(TOO_MANY, rig.ring.look() or "")
    assert found
    assert found[1] == "513"


def test_what_is_answered_and_taken_leaves_nothing_behind(rig: Rig) -> None:
    for _ in range(2000):
        assert rig.submit(READ_FIXED, rig.shown.host_state, 512, abi.STATE_BUFFER) == 512
    assert rig.ring.look() is None


def test_a_ring_that_needs_no_kick_is_counted_too() -> None:
    with over_a_pipe(polled=True) as rig:
        assert rig.ring.look() is None
        for _ in range(3):
            never_answered(rig, 256)
            assert syscall(426, rig.ring.descriptor, 1, 0, 1 << 1 | 1 << 2, 0, 0) >= 0  # wake, wait
        while load32(rig.host(rig.shown.sq_head)) != load32(rig.host(rig.shown.sq_tail)):
            os.sched_yield()
        found = re.fullmatch(TOO_MANY, rig.ring.look() or "")
        assert found
        assert found[1] == "768"


@pytest.mark.parametrize(("gibibytes", "seconds"), [(1, 0.1), (4, 0.1), (30, 0.8)])
def test_a_ring_that_needs_no_kick_is_looked_at_as_often_as_its_ram_allows(
    gibibytes: int, seconds: float
) -> None:
    with over_a_pipe(polled=True) as rig, closing(GuestMemory(gibibytes << 30)) as memory:
        rig.ring._memory = memory
        assert rig.ring.look_interval() == pytest.approx(seconds)
    with over_a_pipe() as rig:
        assert rig.ring.look_interval() is None


@pytest.mark.parametrize(
    ("counters", "number"),
    [
        (b"CachedSqHead:\t700\nCqMask:\t0x1ff\nCachedCqTail:\t100\nSQ", 600),
        (b"CachedSqHead:\t5\nCachedCqTail:\t4294967290\n\n", 11),
        (b"CachedSqHead:\t5\nCachedCqTail:\t6\n\n", 0),
        (b"CachedSqHead:\t5\nCachedCqTail:\t6", None),
        (b"pos:\t0\nflags:\t02000002\n", None),
    ],
)
def test_the_kernels_counters_are_read(counters: bytes, number: int | None) -> None:
    assert module._under_way(counters) == number


def test_a_kernel_that_shows_no_counters_is_done_without(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pread", lambda *_: b"pos:\t0\nSqMask:\t0xff\n")
    assert [rig.ring.look() for _ in range(100)] == [None] * 100


def test_a_ring_that_is_in_use_is_looked_at_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [b"pos:\t0\n", b"pos:\t0\n", b"CachedSqHead:\t513\nCachedCqTail:\t0\n\n"]
    monkeypatch.setattr(os, "pread", lambda *_: shown.pop(0))
    assert re.fullmatch(TOO_MANY, rig.ring.look() or "")
    monkeypatch.setattr(os, "pread", lambda *_: b"pos:\t0\n")
    assert rig.ring.look() is None


THREADS = """
import os, sys
from pathlib import Path
from tests.host.backends.test_ring import Rig
from vestige.host.backends import io_uring_records, ring as module
from vestige.lang.intrinsics import syscall
limit, path = int(sys.argv[1]), sys.argv[2]
if limit:
    module.DISK_WORKERS = limit
else:
    module.Ring._limit_workers = lambda _: None
rig = Rig(file=os.open(path, os.O_RDWR | os.O_CREAT))
most = 0
for _ in range(600):
    os.pwrite(rig.file, bytes(4096), 0)
    rig.queue(io_uring_records.FSYNC, 0, 0, 0)
    assert syscall(426, rig.ring.descriptor, 1, 0, 0, 0, 0) == 1
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    most = max(most, sum(name.startswith("iou-wrk") for name in names))
print(most)
"""


def kernel_threads(path: Path, limit: int) -> int:
    """How many threads 600 operations that wait for the disk have; 0: no limit of ours."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(limit), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_no_more_threads_of_the_kernel_wait_in_files_than_the_limit(tmp_path: Path) -> None:
    if kernel_threads(tmp_path / "disk", 0) <= 3:
        pytest.skip(f"{tmp_path}: nothing waits in this file system")
    assert kernel_threads(tmp_path / "disk", 3) == 3
    assert kernel_threads(tmp_path / "disk", module.DISK_WORKERS) <= module.DISK_WORKERS


def test_every_register_operation_but_updating_buffers_is_refused(rig: Rig) -> None:
    for operation in range(40):
        if operation != io_uring.REGISTER_BUFFERS_UPDATE:
            answer = syscall(427, rig.ring.descriptor, operation, 0, 0, 0, 0)
            assert answer < 0, operation
    with pytest.raises(GuestError, match="io_uring_register 2: Permission denied"):
        rig.ring._register(io_uring.REGISTER_FILES, module.Descriptors(), 1)


def test_a_ring_that_is_switched_off_says_how_to_switch_it_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(io_uring, "syscall", lambda *_: -errno.EPERM)
    with (
        closing(GuestMemory(64 * abi.MIB)) as memory,
        pytest.raises(UsageError, match="io_uring_disabled=0"),
    ):
        Ring(memory, 0, [], 0)


def test_memory_that_cannot_be_pinned_is_told_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rig.ring, "_set_buffer", lambda *_: errno.ENOMEM)
    assert [rig.ring.pin(chunk) for chunk in range(3)] == [errno.ENOMEM] * 3
    told = capsys.readouterr().err
    assert told.startswith("vestige: the guest's transfers fail: io_uring: Cannot allocate memory")
    assert told.count("\n") == 1


LIMITED = """
import ctypes, os, resource  # before privileges go: nothing can be imported after
from vestige import abi
from vestige.host.kvm import memory
from vestige.host.backends import ring
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
limit = min(8 * abi.MIB, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
ram, private = memory.GuestMemory(64 * abi.MIB), memory.PrivateMemory()
file = os.memfd_create("disk")
made = ring.Ring(ram, private.host_address(abi.STATE), [file], os.eventfd(0))
pinned = made._pinned
state = private.host_address(abi.STATE + abi.STATE_SIZE)
other = ring.Ring(ram, state, [file], os.eventfd(0), domain=1, pinned=pinned)
for chunk in range(32):
    assert made.pin(chunk) == 0, chunk
assert (made, 31) in made._pinned and (made, 0) not in made._pinned, made._pinned
assert made.pin(0) == 0
for chunk in range(32):
    assert other.pin(chunk) == 0, chunk
assert {owner for owner, _ in pinned} == {other}, pinned
assert made.pin(0) == 0
assert {owner for owner, _ in pinned} == {made, other}, pinned
print("fine")
"""


def test_within_the_limit_of_locked_memory_old_chunks_make_room() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "fine\n", done.stderr
