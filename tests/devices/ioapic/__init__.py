"""Tests of the I/O APIC."""
