"""Tests of the ACPI registers."""
