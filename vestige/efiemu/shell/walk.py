"""From a guest's linear address to the physical one, as its processor does. AMD64 APM volume 2, 5.

Left out: protection keys (5.6.7), since an instruction that gets here has passed them once, and
shadow stacks (18.9), to which no instruction that gets here writes.
"""

from vestige.efiemu.shell.fault import Fault, Outcome, Vector
from vestige.efiemu.shell.memory import Memory
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.registers import LONG_MODE_ACTIVE
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.enumeration import IntEnum
from vestige.lang.intrinsics import atomic_compare_exchange32, load32, load64
from vestige.lang.types import Struct, u8, u32, u64

DEEPEST = 5  # levels of tables
WRITE_PROTECT, PAGING = 1 << 16, 1 << 31  # CR0
PSE, PAE, LA57, SMEP, SMAP = 1 << 4, 1 << 5, 1 << 12, 1 << 20, 1 << 21  # CR4
NO_EXECUTE_ENABLED = 1 << 11  # EFER
ALIGNMENT_CHECK = 1 << 18  # RFLAGS.AC: with SMAP, data of user pages may be had
USER_PRIVILEGE = 3
LOW = 0xFFFF_FFFF
HIGHEST_ADDRESS = (1 << 52) - 1  # of any processor


class Access(IntEnum):
    """What for; bits of a page fault's error code, 8.4.2."""

    READ = 0
    WRITE = 1 << 1
    FETCH = 1 << 4


class PageError(IntEnum):
    """The other bits of the error code."""

    PRESENT = 1 << 0
    USER = 1 << 2
    RESERVED = 1 << 3


class Entry(IntEnum):
    """Bits of an entry of a page table, 5.4."""

    PRESENT = 1 << 0
    WRITABLE = 1 << 1
    USER = 1 << 2
    ACCESSED = 1 << 5
    DIRTY = 1 << 6
    LARGE = 1 << 7
    NO_EXECUTE = 1 << 63


