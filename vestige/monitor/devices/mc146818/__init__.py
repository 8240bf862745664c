"""The real-time clock of a PC, with its CMOS RAM."""
