"""The memory that host and monitor both look at."""

from vestige.abi.config import Config
from vestige.abi.interrupts import GSIS, Route
from vestige.abi.kvm import Answers
from vestige.abi.reports import Statistics
from vestige.abi.screen import Screen
from vestige.lang.types import Struct, u8

LOG_SIZE = 1024  # bytes


class Shared(Struct):
    """What the host and the monitor both look at, of one domain."""

    config: Config
    routes: Route[GSIS]
    statistics: Statistics
    screen: Screen  # the first domain's is the guest's
    answers: Answers  # the first domain's are those that the host gives
    log: u8[LOG_SIZE]
