"""Tests of PCI configuration."""
