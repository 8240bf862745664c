"""Where everything is: sizes, guest-physical addresses, ports, the monitor's private memory."""

from vestige.bounds import GIB, KIB, MIB
from vestige.lang import vcpu

MAX_DOMAINS = 8  # shares of the machine's devices, each with a worker
MAX_NVME = 4  # controllers handed over by VFIO
NVME_WINDOWS = 5  # in which one finds the monitor's memory, where there is no IOMMU
PINS = 24  # of the IOAPIC; GSI n is pin n
MAX_VIRTIO = 8  # virtio functions
VIRTIO_QUEUES = 17  # of a function at most
VIRTIO_VECTORS = VIRTIO_QUEUES + 1
MAX_NET_PAIRS = 4  # of the network interface's queues
MAC_SIZE = 6  # bytes of a network interface's address

# ---- What the guest finds, by guest-physical address and port (docs/machine.md) ---------------
LOW_RAM_LIMIT = 3 * GIB
HIGH_RAM = 4 * GIB
ACPI_TABLES = 0xE0000  # to 0xFFFFF
PCI_WINDOW = 0xC000_0000  # 32-bit memory window, to ECAM
ECAM = 0xE000_0000  # bus 0 alone: Linux probes 32 slots of every bus that MCFG names
ECAM_SIZE = 1 * MIB
IOAPIC = 0xFEC0_0000
HPET = 0xFED0_0000
HPET_SIZE = 0x400
HPET_IDENTITY = 0x8086_2201  # revision 1, three timers, 64 bits: its first register
GENERATION = 0xFED2_0000  # the virtual machine generation ID
GENERATION_SIZE = 16
LOCAL_APIC = 0xFEE0_0000
FLASH = 0xFF80_0000  # to 4 GiB: a firmware, and below it the flash memory of its variables
FLASH_SIZE = 8 * MIB

PORT_UART = 0x3F8
PORT_PVPANIC = 0x505
PORT_FW_CFG = 0x510  # selector, and data at the next
PORT_FW_CFG_DMA = 0x514  # 8 ports
PORT_SLEEP_CONTROL = 0x600  # ACPI sleep control; status is the next port
PORT_SLEEP_STATUS = 0x601
PORT_RESET = 0x604
PORT_PM1_EVENT = 0x610  # fixed ACPI hardware: status and enable, 16 bits each
PORT_PM1_CONTROL = 0x614  # 16 bits
PORT_PM1_END = 0x616
PORT_PCI_ADDRESS = 0xCF8
PORT_PCI_DATA = 0xCFC
SLEEP_TYPE_S5 = 5  # SLP_TYP the DSDT's _S5 names
RESET_VALUE = 1

PIN_UART = 4
PIN_TIMER = 2  # a PC's IRQ 0
PIN_SCI = 9  # without a PC's chips nothing ever asserts it
PIN_PCI_INTA = 16  # INTA to INTD are pins 16 to 19
PIN_GENERATION = 23

# The IDE function's BARs as they are before the first instruction (PCI native mode).
IDE_SLOT = 1  # device number on bus 0
PORT_IDE = 0xC000  # 8 ports: primary command block
PORT_IDE_CONTROL = 0xC008  # 4 ports
PORT_IDE_SECONDARY = 0xC010
PORT_IDE_SECONDARY_CONTROL = 0xC018
PORT_IDE_BUS_MASTER = 0xC020  # 16 ports
# Where a PC has it: command blocks in compatibility mode, the bus master where SeaBIOS puts it.
PORT_OLD_IDE = 0x1F0
PORT_OLD_IDE_SECONDARY = 0x170
PORT_OLD_BUS_MASTER = 0xC000
PORT_FIRMWARE_LOG = 0x402  # nobody's; SeaBIOS and its VGA's BIOS tell it what they do

