"""Where the HPET is, if there is one. Its registers have 64 bits."""

from vestige.abi import HPET, HPET_SIZE, Config
from vestige.place import Access, Block, Place


def has_hpet(config: Config) -> bool:
    """Whether it was asked for."""
    return config.hpet != 0


HPET_TIMERS = Place("hpet", "hpet", memory=Block(HPET, HPET_SIZE, Access.WHOLE), present=has_hpet)
