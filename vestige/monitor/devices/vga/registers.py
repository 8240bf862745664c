"""The registers of IBM's VGA. They are of a byte each, most of them behind an index.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Video Subsystem". Bits that
are not there read 0.
"""

from vestige.lang.types import Struct, u8, u64
from vestige.monitor.clock import periods
from vestige.monitor.devices.vga import text_mode
from vestige.monitor.devices.vga.crt_controller import CrtController
from vestige.monitor.devices.vga.dac import Dac
from vestige.monitor.devices.vga.ports_spec import COLOUR_ONLY, MONO_ONLY, Register
from vestige.monitor.devices.vga.spec import (
    ATTRIBUTE_BITS,
    ATTRIBUTE_INDEX,
    ATTRIBUTE_PLACES,
    CLOCK_SHIFT,
    CLOCKS,
    CRTC_REGISTERS,
    FEATURE_BITS,
    GRAPHICS_BITS,
    GRAPHICS_PLACES,
    MISCELLANEOUS_BITS,
    PALETTE_IN_USE,
    SEQUENCER_BITS,
    SEQUENCER_PLACES,
    ClockingMode,
    Miscellaneous,
    Sequencer,
)

NOTHING = 0xFF  # what a register that is not there reads


class Registers(Struct):
    """`read` and `write` are the guest's. Times are in nanoseconds."""

    miscellaneous: u8
    feature: u8
    sequencer_index: u8
    sequencer: u8[SEQUENCER_PLACES]
    crtc: CrtController
    graphics_index: u8
    graphics: u8[GRAPHICS_PLACES]
    attribute_index: u8
    attribute: u8[ATTRIBUTE_PLACES]
    data_next: u8  # 1: the attribute controller takes data next, not an index
    dac: Dac
    changed: u8  # 1: the screen may look otherwise than Vga.show_screen last said

    def set_text_mode(self) -> None:
        """As a BIOS sets mode 3."""
        self.miscellaneous = text_mode.MISCELLANEOUS
        for i in range(len(text_mode.SEQUENCER)):
            self.sequencer[i] = text_mode.SEQUENCER[i]
        for i in range(CRTC_REGISTERS):
            self.crtc.registers[i] = text_mode.CRTC[i]
        for i in range(len(text_mode.GRAPHICS)):
            self.graphics[i] = text_mode.GRAPHICS[i]
        for i in range(len(text_mode.ATTRIBUTE)):
            self.attribute[i] = text_mode.ATTRIBUTE[i]
        self.attribute_index = PALETTE_IN_USE
        self.dac.set_text_mode()

    def is_there(self, offset: u8) -> bool:
        """Whether a register answers: there are two places for some, of which one does."""
        if self.miscellaneous & Miscellaneous.COLOUR:
            return offset not in MONO_ONLY
        return offset not in COLOUR_ONLY

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u8, now: u64) -> u8:
        """A register read."""
        if not self.is_there(offset):
            return NOTHING
        match offset:
            case Register.CRTC_INDEX | Register.CRTC_INDEX_MONO:
                return self.crtc.index
            case Register.CRTC_DATA | Register.CRTC_DATA_MONO:
                return self.crtc.read()
            case Register.STATUS_1 | Register.STATUS_1_MONO:
                self.data_next = 0
                return self.crtc.status(self.characters(now))
            case Register.ATTRIBUTE:
                return self.attribute_index
            case Register.ATTRIBUTE_DATA:
                return self.attribute[self.attribute_index % ATTRIBUTE_PLACES]
            case Register.SEQUENCER_INDEX:
                return self.sequencer_index
            case Register.SEQUENCER_DATA:
                return self.sequencer[self.sequencer_index % SEQUENCER_PLACES]
            case Register.PEL_MASK:
                return self.dac.mask
            case Register.DAC_STATE:
                return self.dac.state
            case Register.DAC_WRITE:
                return self.dac.writes
            case Register.DAC_DATA:
                return self.dac.read()
            case Register.FEATURE:
                return self.feature
            case Register.MISCELLANEOUS_READ:
                return self.miscellaneous
            case Register.GRAPHICS_INDEX:
                return self.graphics_index
            case Register.GRAPHICS_DATA:
                return self.graphics[self.graphics_index % GRAPHICS_PLACES]
            case _:
                return 0  # input status 0: no interrupt, and no switch that is sensed

    def write(self, offset: u8, value: u8) -> None:
        """A register write."""
        if not self.is_there(offset):
            return
        match offset:
            case Register.CRTC_INDEX | Register.CRTC_INDEX_MONO:
                self.crtc.index = value
            case Register.CRTC_DATA | Register.CRTC_DATA_MONO:
                self.crtc.write(value)
                self.changed = 1
            case Register.STATUS_1 | Register.STATUS_1_MONO:
                self.feature = value & FEATURE_BITS
            case Register.ATTRIBUTE:
                self.write_attribute(value)
            case Register.MISCELLANEOUS:
                self.miscellaneous = value & MISCELLANEOUS_BITS
            case Register.SEQUENCER_INDEX:
                self.sequencer_index = value % SEQUENCER_PLACES
            case Register.SEQUENCER_DATA:
                index = self.sequencer_index % SEQUENCER_PLACES
                self.sequencer[index] = value & SEQUENCER_BITS[index]
                self.changed = 1
            case Register.PEL_MASK:
                self.dac.mask = value
                self.changed = 1
            case Register.DAC_READ:
                self.dac.begin_reads(value)
            case Register.DAC_WRITE:
                self.dac.begin_writes(value)
            case Register.DAC_DATA:
                self.changed |= self.dac.write(value)
            case Register.GRAPHICS_INDEX:
                self.graphics_index = value % GRAPHICS_PLACES
            case Register.GRAPHICS_DATA:
                index = self.graphics_index % GRAPHICS_PLACES
                self.graphics[index] = value & GRAPHICS_BITS[index]
                self.changed = 1
            case _:
                pass

    def write_attribute(self, value: u8) -> None:
        """An index and its data, by turns."""
        if self.data_next:
            index = self.attribute_index % ATTRIBUTE_PLACES
            self.attribute[index] = value & ATTRIBUTE_BITS[index]
        else:
            self.attribute_index = value & ATTRIBUTE_INDEX
        self.data_next ^= 1
        self.changed = 1

    # ---- inside ---------------------------------------------------------------------------

    def characters(self, now: u64) -> u64:
        """How many characters' times have passed until `now`."""
        mode = self.sequencer[Sequencer.CLOCKING_MODE]
        dots = 8 if mode & ClockingMode.EIGHT_DOTS else 9
        if mode & ClockingMode.HALF_DOT_CLOCK:
            dots *= 2
        clock = CLOCKS[self.miscellaneous >> CLOCK_SHIFT & 3]
        return periods(now, clock) // dots
