"""Where the virtual machine generation ID is, and how a guest is told that it is another.

Microsoft, Virtual Machine Generation ID (2012): an ACPI device that has VM_Gen_Counter among its
_CIDs, and whose ADDR says where the identifier is. Linux's driver (drivers/virt/vmgenid.c) knows it
by VMGENCTR, too.
"""

from vestige.abi import GENERATION, GENERATION_SIZE, PIN_GENERATION
from vestige.place import Access, MemoryRange, Node, Place, Wire

GENERATION_ID = Place(
    "generation_id",
    "vmgenid",
    memory=MemoryRange(GENERATION, GENERATION_SIZE, Access.WHOLE),
    wires=(Wire("line", PIN_GENERATION),),
    configured=True,
    goes_on=True,
    node=Node("VGEN", "VSTG0001", lines=(), also=("VM_Gen_Counter", "VMGENCTR"), has_address=True),
    other_node=Node("GEVT", "ACPI0013", has_registers=False, notifies="VGEN"),
)
