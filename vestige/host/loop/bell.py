"""The boot CPU's bell: what ends its KVM_RUN of the guest, with neither a call nor a signal.

A PC's interrupt controller interrupts the boot CPU, whose guest exits for that. Who makes the
controller ask rings: an OUT to abi.PORT_ATTEND of the monitor VM is an eventfd. A READV of that
waits in an io_uring of the host's own, and its first byte, 1, goes to immediate_exit in kvm_run of
the guest's boot CPU. The kernel reads in the thread that submitted it, which is the boot CPU's, and
fetches that from KVM_RUN as for a signal, from a HLT too. A HLT that no interrupt may end goes on
at the next KVM_RUN.

No ring is lost: wherever the thread is when the kernel reads, in the monitor or on its way to the
guest, the next KVM_RUN of the guest finds immediate_exit set. A poll of the eventfd would end the
KVM_RUN that there is, and none that is about to begin.

Threats. The monitor does not see this ring. It may ring as often as it likes: that is processor
time of its own threads, a count of 64 bits, and one entry under way, whose completion is taken
before the next. Each 256 rings for which the boot CPU did not come are none: the count's low byte
is what is copied. An honest monitor rings once until the boot CPU has looked.
"""

import os

from vestige import abi
from vestige.host.backends.io_uring import (
    COMPLETION_SIZE,
    FAST_POLL,
    FIXED_FILE,
    READV,
    REGISTER_ENABLE,
    REGISTER_FILES,
    RESTRICT_ALLOWED,
    RESTRICT_OPERATION,
    RESTRICT_REQUIRED,
    SETUP_DISABLED,
    Completion,
    Descriptor,
    IoVector,
    Submission,
    map_ring,
    register,
    restrict,
    set_up,
)
from vestige.host.kvm.api import IMMEDIATE_EXIT
from vestige.host.kvm.memory import mapping_address
from vestige.host.kvm.vm import VirtualCpu, VirtualMachine
from vestige.host.resources import Resources
from vestige.lang.intrinsics import address_of, load32, load_acquire32, store_release32, syscall
from vestige.lang.types import Struct, i32, u8, u32, u64

SYS_IO_URING_ENTER = 426
EAGAIN = 11
EOPNOTSUPP = 95
RESTRICTIONS = (
    (RESTRICT_OPERATION, READV),
    (RESTRICT_REQUIRED, FIXED_FILE),
    (RESTRICT_ALLOWED, FIXED_FILE),
)


class Bell(Struct):
    """What the boot CPU's run loop knows of it. Its own thread alone uses it. Typed Python."""

    hangs: u8  # 1: there is one
    queued: u8  # 1: the entry waits for the kernel to take it
    ring: u64  # descriptor of the io_uring
    sq_tail: u64  # addresses
    cq_head: u64
    cq_tail: u64
    completions: u64
    mask: u32  # of a completion's place

    def listen(self) -> u32:
        """Have the next ring set immediate_exit, or this one that waits; an errno, or 0."""
        if self.queued == 0:
            store_release32(self.sq_tail, u32(load32(self.sq_tail) + 1))
            self.queued = 1
        answer = syscall(SYS_IO_URING_ENTER, self.ring, 1, 0, 0, 0, 0)
        if answer < 0:
            return u32(-answer)
        if answer == 0:
            return EAGAIN
        self.queued = 0
        return 0

    def answer(self) -> u32:
        """Listen again where it was the bell that ended a KVM_RUN; an errno, or 0.

        immediate_exit has been cleared: who rings from now on sets it again.
        """
        if self.hangs == 0:
            return 0
        if self.queued == 0:
            head = load32(self.cq_head)
            if load_acquire32(self.cq_tail) == head:
                return 0
            place = u64(self.completions + COMPLETION_SIZE * (head & self.mask))
            result: i32 = Completion.at(place).result
            store_release32(self.cq_head, u32(head + 1))
            if result < 0:
                return u32(-result)
        return self.listen()


class Rest(Struct):
    """Where the bytes of the count go that are not copied."""

    bytes: u8[7]


class Vectors(Struct):
    """What the READV has."""

    vectors: IoVector[2]


class BootBell:
    """Both ends of it: the monitor's port, and the ring with the one entry that there ever is.

    `eventfd` is what is written where it is rung.
    """

    def __init__(self, monitor: VirtualMachine, boot: VirtualCpu) -> None:
        """One that is rung in `monitor`, for the guest's CPU `boot`.

        Raises OSError where this kernel has none.
        """
        resources = self._resources = Resources()
        try:
            # Not EFD_NONBLOCK, by which nothing would wait.
            self.eventfd = resources.keep_file(os.eventfd(0, os.EFD_CLOEXEC))
            self._parameters, self._descriptor = set_up(1, SETUP_DISABLED)
            _check(-self._descriptor)
            resources.keep_file(self._descriptor)
            self._rings, self._entries = map_ring(self._descriptor, self._parameters)
            resources.keep(self._rings)
            resources.keep(self._entries)
            self._restrict()
            self._fill(boot)
            monitor.connect_port(abi.PORT_ATTEND, self.eventfd)
        except BaseException:
            resources.close()
            raise

    def _restrict(self) -> None:
        """The ring does nothing but such reads of the eventfd."""
        if not self._parameters.features & FAST_POLL:
            _check(EOPNOTSUPP)
        ring = self._descriptor
        _check(restrict(ring, RESTRICTIONS))
        _check(register(ring, REGISTER_FILES, Descriptor(value=self.eventfd), 1))
        _check(register(ring, REGISTER_ENABLE, None, 0))

    def _fill(self, boot: VirtualCpu) -> None:
        entry = Submission.from_buffer(self._entries)
        self._rest, self._vectors = Rest(), Vectors()
        byte, rest = self._vectors.vectors
        byte.base, byte.length = boot.run_address + IMMEDIATE_EXIT, 1
        rest.base, rest.length = address_of(self._rest), len(self._rest.bytes)
        entry.operation, entry.flags = READV, FIXED_FILE  # the only file
        entry.address, entry.length = address_of(self._vectors), len(self._vectors.vectors)

    def hang(self, bell: Bell) -> None:
        """Let the boot CPU's run loop have it."""
        place, cq = mapping_address(self._rings), self._parameters.cq
        bell.hangs, bell.ring = 1, self._descriptor
        bell.sq_tail = place + self._parameters.sq.tail
        bell.cq_head, bell.cq_tail = place + cq.head, place + cq.tail
        bell.completions, bell.mask = place + cq.cqes, self._parameters.cq_entries - 1

    def close(self) -> None:
        """Give it back; the boot CPU's thread must have left it."""
        self._resources.close()


def _check(error: int) -> None:
    if error > 0:
        raise OSError(error, os.strerror(error))
