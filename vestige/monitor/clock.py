"""The monitor's time: nanoseconds, from the time-stamp counter. Never goes back."""

from vestige.lang.types import Struct, u32, u64

NANOSECONDS = 1_000_000  # in a millisecond
MILLISECOND = 1_000_000  # nanoseconds
SECOND = 1_000_000_000


class Clock(Struct):
    """What time it is; guarded by the machine's lock."""

    last: u64  # the latest answer

    def now(self, counter: u64, khz: u32) -> u64:
        """The time at a counter of `khz`. CPUs whose counters differ a little see no step back."""
        self.last = max(self.last, nanoseconds(counter, khz))
        return self.last


def periods(time: u64, frequency: u32) -> u64:
    """How many periods of so many Hz have passed after `time` nanoseconds."""
    return u64(time // SECOND * frequency + time % SECOND * frequency // SECOND)


def nanoseconds(counter: u64, khz: u32) -> u64:
    """How long `counter` periods of `khz` are; PANICs if there is no frequency."""
    milliseconds = counter // khz
    rest = counter % khz
    return u64(milliseconds * NANOSECONDS + rest * NANOSECONDS // khz)
