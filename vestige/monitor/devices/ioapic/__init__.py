"""The I/O APIC: Intel's 82093AA, with the EOI register of its successors."""
