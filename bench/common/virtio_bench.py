"""What the virtio benchmarks measure with: a guest in a software host, booted again and again."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.common import command, guests, results
from bench.common.guests import Guest, Observed
from bench.common.speed import Brake
from vestige.softhost import SoftHost

CLOSING = "bench: done"
BOOT_TIMEOUT = 240.0  # seconds, of a guest, besides what it measures
MOST_JOBS = 20  # of a guest, and the time between them

Configuration = Callable[[Guest, str], list[str]]  # to a guest and more for its command line


class Bench(NamedTuple):
    """What every configuration is made of."""

    host: SoftHost
    guest: Guest
    seconds: float  # of each job, at full speed; at a half it takes twice as long
    say: command.Progress
    brake: Brake | None = None  # the software host's
    share: float = 1  # of a processor, that it has while there is a job

    def boot(self, configuration: Configuration) -> Observed:
        """One guest, and what it took."""
        seconds = self.seconds / self.share
        argv = configuration(self.guest, f"seconds={seconds:g}")
        timeout = BOOT_TIMEOUT + MOST_JOBS * seconds
        try:
            return guests.observe(self.host, argv, timeout, CLOSING, self.hold)
        finally:
            self.hold(False)

    def hold(self, works: bool) -> None:
        """Let the software host have its share, or all that it wants."""
        if self.brake is not None:
            self.brake.hold(self.share if works else 1)

    def result(
        self,
        table: Mapping[str, Configuration],
        rounds: int,
        one: Callable[["Bench", Configuration], dict[str, float]],
        versions: Mapping[str, str],
        *,
        said: str = "",
    ) -> dict[str, object]:
        """Every configuration by turns, as virtio_report takes it; `one` boots and measures one.

        `versions` are of what took part.
        """
        measured = command.by_turns(table, rounds, lambda each: one(self, each), self.say)
        return {
            "date": results.today(),
            **versions,
            "seconds": self.seconds,
            "rounds": rounds,
            "said": said,
            "measured": measured,
        }
