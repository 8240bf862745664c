"""The VGA's ports and its memory: spec.py says from where. What is behind them is there, too.

Every run asks where they are, and hardly one what is behind them.
"""

from vestige.abi import MIB
from vestige.lang.enumeration import IntEnum

PORT_FIRST = 0x3B4
PORT_DISPI = 0x1CE
DISPI_OFFSET = 0x40
REGION = 0  # of abi.REGIONS: the frame buffer, at BAR 0
VIDEO_MEMORY = 16 * MIB
WINDOW_OFFSET = 0x1_0000  # of the window's first byte


class Register(IntEnum):
    """Offsets from the first port, 0x3B4. Those of 0x3B are there where 0x3D's are not."""

    CRTC_INDEX_MONO = 0x00  # RW
    CRTC_DATA_MONO = 0x01  # RW
    STATUS_1_MONO = 0x06  # RO input status 1, WO feature control
    ATTRIBUTE = 0x0C  # WO index and data by turns, RO index
    ATTRIBUTE_DATA = 0x0D  # RO
    MISCELLANEOUS = 0x0E  # WO
    STATUS_0 = 0x0E  # RO
    SEQUENCER_INDEX = 0x10  # RW
    SEQUENCER_DATA = 0x11  # RW
    PEL_MASK = 0x12  # RW
    DAC_READ = 0x13  # WO: the entry to be read
    DAC_STATE = 0x13  # RO
    DAC_WRITE = 0x14  # RW: the entry to be written
    DAC_DATA = 0x15  # RW
    FEATURE = 0x16  # RO
    MISCELLANEOUS_READ = 0x18  # RO
    GRAPHICS_INDEX = 0x1A  # RW
    GRAPHICS_DATA = 0x1B  # RW
    CRTC_INDEX = 0x20  # RW
    CRTC_DATA = 0x21  # RW
    STATUS_1 = 0x26  # RO, WO feature control
    DISPI_INDEX = DISPI_OFFSET  # RW, 16 bits
    DISPI_DATA = DISPI_OFFSET + 1  # RW, 16 bits
    DISPI_DATA_TOO = DISPI_OFFSET + 2  # the same, aligned


INDEXES = (Register.SEQUENCER_INDEX, Register.GRAPHICS_INDEX, Register.CRTC_INDEX)
COLOUR_ONLY = (Register.CRTC_INDEX, Register.CRTC_DATA, Register.STATUS_1)
MONO_ONLY = (Register.CRTC_INDEX_MONO, Register.CRTC_DATA_MONO, Register.STATUS_1_MONO)
