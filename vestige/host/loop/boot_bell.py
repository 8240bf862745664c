"""The boot CPU's bell and alarm: what ends its KVM_RUN of the guest without a call or a signal.

A PC's interrupt controller interrupts the boot CPU, whose guest exits for that. Who makes the
controller ask rings: an OUT to abi.PORT_ATTEND of the monitor VM is an eventfd. A READV of that
waits in an io_uring of the host's own, and its first byte, 1, goes to immediate_exit in kvm_run of
the guest's boot CPU. The kernel reads in the thread that submitted it, which is the boot CPU's, and
fetches that from KVM_RUN as for a signal, from a HLT too. A HLT that no interrupt may end goes on
at the next KVM_RUN.

The alarm is for a timer that interrupts by that controller: the boot CPU keeps it itself, and no
other thread has to wake. An INJECT may order one. It is a TIMEOUT in the same ring, and linked to
it a READV of an eventfd that never runs empty, whose first byte goes to the same place.

No ring is lost: wherever the thread is when the kernel reads, in the monitor or on its way to the
guest, the next KVM_RUN of the guest finds immediate_exit set. A poll of the eventfd, or the TIMEOUT
alone, would end the KVM_RUN that there is, and none that is about to begin.

Threats. The monitor does not see this ring. It may ring as often as it likes: that is processor
time of its own threads, a count of 64 bits, and one entry under way, whose completion is taken
before the next. Each 256 rings for which the boot CPU did not come are none: the count's low byte
is what is copied. An honest monitor rings once until the boot CPU has looked. Of alarms there is
one at a time, of 10 µs to a second (bell.py).
"""

import os

from vestige import abi
from vestige.host import steps
from vestige.host.backends.io_uring import (
    FAST_POLL,
    REGISTER_ENABLE,
    REGISTER_FILES,
    RESTRICT_ALLOWED,
    RESTRICT_OPERATION,
    RESTRICT_REQUIRED,
    SETUP_DISABLED,
    map_ring,
    register,
    restrict,
    set_up,
)
from vestige.host.backends.io_uring_records import (
    ENTRY_SIZE,
    FIXED_FILE,
    HARD_LINK,
    READV,
    TIMEOUT,
    IoVector,
    Submission,
)
from vestige.host.kvm.api import IMMEDIATE_EXIT
from vestige.host.kvm.vm import VirtualCpu, VirtualMachine
from vestige.host.loop.bell import ALARM, ALARM_READ, BELL, PLACES, Bell
from vestige.host.resources import Resources
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct, i32, u8, u64

EOPNOTSUPP = 95
ALARMS = 1 << 62  # that there can be
RESTRICTIONS = (
    (RESTRICT_OPERATION, READV),
    (RESTRICT_OPERATION, TIMEOUT),
    (RESTRICT_REQUIRED, FIXED_FILE),
    (RESTRICT_ALLOWED, FIXED_FILE | HARD_LINK),
)


class Area(Struct):
    """What the entries point to."""

    vectors: IoVector[2]  # of a READV
    rest: u8[8]  # where the bytes of the count go that are not copied
    time: u64[2]  # of the alarm: seconds, nanoseconds


class Files(Struct):
    """The descriptors that the ring has."""

    descriptors: i32[2]


class BootBell:
    """Both ends of it: the monitor's port, and the ring with its three entries.

    `eventfd` is what is written where it is rung.
    """

    def __init__(self, monitor: VirtualMachine, boot: VirtualCpu) -> None:
        """One that is rung in `monitor`, for the guest's CPU `boot`.

        Raises OSError where this kernel has none.
        """
        resources = self._resources = Resources()
        try:
            # Not EFD_NONBLOCK, by which nothing would wait.
            self.eventfd = resources.keep_file(steps.eventfd(0))
            ones = os.EFD_SEMAPHORE  # each read takes 1 of the count
            self._ones = resources.keep_file(steps.eventfd(ones))
            steps.do(lambda: os.eventfd_write(self._ones, ALARMS))
            self._parameters, self._descriptor = set_up(PLACES, SETUP_DISABLED)
            _check(-self._descriptor)
            resources.keep_file(self._descriptor)
            steps.do(self._map)
            for each in (self._rings, self._entries):
                resources.keep(each)
                steps.is_mapped_anew(each.address, each.size)
            self._restrict()
            steps.do(lambda: self._fill(boot))
            monitor.connect_port(abi.PORT_ATTEND, self.eventfd)
        except BaseException:
            resources.close()
            raise

    def _map(self) -> None:
        self._rings, self._entries = map_ring(self._descriptor, self._parameters)

    def _restrict(self) -> None:
        """The ring does nothing but such reads of the two files, and waits."""
        if not self._parameters.features & FAST_POLL:
            _check(EOPNOTSUPP)
        ring = self._descriptor
        _check(restrict(ring, RESTRICTIONS))
        files = Files()
        files.descriptors[0], files.descriptors[1] = self.eventfd, self._ones
        _check(register(ring, REGISTER_FILES, files, len(files.descriptors)))
        _check(register(ring, REGISTER_ENABLE, None, 0))

    def _fill(self, boot: VirtualCpu) -> None:
        self._area = area = Area()
        byte, rest = area.vectors
        byte.base, byte.length = boot.run_address + IMMEDIATE_EXIT, 1
        rest.base, rest.length = address_of(area.rest), len(area.rest) - 1
        vectors, time = address_of(area.vectors), address_of(area.time)
        self._put(BELL, READV, vectors, len(area.vectors))
        self._put(ALARM, TIMEOUT, time, 1, flags=FIXED_FILE | HARD_LINK)
        self._put(ALARM_READ, READV, vectors, len(area.vectors), file=1)

    def _put(
        self,
        place: int,
        operation: int,
        address: int,
        length: int,
        *,
        file: int = 0,
        flags: int = FIXED_FILE,
    ) -> None:
        entry = Submission.from_buffer(self._entries.view, ENTRY_SIZE * place)
        entry.operation, entry.flags, entry.file = operation, flags, file
        entry.address, entry.length, entry.user_data = address, length, place

    def hang(self, bell: Bell) -> None:
        """Let the boot CPU's run loop have it."""
        place, cq = self._rings.address, self._parameters.cq
        bell.hangs, bell.ring = 1, self._descriptor
        bell.sq_tail = place + self._parameters.sq.tail
        bell.sq_array = place + self._parameters.sq.array
        bell.alarm = address_of(self._area.time)
        bell.cq_head, bell.cq_tail = place + cq.head, place + cq.tail
        bell.completions, bell.mask = place + cq.cqes, self._parameters.cq_entries - 1

    def close(self) -> None:
        """Give it back; the boot CPU's thread must have left it."""
        self._resources.close()


def _check(error: int) -> None:
    if error > 0:
        raise OSError(error, os.strerror(error))
