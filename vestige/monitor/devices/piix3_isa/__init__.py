"""The PIIX3's bridge to ISA: Intel 82371SB."""
