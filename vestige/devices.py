"""The machine's devices, a line each; ACPI names them in this order. tables.py checks them."""

from vestige.abi import Board
from vestige.monitor.devices.acpi_registers.place import ACPI_REGISTERS
from vestige.monitor.devices.fw_cfg.place import FIRMWARE_CONFIGURATION
from vestige.monitor.devices.hpet.place import HPET_TIMERS
from vestige.monitor.devices.i28f640j5.place import FLASH_MEMORY
from vestige.monitor.devices.i8042.place import KEYBOARD_CONTROLLER
from vestige.monitor.devices.i8237.place import DMA
from vestige.monitor.devices.i8254.place import TIMER
from vestige.monitor.devices.i8259.place import PIC
from vestige.monitor.devices.i82077.place import FLOPPY
from vestige.monitor.devices.ioapic.place import IO_APIC
from vestige.monitor.devices.mc146818.place import RTC
from vestige.monitor.devices.pci.place import PCI_ROOT
from vestige.monitor.devices.piix3_ide.place import IDE
from vestige.monitor.devices.piix3_isa.place import ISA_BRIDGE
from vestige.monitor.devices.piix4_pm.place import POWER_MANAGEMENT
from vestige.monitor.devices.pvpanic.place import PVPANIC
from vestige.monitor.devices.uart16550.place import SECOND_UART, UART
from vestige.monitor.devices.vga.place import VGA
from vestige.monitor.devices.virtio.place import VIRTIO
from vestige.monitor.devices.virtio_blk.place import VIRTIO_BLOCK
from vestige.monitor.devices.virtio_console.place import VIRTIO_CONSOLE
from vestige.monitor.devices.virtio_input.place import VIRTIO_TABLET
from vestige.monitor.devices.virtio_net.place import VIRTIO_NET
from vestige.monitor.devices.virtio_rng.place import VIRTIO_ENTROPY
from vestige.monitor.devices.vmgenid.place import GENERATION_ID
from vestige.place import standard

DEVICES = (
    ACPI_REGISTERS,
    PVPANIC,
    HPET_TIMERS,
    UART,
    SECOND_UART,
    IO_APIC,
    PCI_ROOT,
    ISA_BRIDGE,
    VIRTIO,
    IDE,
    PIC,
    TIMER,
    RTC,
    KEYBOARD_CONTROLLER,
    DMA,
    FLOPPY,
    FIRMWARE_CONFIGURATION,
    VGA,
    POWER_MANAGEMENT,
    FLASH_MEMORY,
    GENERATION_ID,
)
VIRTIO_TYPES = (VIRTIO_BLOCK, VIRTIO_CONSOLE, VIRTIO_ENTROPY, VIRTIO_NET, VIRTIO_TABLET)
POSTS = tuple(post for place in DEVICES for post in place.posts)  # n is abi.Irq.START + n
STANDARD = standard(DEVICES, Board.MODERN)
