"""Where the HPET is, if there is one. Its registers have 64 bits."""

from vestige.abi import HPET, HPET_SIZE, Config
from vestige.monitor.devices.hpet.spec import TIMERS
from vestige.place import Access, Block, Place, Routed


def has_hpet(config: Config) -> bool:
    """Whether it was asked for."""
    return config.hpet != 0


HPET_TIMERS = Place(
    "hpet",
    "hpet",
    memory=Block(HPET, HPET_SIZE, Access.WHOLE),
    routed=(Routed("timers", TIMERS),),
    timed=True,
    present=has_hpet,
)
