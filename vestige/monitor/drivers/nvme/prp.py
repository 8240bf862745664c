"""A request's memory as physical region pages. NVMe 1.4, section 4.3.

The first page may begin at any doubleword, every other at a page's begin; every one but the
last goes to its page's end. What isn't so in the request's segments is copied through a page
that is.
"""

from vestige.lang.intrinsics import copy, store64
from vestige.lang.types import u32, u64
from vestige.monitor.block import BlockRequest
from vestige.monitor.drivers.nvme.bus import Bus
from vestige.monitor.drivers.nvme.spec import PAGE

IN_PAGE = PAGE - 1


def gather(
    request: BlockRequest, segment: u32, position: u32, limit: u32, entries: u64, bus: Bus
) -> u32:
    """List the pages from byte `position` of `segment` on; how many bytes they make.

    That is `limit`, or what comes before the first byte that no PRP can name. The first page
    is not listed, the others are at `entries`: at most one a page of `limit`. There they are as
    the controller finds them.
    """
    length = u32(0)
    while length < limit and segment < request.segment_count:
        part = request.segments[segment]
        address = u64(part.address + position)
        if address & (3 if length == 0 else IN_PAGE):
            break
        taken = min(u32(part.length - position), u32(limit - length))
        end = u64(address + taken)
        page = u64(address & ~IN_PAGE)
        if length == 0:
            page = u64(page + PAGE)
        while page < end:
            store64(entries, bus.address(page))
            entries = u64(entries + 8)
            page = u64(page + PAGE)
        length = u32(length + taken)
        segment = u32(segment + 1)
        position = 0
        if end & IN_PAGE:
            break
    return length


def pages_after_first(address: u64, length: u32) -> u32:
    """How many pages but the first `length` bytes at `address` touch, by the rules above."""
    first = PAGE - (address & IN_PAGE)
    return 0 if length <= first else u32(length - first + IN_PAGE) // PAGE


def move(
    request: BlockRequest, segment: u32, position: u32, length: u32, buffer: u64, into_buffer: bool
) -> None:
    """Copy `length` bytes between the segments, from there on, and `buffer`."""
    while length > 0:
        part = request.segments[segment]
        taken = min(u32(part.length - position), length)
        memory = u64(part.address + position)
        if into_buffer:
            copy(buffer, memory, taken)
        else:
            copy(memory, buffer, taken)
        buffer = u64(buffer + taken)
        length = u32(length - taken)
        segment = u32(segment + 1)
        position = 0


def skip(request: BlockRequest, segment: u32, position: u32, length: u32) -> tuple[u32, u32]:
    """The place in the segments `length` bytes further on."""
    while length > 0:
        rest = u32(request.segments[segment].length - position)
        if length < rest:
            return segment, u32(position + length)
        length = u32(length - rest)
        segment = u32(segment + 1)
        position = 0
    return segment, position
