"""How many domains a machine has, and which virtio functions are in which."""

import resource

import pytest

from vestige import abi
from vestige.host import domains
from vestige.host.buses import place_consoles, place_disks, place_entropy, place_network
from vestige.host.options import IDE, VIRTIO, DiskOption


def disks(count: int, bus: str = VIRTIO, path: str = "") -> list[DiskOption]:
    return [DiskOption(path, bus)] * count


@pytest.mark.parametrize(
    ("options", "network", "cpus", "expected"),
    [
        ([], False, 32, 1),
        (disks(1), False, 7, 1),
        (disks(1), False, 8, 2),
        (disks(1), False, 31, 7),
        (disks(1), False, 32, 8),
        (disks(4), True, 1, 1),
        (disks(2), False, 2, 2),
        (disks(4), True, 4, 4),
        (disks(4), True, 19, 5),
        (disks(4), True, 32, 8),
        (disks(1), True, 2, 2),
        (disks(1), True, 16, 4),
        ([], True, 32, 1),
        (disks(4, IDE), True, 32, 1),
        (disks(4, VIRTIO, "vfio:0000:01:00.0"), True, 8, 1),
    ],
)
def test_there_is_a_domain_for_each_function_and_for_four_cpus_and_no_more_than_cpus(
    monkeypatch: pytest.MonkeyPatch,
    options: list[DiskOption],
    network: bool,
    cpus: int,
    expected: int,
) -> None:
    monkeypatch.setattr(domains, "_may_lock_memory", lambda: True)
    assert domains.count(options, network, cpus) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0, 1), (8, 1), (63, 1), (64, 2), (100, 3), (1 << 20, 4), (None, 4)],
)
def test_there_are_no_more_than_locked_memory_allows(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, expected: int
) -> None:
    size = resource.RLIM_INFINITY if limit is None else limit * abi.MIB
    monkeypatch.setattr(domains, "_may_lock_memory", lambda: False)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (size, size))
    assert domains.count(disks(4), False, 8) == expected


def test_disks_of_the_ring_and_the_network_are_dealt_out_and_nothing_else() -> None:
    shared = [abi.Shared() for _ in range(3)]
    config = shared[0].config
    place_disks(config, [*disks(3), DiskOption("", IDE)], 4)
    for number in range(4):
        config.disks[number].present = 1
        config.disks[number].sectors = 100 + number
    config.disks[1].kind = abi.DiskKind.NVME
    config.ports[0].present = 1
    config.net.mtu = 1500
    place_network(config)
    place_consoles(config)
    place_entropy(config)
    before = [each.kind for each in config.virtio]
    domains.deal_out(shared)
    assert [each.config.domain for each in shared] == [0, 1, 2]
    assert {each.config.domains for each in shared} == {3}
    assert [config.shares[number] for number in range(6)] == [1] * 6
    homes = [config.homes[number] for number in range(6)]
    assert homes == [0, 0, 1, 2, 0, 0]
    for domain, each in enumerate(shared):
        kinds = [function.kind for function in each.config.virtio]
        assert kinds[:6] == [before[n] if homes[n] == domain else 0 for n in range(6)]
    assert [disk.present for disk in config.disks] == [1, 1, 0, 1]
    assert [disk.sectors for disk in shared[1].config.disks] == [0, 0, 102, 0]
    assert shared[2].config.net.mtu == 1500


@pytest.mark.parametrize(
    ("count", "network", "domains_there", "homes", "shares"),
    [
        (1, False, 1, [0], [1]),
        (1, False, 3, [0], [3]),
        (1, True, 2, [0, 1], [1, 1]),
        (1, True, 4, [0, 3], [3, 1]),
        (2, True, 2, [0, 1, 0], [1, 1, 1]),
        (2, True, 6, [0, 3, 5], [3, 2, 1]),
        (4, True, 8, [0, 2, 4, 6, 7], [2, 2, 2, 1, 1]),
    ],
)
def test_domains_that_are_left_share_the_disks(
    count: int, network: bool, domains_there: int, homes: list[int], shares: list[int]
) -> None:
    shared = [abi.Shared() for _ in range(domains_there)]
    config = shared[0].config
    place_disks(config, disks(count), 32)
    for number in range(count):
        config.disks[number].present = 1
        config.disks[number].sectors = 100 + number
    if network:
        config.net.pairs = 1
        place_network(config)
    place_entropy(config)
    listed = [(each.kind, each.index, each.queues) for each in config.virtio]
    domains.deal_out(shared)
    assert list(config.homes)[: len(homes) + 1] == [*homes, 0]
    assert list(config.shares)[: len(shares) + 1] == [*shares, 1]
    for number, (home, share) in enumerate(zip(homes, shares, strict=True)):
        for domain, each in enumerate(shared):
            function = each.config.virtio[number]
            if home <= domain < home + share:
                assert (function.kind, function.index, function.queues) == listed[number]
                assert (function.share, function.shares) == (domain - home, share)
            else:
                assert function.kind == abi.VirtioKind.NONE
            if number < count:
                disk = each.config.disks[number]
                there = function.kind != abi.VirtioKind.NONE
                assert disk.present == there
                assert domain == 0 or disk.sectors == (100 + number if there else 0)
