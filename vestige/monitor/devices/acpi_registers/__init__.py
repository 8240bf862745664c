"""The ACPI sleep and reset registers of hardware-reduced ACPI."""
