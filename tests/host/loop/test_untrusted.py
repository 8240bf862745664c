"""What the host reads back from memory that the monitor writes: copies, bounded."""

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.devices.fuzzing import Limit
from tests.host.harness import why_not
from tests.host.loop.fuzz_untrusted import fuzz
from vestige import abi
from vestige.host.kvm.memory import PrivateMemory
from vestige.host.loop.untrusted import Untrusted


@pytest.fixture
def private() -> Iterator[PrivateMemory]:
    """Of two domains; a disk in the second's Config."""
    with closing(PrivateMemory()) as memory:
        memory.shared(1).config.disks[3].sectors = 77
        memory.shared(1).config.homes[0] = 1
        yield memory


def test_the_host_keeps_what_it_wrote_itself(private: PrivateMemory) -> None:
    untrusted = Untrusted(private, 2)
    shared = private.shared(1)
    shared.config.disks[3].sectors = 1 << 60
    shared.config.homes[0] = 200
    assert (untrusted.configs[1].disks[3].sectors, untrusted.configs[1].homes[0]) == (77, 1)


def test_what_is_read_is_a_copy_that_the_monitor_can_not_change(private: PrivateMemory) -> None:
    untrusted = Untrusted(private, 2)
    cpu, shared = private.cpu(1), private.shared(1)
    cpu.argument[0], cpu.panic.site, shared.statistics.reads = 1, 2, 3
    arguments, panic, found = untrusted.arguments(1), untrusted.panic(1), untrusted.statistics()
    cpu.argument[0] = cpu.panic.site = shared.statistics.reads = 99
    assert (arguments, panic.site, found[1].reads) == ((1, 0, 0, 0), 2, 3)


@pytest.mark.parametrize(
    ("gsi", "domain"),
    [(abi.GSIS, 0), (0, 2), ((1 << 64) - 1, 0), (0, (1 << 64) - 1), (5, abi.MAX_DOMAINS - 1)],
)
def test_a_route_that_is_not_there_is_none(private: PrivateMemory, gsi: int, domain: int) -> None:
    assert Untrusted(private, 2).route(gsi, domain) is None


def test_routes_are_their_domains(private: PrivateMemory) -> None:
    route = private.shared(1).routes[abi.GSIS - 1]
    route.address, route.data = 0xFEE0_0000, 0x41
    untrusted = Untrusted(private, 2)
    assert untrusted.route(abi.GSIS - 1, 1) == (0xFEE0_0000, 0x41)
    assert untrusted.route(abi.GSIS - 1, 0) == (0, 0)
    assert untrusted.routes(1) == {abi.GSIS - 1: (0xFEE0_0000, 0x41)}
    assert untrusted.routes(0) == {}


@pytest.mark.parametrize(("length", "size"), [(0, 0), (3, 3), (1024, 1024), ((1 << 64) - 1, 1024)])
def test_a_log_line_ends_where_its_memory_does(
    private: PrivateMemory, length: int, size: int
) -> None:
    assert Untrusted(private, 1).log(length) == bytes(size)


@pytest.mark.kvm
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_a_monitor_leaves_there_the_host_goes_on_or_ends_it_by_a_line(seed: int) -> None:
    assert fuzz(Limit(300), random.Random(seed)) == 300
