"""Tests of the flash memory."""
