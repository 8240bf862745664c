"""The first talk's demo of efiemu: `make demo-efiemu`."""
