"""The PIIX4's power management: Intel 82371AB."""