# Its BARs 1, 3 and 4 where the machine has these blocks in memory, a page each.
IDE_MEMORY = 0xD000_0000
IDE_MEMORY_PAGE = 4 * KIB
IDE_MEMORY_PAGES = 3
IDE_MEMORY_CONTROL = IDE_MEMORY
IDE_MEMORY_SECONDARY_CONTROL = IDE_MEMORY + 1 * IDE_MEMORY_PAGE
IDE_MEMORY_BUS_MASTER = IDE_MEMORY + 2 * IDE_MEMORY_PAGE

# Virtio function n is device VIRTIO_SLOT + n on bus 0, VIRTIO_SLOT_PC + n on a PC's. Before the
# first instruction its BAR is at VIRTIO_BARS + n * VIRTIO_BAR_SIZE. A driver notifies queue q by a
# write of VIRTIO_NOTIFY_SIZE bytes at VIRTIO_NOTIFY + q * VIRTIO_NOTIFY_STRIDE in it, which wakes
# the worker without an exit as long as the BAR stays where it was.
VIRTIO_SLOT = 2
VIRTIO_SLOT_PC = 3  # the display adapter's is 2
VIRTIO_BARS = 0xD100_0000
VIRTIO_BAR_SIZE = 32 * KIB
VIRTIO_NOTIFY = 0x3000
VIRTIO_NOTIFY_STRIDE = 4
VIRTIO_NOTIFY_SIZE = 2

VGA_MEMORY = 0xD200_0000  # BAR 0 of a PC's display adapter, before the first instruction

PORT_VGA_SEQUENCER = 0x3C4
PORT_VGA_GRAPHICS = 0x3CE
PORT_VGA_CRTC = 0x3D4

PORT_PIC = 0x20
PORT_SLAVE_PIC = 0xA0

# (first port, count) whose writes do nothing by themselves: KVM queues them, without an exit.
COALESCED_PORTS = (
    (PORT_PCI_ADDRESS, 4),
    (PORT_IDE + 1, 6),  # task files, without data and command
    (PORT_IDE_SECONDARY + 1, 6),
    (PORT_IDE_BUS_MASTER + 2, 6),  # status, whose writes only clear bits, and PRD table address
    (PORT_IDE_BUS_MASTER + 10, 6),
)
COALESCED_PC_PORTS = (
    (PORT_PCI_ADDRESS, 4),
    (PORT_PIC, 1),  # commands, where no request waits for one
    (PORT_SLAVE_PIC, 1),
    (PORT_FIRMWARE_LOG, 1),
    (PORT_OLD_IDE + 1, 6),
    (PORT_OLD_IDE_SECONDARY + 1, 6),
    (PORT_OLD_BUS_MASTER + 2, 6),
    (PORT_OLD_BUS_MASTER + 10, 6),
    (PORT_IDE_BUS_MASTER + 2, 6),  # where no firmware has moved it
    (PORT_IDE_BUS_MASTER + 10, 6),
    (PORT_VGA_SEQUENCER, 1),  # indexes by themselves: an index and its data at once exits
    (PORT_VGA_GRAPHICS, 1),
    (PORT_VGA_CRTC, 1),
)
# The same for memory, (first address, bytes), where the machine has the bus master there.
COALESCED_MEMORY = (
    (IDE_MEMORY_BUS_MASTER + 2, 6),
    (IDE_MEMORY_BUS_MASTER + 10, 6),
)

