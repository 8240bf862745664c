"""The keyboard controller of a PC, with a PS/2 keyboard and a PS/2 mouse."""
