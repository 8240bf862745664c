"""Domains: shares of the machine's devices, each with a worker, a lock and an io_uring of its own.

Domain 0 is the machine of old: everything but virtio functions. Those which move much data, disks
of the ring and the network interface, are dealt out to all domains in turn, so that those in
different domains are served at the same time.
"""

from _collections_abc import Sequence

from vestige import abi
from vestige.host.options import VIRTIO, DiskOption

LOCKED_MEMORY = 32 * abi.MIB  # that a domain should have for itself, of RLIMIT_MEMLOCK
MAY_LOCK = 1 << 14  # CAP_IPC_LOCK
ALL_USERS = ["0", "0", str((1 << 32) - 1)]  # /proc/self/uid_map of the first user namespace


def count(disks: Sequence[DiskOption], network: bool, cpus: int) -> int:
    """How many domains a machine has.

    One for each virtio function to be dealt out, and no more than CPUs: who has one CPU waits for
    the worker, or the worker for it. No more than locked memory allows, too.
    """
    virtio = sum(disk.bus == VIRTIO and disk.controller is None for disk in disks)
    most = min(virtio + network, cpus, abi.MAX_DOMAINS)
    if most > 1 and not _may_lock_memory():
        import resource  # noqa: PLC0415 - few runs need it

        limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if limit != resource.RLIM_INFINITY:
            most = min(most, limit // LOCKED_MEMORY)
    return max(most, 1)


def _may_lock_memory() -> bool:
    """Whether RLIMIT_MEMLOCK is none for this process: io_uring asks for CAP_IPC_LOCK."""
    with open("/proc/self/uid_map", encoding="ascii") as file:  # noqa: PTH123
        first = file.read().split() == ALL_USERS
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123
        (held,) = (int(line.split()[1], 16) for line in file if line.startswith(b"CapEff:"))
    return first and held & MAY_LOCK != 0


def deal_out(shared: Sequence[abi.Shared]) -> None:
    """Give the virtio functions that the first domain's Config lists to all domains in turn.

    To be called once all devices are placed, and before the machine is wired.
    """
    first, domains = shared[0].config, len(shared)
    for domain, each in enumerate(shared):
        each.config.domain, each.config.domains = domain, domains
    turn = 0
    for number, function in enumerate(first.virtio):
        home = 0
        if _moves_much(first, function):
            home, turn = turn % domains, turn + 1
        first.homes[number] = home
        if home:
            _move(first, shared[home].config, number)


def _moves_much(config: abi.Config, function: abi.Virtio) -> bool:
    if function.kind == abi.VirtioKind.BLOCK:
        return config.disks[function.index].kind == abi.DiskKind.RING
    return function.kind == abi.VirtioKind.NET


def _move(first: abi.Config, other: abi.Config, number: int) -> None:
    """Virtio function `number`, and what is behind it, is the other domain's now."""
    function = first.virtio[number]
    if function.kind == abi.VirtioKind.BLOCK:
        other.disks[function.index] = first.disks[function.index]
        first.disks[function.index].present = 0
    else:
        other.net = first.net
    other.virtio[number] = function
    function.kind = abi.VirtioKind.NONE
