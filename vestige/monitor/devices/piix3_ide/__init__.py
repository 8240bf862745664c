"""The IDE function of Intel's PIIX3 (82371SB): two ATA channels, two drives each."""
