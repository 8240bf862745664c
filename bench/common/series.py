"""Many requests of one kind to the ring driver, as code that is compiled: one thread does it all.

The driver and the requests are the monitor's; the models above and the run loop below are left out.
"""

from vestige.abi import SECTOR, Disk, Ring, Statistics
from vestige.host.loop.bell import SYS_IO_URING_ENTER
from vestige.lang.intrinsics import load64, syscall
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.block import BlockRequest, State
from vestige.monitor.drivers.ring.driver import RingDriver

MOST = 32  # requests at a time
GET_EVENTS = 1 << 0  # io_uring_enter(2): wait


class Series(Struct):
    """`count` requests of `sectors` each, up to `depth` at a time.

    `lbas` is the address of their first sectors, a u64 each; `buffers` the one of RAM, which holds
    `depth` requests; `descriptor` the ring's.
    """

    requests: BlockRequest[MOST]
    lbas: u64
    buffers: u64
    descriptor: u32
    count: u32
    depth: u32
    sectors: u32
    operation: u8
    failed: u32  # requests


def serve(
    series: Series,
    driver: RingDriver,
    disk: Disk,
    ram: Memory,
    ring: Ring,
    statistics: Statistics,
) -> None:
    """All of them, to their ends."""
    begun: u32 = 0
    ended: u32 = 0
    while ended < series.count:
        for number in range(series.depth):
            tag = u8(number)
            request = series.requests[tag]
            if request.state == State.BUSY and driver.finished(tag, request, disk):
                series.failed += u32(driver.error_of(tag) != 0)
                request.state = State.IDLE
                ended = u32(ended + 1)
            if request.state == State.IDLE and begun < series.count:
                begin(series, driver, tag, begun)
                driver.advance(tag, request, disk, ram, ring)
                begun = u32(begun + 1)
        driver.resubmit(ring)
        kick(series.descriptor, driver, ring)
        driver.reap(ring, statistics)


def begin(series: Series, driver: RingDriver, tag: u8, number: u32) -> None:
    """Hand the driver one of them."""
    length = u32(series.sectors * SECTOR)
    request = series.requests[tag]
    request.prepare(series.operation, 0, load64(u64(series.lbas + 8 * number)), series.sectors)
    request.add(u64(series.buffers + tag * length), length)
    request.state = State.BUSY
    driver.start(tag, request)


def kick(descriptor: u32, driver: RingDriver, ring: Ring) -> None:
    """Have the kernel take what there is, and wait until one is done, if none is inline."""
    if driver.queue.publish(ring):
        driver.queue.begin_kick(ring)
        syscall(SYS_IO_URING_ENTER, descriptor, ring.entries, 0, 0, 0, 0)
        driver.queue.end_kick(ring)
        if not driver.queue.completed(ring):
            syscall(SYS_IO_URING_ENTER, descriptor, 0, 1, GET_EVENTS, 0, 0)
