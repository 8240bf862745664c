"""Tests of the PIIX3's bridge to ISA."""
