"""The floppy disk controller's tests."""