# ---- The monitor's private memory; the guest VM maps none of it but SHADOW, read-only ---------
IMAGE = 0xC000_0000  # code and constants, read-only, then its bss
SHARED = 0xC100_0000  # a Shared for each domain
SHARED_STRIDE = 64 * KIB
SHADOW = 0xC140_0000  # IDE_MEMORY_PAGES pages that the guest reads at IDE_MEMORY, if it may
STATE = 0xC180_0000  # each domain's device state, its ring's fixed buffer 0
STATE_SIZE = 2 * MIB  # of one domain; the next follows it
# What of it the ring has where there are no virtio functions, or no network interface, or no pairs
# of its queues but the first.
STATE_PLAIN = 80 * KIB
STATE_VIRTIO = 512 * KIB
STATE_FIRST = 1 * MIB
STACKS = 0xC280_0000  # one stack a monitor vCPU, its Cpu at the bottom
STACK_SIZE = vcpu.STACK_SIZE  # also their alignment: RSP & -STACK_SIZE finds the Cpu
TABLES = 0xC300_0000  # page tables, GDT, IDT
RUN_PAGES = 0xC400_0000  # the guest vCPUs' kvm_run mappings, without the first page of each
RUN_STRIDE = 64 * KIB
RING = 0xC500_0000  # each domain's SQ and CQ ring
RING_ENTRIES = 0xC580_0000  # each domain's SQEs
RING_STRIDE = 256 * KIB
BARS = 0xC800_0000  # BAR 0 of NVMe controller n is at BARS + n * BAR_STRIDE
BAR_STRIDE = 1 * MIB
NVME_QUEUES = 0xC900_0000  # controller n's DMA memory, at NVME_QUEUES + n * NVME_QUEUES_SIZE
NVME_QUEUES_SIZE = 1 * MIB  # queues, identify data, PRP lists, bounce pages
# A FirmwareTable and the items' bytes, where the machine has fw_cfg. It is read only, and as large
# as they are: a kernel and an initrd may be among them.
FIRMWARE_ITEMS = 0xD000_0000
FIRMWARE_ITEMS_SIZE = 512 * MIB  # at most
# (address, bytes) of each region: memory that the guest VM maps, too, where Call.MAP says, and not
# before. A region begins at a multiple of its size, in both VMs.
MAX_REGIONS = 1
REGIONS = ((0xF000_0000, 16 * MIB),)
# Where there are regions, Call.MAP says of a window, too, what the guest finds there: its RAM, as
# at first; nothing, so that accesses exit; or so much of REGIONS[0]. The monitor has RAM there.
WINDOW_NUMBER = MAX_REGIONS  # as that of a region
WINDOW = 0xA_0000
WINDOW_SIZE = 64 * KIB
WINDOW_RAM = 0
WINDOW_NOTHING = 1
WINDOW_PARTS = 2  # of the first part; of the next is the next
# And of a firmware's flash memory: at Config.flash, to be read, or nowhere.
FLASH_NUMBER = WINDOW_NUMBER + 1
FLASH_ARRAY = 0xF100_0000  # where the monitor has it
# And of a PC's gate for bit 20 of addresses: from WRAPPED on the guest finds its RAM there, as at
# first, or, while the gate is closed, that from 0 on.
GATE_NUMBER = FLASH_NUMBER + 1
GATE_OPEN = 0
GATE_CLOSED = 1
WRAPPED = 1 * MIB
WRAPPED_SIZE = WINDOW  # more than the 65,520 bytes that a program in real mode reaches
# The maps of what disks with overlays have in them, a bit for each sector: pages of the overlays'
# files. Each begins at a multiple of OVERLAY_MAP_STRIDE.
OVERLAY_MAPS = 0xF200_0000
OVERLAY_MAPS_SIZE = 128 * MIB  # in all: 512 GiB of disks
OVERLAY_MAP_STRIDE = 2 * MIB
OVERLAY_MAP_AT = 4 * KIB  # byte of an overlay's file
COALESCED_WINDOW = ((WINDOW, WINDOW_SIZE),)  # as COALESCED_MEMORY, while nothing is there

SECTOR = 512  # bytes; disks count in these
# Characters of what a disk is called, by ATA and by NVMe.
SERIAL_SIZE = 20
FIRMWARE_SIZE = 8
MODEL_SIZE = 40
STATE_BUFFER = 0  # the ring's fixed buffer number of STATE
FIRST_CHUNK_BUFFER = 1  # chunk c is buffer FIRST_CHUNK_BUFFER + c
