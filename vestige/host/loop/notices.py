"""Who serves what a guest's driver tells its disks of: the worker, or the CPU that tells.

A store to a notify address is an eventfd that wakes the worker, without an exit (host/buses.py).
With that taken away the store exits, as any access outside RAM. The run loop forwards it, and the
monitor beside that CPU looks at the queues: it submits, KICKs, and finds what the page cache had,
with no other thread's help. That is the faster way while requests come one at a time and are
answered at once. Many at a time are the worker's (patience.py). Whenever the ways change, a store
is either an exit or the eventfd: KVM moves that under a lock.

Only where a guest has one CPU: who serves holds the domain's lock, for which others would spin.

Typed Python, part of the run loop; host memory alone, which nothing in a guest can reach. What a
guest and its monitor can do to it is to have their own disks served the worse way.
"""

from vestige.abi import MAX_VIRTIO
from vestige.host.kvm.requests import Ioeventfd, Request
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, u32, u64

SYS_IOCTL = 16
EEXIST, ENOENT = 17, 2  # it was there, it was not
DEASSIGN = 4  # of Ioeventfd.flags: KVM_IOEVENTFD_FLAG_DEASSIGN
STAY = 32  # KICKs of the CPU until the worker looks
EARLIER = 16  # for so many counts one of several requests, or that leaves something under way


class Notices(Struct):
    """Of a machine's disks, one queue each; for the threads of its CPU and of its worker.

    One thread at a time changes it: the worker's while that serves, the CPU's while that does.
    """

    guest: u64  # descriptor of the guest VM
    count: u32  # of stores; 0: they stay as they are
    exits: u32  # 1: they exit, and the CPU serves
    left: u32  # KICKs until the worker serves again
    completions: u64  # address of the ring's count of completions; the monitor may write it
    stores: Ioeventfd[MAX_VIRTIO]

    def give_to_cpu(self) -> bool:
        """In the worker's thread: from now on they exit. False: KVM refuses, and they don't."""
        if not self.move(DEASSIGN):
            self.move(0)
            self.count = 0
            return False
        self.left = STAY
        self.exits = 1
        return True

    def kicked(self, alone: bool) -> None:
        """In the CPU's thread, which serves: a KICK, and whether for one request, now answered."""
        spent = 1 if alone else EARLIER
        if self.left > spent:
            self.left -= spent
            return
        if self.move(0):
            self.exits = 0
        else:
            self.left = STAY  # without memory for it now

    def move(self, flags: u32) -> bool:
        """All of them, those that are there already too; whether they all are."""
        moved = True
        for number in range(min(self.count, MAX_VIRTIO)):
            store = self.stores[number]
            store.flags = flags
            answer = syscall(SYS_IOCTL, self.guest, Request.IOEVENTFD, address_of(store), 0, 0, 0)
            moved = moved and answer in (0, -EEXIST, -ENOENT)
        return moved
