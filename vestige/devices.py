"""The devices whose ports and memory are fixed, a line each; ACPI names them in this order."""

from vestige.monitor.devices.acpi_registers.place import ACPI_REGISTERS
from vestige.monitor.devices.hpet.place import HPET_TIMERS
from vestige.monitor.devices.ioapic.place import IO_APIC
from vestige.monitor.devices.pvpanic.place import PVPANIC
from vestige.monitor.devices.uart16550.place import UART
from vestige.place import check, rows

DEVICES = (ACPI_REGISTERS, PVPANIC, HPET_TIMERS, UART, IO_APIC)
check(DEVICES)
ROWS = rows(DEVICES)  # the row of each port
STANDARD = frozenset(place.field for place in DEVICES if place.option is None)
