"""The floppy disk controller of a PC: an Intel 82077AA, with two drives."""
