"""Tests of the pvpanic device."""
