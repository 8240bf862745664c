"""Tests of the 8259A pair."""
