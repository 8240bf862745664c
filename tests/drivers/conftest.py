"""The benches every shared test runs on."""

from collections.abc import Callable

import pytest

from tests.drivers.benches import Bench, MakeNvme, NvmeBench, OverlayBench, RingBench

BENCHES: dict[str, Callable[[bool], Bench]] = {
    "ring": RingBench,
    "overlay": OverlayBench,
    "nvme": NvmeBench,
    "nvme-4096": lambda compiled: NvmeBench(compiled, block_size=4096),
    "nvme-moved": lambda compiled: NvmeBench(compiled, moved=True, block_size=4096),
    "nvme-small": lambda compiled: NvmeBench(compiled, mdts=1, entries=4, queues=1, stride=2),
}


@pytest.fixture(params=["cpython", "compiled"])
def compiled(request: pytest.FixtureRequest) -> bool:
    """Whether the driver runs as machine code."""
    return bool(request.param == "compiled")


@pytest.fixture
def make(compiled: bool) -> MakeNvme:
    """Makes an NVMe bench; keywords are the fake controller's."""
    return lambda **keywords: NvmeBench(compiled, **keywords)


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, compiled: bool) -> Bench:
    """A driver with a disk of 8 MiB and RAM of 12."""
    return BENCHES[request.param](compiled)
