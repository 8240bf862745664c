"""Tests of the HPET."""
