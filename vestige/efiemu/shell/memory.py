"""Which physical memory of the guest's the shell may touch: RAM, but for its own block."""

from vestige.lang.intrinsics import at_callers_line, check
from vestige.lang.types import Struct, u32, u64

RANGES = 48


class Range(Struct):
    """Physical addresses from `first` to before `end`; none where both are 0."""

    first: u64
    end: u64


class Memory(Struct):
    """The guest's RAM, in ranges that neither touch nor overlap, the used ones first."""

    offset: u64  # what is added to a physical address to reach it: 0 in the shell
    count: u32  # of ranges
    ranges: Range[RANGES]

    def holds(self, address: u64, size: u32) -> bool:
        """Whether all bytes from `address` on are RAM."""
        for number in range(min(self.count, RANGES)):
            each = self.ranges[number]
            first, end = each.first, each.end
            if first <= address < end:
                return size <= u64(end - address)
        return False

    @at_callers_line
    def place(self, address: u64, size: u32) -> u64:
        """Where `size` bytes of RAM are reached; PANIC if they aren't RAM."""
        check(self.holds(address, size))
        return u64(self.offset + address)

    def add(self, first: u64, end: u64) -> bool:
        """Take a range in that is behind all others; False: there are too many."""
        count = min(self.count, RANGES)
        if first >= end:
            return True
        if count > 0 and self.ranges[count - 1].end == first:
            self.ranges[count - 1].end = end
            return True
        if count == RANGES:
            return False
        self.ranges[count].first, self.ranges[count].end = first, end
        self.count = count + 1
        return True

    def leave_out(self, first: u64, end: u64) -> bool:
        """Take what is from `first` to `end` out; False: there are too many ranges."""
        if first >= end:
            return True
        number: u32 = 0
        while number < min(self.count, RANGES):
            each = self.ranges[number]
            low, high = each.first, each.end
            if high <= first or end <= low:
                number += 1
            elif low < first and end < high:
                each.end = first
                return self._insert(number + 1, end, high)
            elif low < first:
                each.end = first
                number += 1
            elif end < high:
                each.first = end
                number += 1
            else:
                self._remove(number)
        return True

    def _insert(self, number: u32, first: u64, end: u64) -> bool:
        count = min(self.count, RANGES)
        if count == RANGES:
            return False
        for later in range(RANGES - 1, 0, -1):
            if number < later <= count:
                self.ranges[later] = self.ranges[later - 1]
        self.ranges[number].first, self.ranges[number].end = first, end
        self.count = count + 1
        return True

    def _remove(self, number: u32) -> None:
        count = min(self.count, RANGES)
        for later in range(1, RANGES):
            if number < later < count:
                self.ranges[later - 1] = self.ranges[later]
        if count > 0:
            self.ranges[count - 1].first, self.ranges[count - 1].end = 0, 0
            self.count = count - 1
