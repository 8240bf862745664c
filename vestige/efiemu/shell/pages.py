"""Page tables of 4 levels, a host's and nested ones. Source: AMD64 APM volume 2, 5.3 and 15.25."""

from vestige.lang.intrinsics import check, load64, store64
from vestige.lang.types import Struct, u8, u64

PAGE = 4096
PRESENT, WRITABLE, USER, LARGE = 1 << 0, 1 << 1, 1 << 2, 1 << 7
TABLE = PRESENT | WRITABLE | USER  # the page below decides
ADDRESS = 0x000F_FFFF_FFFF_F000
SHIFTS = (12, 21, 30, 39)  # log2 of the bytes that an entry stands for, by level
TOP, LARGEST = 3, 2  # level of the root; of the largest page
ENTRIES = 512


class Tables(Struct):
    """Where there is room for tables: zeroed pages."""

    next: u64  # physical address of the first free one
    end: u64

    def new(self) -> u64:
        """A table without entries."""
        place = self.next
        check(place < self.end)
        self.next = u64(place + PAGE)
        return place

    def map(self, root: u64, address: u64, physical: u64, size: u64, flags: u64) -> None:
        """Map `size` bytes at `address`, where nothing is mapped yet, in pages as large as fit.

        All are multiples of PAGE.
        """
        done: u64 = 0
        while done < size:
            both = u64(address + done) | u64(physical + done)
            level = largest_page(both, u64(size - done))
            entry = u64(physical + done) | flags | (LARGE if level else 0)
            place = self.place_of(root, u64(address + done), level)
            check(load64(place) == 0)
            store64(place, entry)
            done = u64(done + (1 << SHIFTS[level]))

    def replace(self, root: u64, address: u64, physical: u64, flags: u64) -> None:
        """Map one page anew. What a larger one had around it stays."""
        store64(self.place_of(root, address, 0), physical | flags)

    def repeat(self, root: u64, address: u64, size: u64, physical: u64, flags: u64) -> None:
        """Map one page again and again, instead of what is there. All are multiples of PAGE.

        What fills a large page, or several, shares its tables.
        """
        entry = physical | flags
        table: u64 = 0
        directory: u64 = 0
        done: u64 = 0
        while done < size:
            place = u64(address + done)
            level = largest_page(place, u64(size - done))
            wanted = entry
            if level > 0:
                if table == 0:
                    table = self.fill(entry)
                wanted = table
            if level == LARGEST:
                if directory == 0:
                    directory = self.fill(table)
                wanted = directory
            store64(self.place_of(root, place, level), wanted)
            done = u64(done + (1 << SHIFTS[level]))

    def fill(self, entry: u64) -> u64:
        """A table that has this entry everywhere: its entry."""
        table = self.new()
        for number in range(ENTRIES):
            store64(u64(table + 8 * number), entry)
        return table | TABLE

    def place_of(self, root: u64, address: u64, level: u8) -> u64:
        """Where the entry for `address` is in the table of this level, which is made if need be."""
        table = root
        for above in range(TOP - level):
            at = TOP - above
            place = entry_place(table, address, u8(at))
            entry = load64(place)
            if entry == 0:
                entry = self.new() | TABLE
                store64(place, entry)
            elif entry & LARGE:
                entry = self.split(entry, u8(at - 1))
                store64(place, entry)
            table = entry & ADDRESS
        return entry_place(table, address, level)

    def split(self, entry: u64, level: u8) -> u64:
        """A table that maps, in pages of this level, what a large page's entry does: its entry."""
        table = self.new()
        for number in range(ENTRIES):
            page = u64(entry + (number << SHIFTS[level]))
            store64(u64(table + 8 * number), page if level else page & ~LARGE)
        return table | TABLE


def largest_page(addresses: u64, size: u64) -> u8:
    """Level of the largest page that these addresses are aligned to, and that is not larger."""
    for less in range(LARGEST):
        bytes_of_page = 1 << SHIFTS[LARGEST - less]
        if addresses % bytes_of_page == 0 and size >= bytes_of_page:
            return LARGEST - less
    return 0


def entry_place(table: u64, address: u64, level: u8) -> u64:
    """Of the entry for `address` in a table of this level."""
    return u64(table + 8 * (address >> SHIFTS[level] & u64(ENTRIES - 1)))
