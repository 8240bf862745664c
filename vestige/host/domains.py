"""Domains: shares of the machine's devices, each with a worker, a lock and an io_uring of its own.

Domain 0 is the machine of old: everything but virtio functions. Those which move much data, disks
of the ring and the network interface, are dealt out to all domains in turn, so that those in
different domains are served at the same time. Where a guest has CPUs for more workers than there
are such functions, several domains share a disk: each serves some of its queues.
"""

from _collections_abc import Sequence

from vestige import abi
from vestige.host.options import VIRTIO, DiskOption

LOCKED_MEMORY = 32 * abi.MIB  # that a domain should have for itself, of RLIMIT_MEMLOCK
MAY_LOCK = 1 << 14  # CAP_IPC_LOCK
CPUS_PER_WORKER = 4  # a disk has a queue for each CPU: one worker serves those of so many
ALL_USERS = ["0", "0", str((1 << 32) - 1)]  # /proc/self/uid_map of the first user namespace


def count(disks: Sequence[DiskOption], network: bool, cpus: int) -> int:
    """How many domains a machine has.

    One for each virtio function to be dealt out, and no more than CPUs: who has one CPU waits for
    the worker, or the worker for it. For a guest with many CPUs there are more, to share its disks.
    No more than locked memory allows, either.
    """
    virtio = sum(disk.bus == VIRTIO and disk.controller is None for disk in disks)
    most = min(virtio + network, cpus)
    if virtio:
        most = max(most, cpus // CPUS_PER_WORKER)
    most = min(most, abi.MAX_DOMAINS)
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

    Domains that are left then are the disks', each as many as any other, or one more. To be called
    once all devices are placed, and before the machine is wired.
    """
    first, domains = shared[0].config, len(shared)
    for domain, each in enumerate(shared):
        each.config.domain, each.config.domains = domain, domains
        each.config.board = first.board
    shares = _shares(first, domains)
    turn = 0
    for number, count in enumerate(shares):
        home = turn % domains if count else 0
        turn += count
        first.homes[number], first.shares[number] = home, max(count, 1)
        _place(first, [each.config for each in shared[home : home + max(count, 1)]], number)


def _shares(config: abi.Config, domains: int) -> list[int]:
    """How many domains each virtio function has; 0 where it is not to be dealt out."""
    shares = [int(_moves_much(config, function)) for function in config.virtio]
    sharing = [
        number
        for number, function in enumerate(config.virtio)
        if shares[number] and function.kind == abi.VirtioKind.BLOCK
    ]
    left = domains - sum(shares)
    for turn, number in enumerate(sharing):
        others = len(sharing) - turn
        more = max(-(-left // others), 0)
        shares[number] += more
        left -= more
    return shares


def _moves_much(config: abi.Config, function: abi.Virtio) -> bool:
    if function.kind == abi.VirtioKind.BLOCK:
        return config.disks[function.index].kind == abi.DiskKind.RING
    return function.kind == abi.VirtioKind.NET


def _place(first: abi.Config, configs: Sequence[abi.Config], number: int) -> None:
    """Virtio function `number`, and what is behind it, is these domains' now, and no other's."""
    function = abi.Virtio.from_buffer_copy(first.virtio[number])
    disk = abi.Disk.from_buffer_copy(first.disks[function.index])
    block = function.kind == abi.VirtioKind.BLOCK
    first.virtio[number].kind = abi.VirtioKind.NONE
    if block:
        first.disks[function.index].present = 0
    for share, config in enumerate(configs):
        config.virtio[number] = function
        config.virtio[number].share, config.virtio[number].shares = share, len(configs)
        if block:
            config.disks[function.index] = disk
        elif function.kind == abi.VirtioKind.NET:
            config.net = first.net
