"""Where the I/O APIC is: where every PC has the first. Its registers have 32 bits."""

from vestige.abi import IOAPIC
from vestige.place import MemoryRange, Place

IO_APIC = Place("ioapic", "ioapic", memory=MemoryRange(IOAPIC, 0x1000), controls_pins=True)
