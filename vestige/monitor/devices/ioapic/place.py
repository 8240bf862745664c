"""Where the I/O APIC is: where every PC has the first. Its registers have 32 bits."""

from vestige.abi import IOAPIC
from vestige.place import Block, Place

REGISTERS = Block(IOAPIC, 0x1000)
IO_APIC = Place("ioapic", "ioapic", memory=REGISTERS)
