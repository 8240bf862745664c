"""Tests of the virtual machine generation ID."""
