"""Tests of the PIIX4's power management."""
