"""Tests of what the host gives to the guest's firmware."""
