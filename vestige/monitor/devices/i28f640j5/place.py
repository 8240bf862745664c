"""Where the flash memory is: below a PC's firmware, which ends at 4 GiB. Config says how far."""

from vestige.abi import FLASH, FLASH_SIZE, Board, Config
from vestige.place import Access, MemoryRange, Place


def has_flash(config: Config) -> bool:
    """Whether the firmware has flash memory for its variables."""
    return config.flash.size != 0


FLASH_MEMORY = Place(
    "flash",
    "i28f640j5",
    memory=MemoryRange(FLASH, FLASH_SIZE, Access.TAKEN),
    board=Board.PC,
    present=has_flash,
    configured=True,
    wide=True,
    flash=True,
)