class Walk(Struct):
    """The walks of one processor."""

    address_bits: u8  # of a physical address: CPUID 8000_0008
    gibibyte_pages: u8  # 1: it has them, CPUID 8000_0001
    fault: Fault
    physical: u64  # the answer
    room: u32  # bytes from there to the end of the page
    depth: u32  # entries that the walk has read
    places: u64[DEEPEST]  # where they are
    entries: u32[DEEPEST]  # their low halves
    marks: u32[DEEPEST]  # bits that the processor would set in them

    def translate(self, vmcb: Vmcb, memory: Memory, linear: u64, access: u8) -> u8:
        """To `physical`: DONE, FAULT, AGAIN (another processor changes the tables) or REFUSED.

        It says nothing of what is there: that may be a device.
        """
        self.room = PAGE - linear % PAGE
        if not vmcb.cr0 & PAGING:
            self.physical = linear & LOW
            return Outcome.DONE
        cr4 = vmcb.cr4
        self.depth = 0
        if not cr4 & PAE:
            linear &= LOW
            outcome = self._walk_32(vmcb, memory, linear, access)
        else:
            levels: u8 = 3
            table = vmcb.cr3 & 0xFFFF_FFE0
            if vmcb.efer & LONG_MODE_ACTIVE:
                levels = DEEPEST if cr4 & LA57 else 4
                table = vmcb.cr3 & HIGHEST_ADDRESS - (PAGE - 1)
                if not canonical(linear, levels):
                    return self.fault.general(False)
            else:
                linear &= LOW
            outcome = self._walk_64(vmcb, memory, linear, access, levels, table)
        if outcome != Outcome.DONE:
            return outcome
        return self._mark(memory)

    def _walk_32(self, vmcb: Vmcb, memory: Memory, linear: u64, access: u8) -> u8:
        """5.2.1: entries of 4 bytes, pages of 4 KiB and 4 MiB."""
        table = vmcb.cr3 & 0xFFFF_F000
        place = u64(table + 4 * (linear >> 22))
        if not memory.holds(place, 4):
            return self._refuse(place)
        entry = load32(memory.place(place, 4))
        self._note(place, entry)
        if not entry & Entry.PRESENT:
            return self._page_fault(vmcb, linear, access, 0)
        if entry & Entry.LARGE and vmcb.cr4 & PSE:
            high = entry >> 13 & 0xFF  # bits 39:32 of the address
            if entry >> 21 & 1 or high << 32 >> self.address_bits % 64:
                return self._page_fault(vmcb, linear, access, PageError.RESERVED)
            return self._end(
                vmcb, linear, access, high << 32 | entry & 0xFFC0_0000, 22, entry & 7, False
            )
        rights = entry & 7
        place = u64((entry & 0xFFFF_F000) + 4 * (linear >> 12 & 0x3FF))
        if not memory.holds(place, 4):
            return self._refuse(place)
        entry = load32(memory.place(place, 4))
        self._note(place, entry)
        if not entry & Entry.PRESENT:
            return self._page_fault(vmcb, linear, access, 0)
        return self._end(vmcb, linear, access, entry & 0xFFFF_F000, 12, rights & entry, False)

    def _walk_64(
        self, vmcb: Vmcb, memory: Memory, linear: u64, access: u8, levels: u8, table: u64
    ) -> u8:
        """5.2.3 and 5.3: entries of 8 bytes, 512 a table."""
        no_execute_enabled = vmcb.efer & NO_EXECUTE_ENABLED
        legacy = levels == 3
        width = self.address_bits % 64
        reserved = u64(HIGHEST_ADDRESS >> width << width)
        if not no_execute_enabled:
            reserved |= Entry.NO_EXECUTE
        rights: u64 = 7
        no_execute = False
        for level in range(DEEPEST, 0, -1):
            if level > levels:
                continue
            shift = 12 + 9 * (level - 1)
            place = u64(table + 8 * (linear >> shift & 0x1FF))
            if not memory.holds(place, 8):
                return self._refuse(place)
            entry = load64(memory.place(place, 8))
            self._note(place, entry & LOW)
            if not entry & Entry.PRESENT:
                return self._page_fault(vmcb, linear, access, 0)
            forbidden = reserved
            if legacy:  # bits above those of an address are reserved, too
                forbidden |= 0x7FF0_0000_0000_0000
            if legacy and level == 3:  # no rights and no marks in this one
                if entry & (forbidden | Entry.NO_EXECUTE | 0x1E6):
                    return self._page_fault(vmcb, linear, access, PageError.RESERVED)
                self.depth = 0
                table = entry & HIGHEST_ADDRESS - (PAGE - 1)
                continue
            large = level > 1 and entry & Entry.LARGE
            if level >= 4:
                forbidden |= Entry.LARGE
            elif large:
                if level == 3 and not self.gibibyte_pages:
                    forbidden |= Entry.LARGE
                forbidden |= (1 << shift) - 1 & -1 << 13
            if entry & forbidden:
                return self._page_fault(vmcb, linear, access, PageError.RESERVED)
            rights &= entry
            if entry & Entry.NO_EXECUTE:
                no_execute = True
            if level == 1 or large:
                page = entry & HIGHEST_ADDRESS - (PAGE - 1)
                return self._end(vmcb, linear, access, page, shift, u32(rights), no_execute)
            table = entry & HIGHEST_ADDRESS - (PAGE - 1)
        return self._refuse(table)  # not reached: the last level is 1

    def _end(
        self, vmcb: Vmcb, linear: u64, access: u8, page: u64, shift: u8, rights: u32,
        no_execute: bool,
    ) -> u8:  # fmt: skip
        """With the rights of all levels, 5.6; `page` has what its entry says below `shift`, too."""
        allowed = True
        if vmcb.privilege == USER_PRIVILEGE:
            allowed = rights & Entry.USER != 0
            if access == Access.WRITE and not rights & Entry.WRITABLE:
                allowed = False
        else:
            if rights & Entry.USER:
                if access == Access.FETCH:
                    allowed = vmcb.cr4 & SMEP == 0
                elif vmcb.cr4 & SMAP and not vmcb.flags & ALIGNMENT_CHECK:
                    allowed = False
            if access == Access.WRITE and not rights & Entry.WRITABLE and vmcb.cr0 & WRITE_PROTECT:
                allowed = False
        if access == Access.FETCH and no_execute:
            allowed = False
        if not allowed:
            return self._page_fault(vmcb, linear, access, PageError.PRESENT)
        depth = self.depth
        if access == Access.WRITE and depth > 0:
            self.marks[depth - 1] |= Entry.DIRTY
        within = (1 << shift % 64) - 1
        self.physical = page & ~within | linear & within
        return Outcome.DONE

    def _note(self, place: u64, entry: u32) -> None:
        """An entry that was read, to be marked as used if the walk comes to its end."""
        number = self.depth
        self.places[number], self.entries[number] = place, entry
        self.marks[number] = Entry.ACCESSED
        self.depth = number + 1

    def _mark(self, memory: Memory) -> u8:
        """Set the bits Accessed and Dirty as 5.4.2 has it; AGAIN: an entry was changed since."""
        for number in range(DEEPEST):
            if number >= self.depth:
                break
            entry, mark = self.entries[number], self.marks[number]
            if entry & mark != mark:
                place = memory.place(self.places[number], 4)
                if atomic_compare_exchange32(place, entry, entry | mark) != entry:
                    return Outcome.AGAIN
        return Outcome.DONE

    def _page_fault(self, vmcb: Vmcb, linear: u64, access: u8, error: u32) -> u8:
        if error & PageError.RESERVED:
            error |= PageError.PRESENT
        if vmcb.privilege == USER_PRIVILEGE:
            error |= PageError.USER
        executes = vmcb.cr4 & SMEP or (vmcb.cr4 & PAE and vmcb.efer & NO_EXECUTE_ENABLED)
        if access != Access.FETCH or executes:
            error |= access
        self.fault.vector, self.fault.error = Vector.PAGE_FAULT, error
        self.fault.address = linear
        return Outcome.FAULT

    def _refuse(self, place: u64) -> u8:
        """A table is where no RAM is."""
        self.fault.address = place
        return Outcome.REFUSED


def canonical(linear: u64, levels: u8) -> bool:
    """Whether the bits above those that are translated are all like the highest of them, 5.3.1."""
    shift = 56 if levels == DEEPEST else 47
    top = linear >> shift
    return top == 0 or top == (1 << 64 - shift) - 1
